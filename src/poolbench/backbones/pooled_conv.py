"""A strided convolution as a site: the convolution at stride 1, then the operator."""

import copy

from torch import Tensor, nn


class PooledConv2d(nn.Conv2d):
    """A convolution at stride 1 followed by `pool`, with weight and bias under the names they had.

    Args:
        conv: the strided convolution; its weight, bias and hooks are taken over as they are.
        pool: the operator that reduces in the stride's place.
    """

    def __init__(self, conv: nn.Conv2d, pool: nn.Module) -> None:
        _take_over(self, conv)
        self.stride = (1, 1)
        self.pool = pool

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve and pool (B, C, H, W) → (B, C', H', W'), the shape of the strided convolution."""
        return self.pool(super().forward(x_BCHW))


class PooledConv1d(nn.Conv1d):
    """The same of sequences.

    Args:
        conv: the strided convolution; its weight, bias and hooks are taken over as they are.
        pool: the operator that reduces in the stride's place.
    """

    def __init__(self, conv: nn.Conv1d, pool: nn.Module) -> None:
        _take_over(self, conv)
        self.stride = (1,)
        self.pool = pool

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Convolve and pool (B, C, L) → (B, C', L'), the shape of the strided convolution."""
        return self.pool(super().forward(x_BCL))


def _take_over(new: nn.Module, old: nn.Module) -> None:
    """Let `new` have all that `old` has, hooks and what they need, too; nothing is drawn and nothing allocated."""
    nn.Module.__init__(new)
    for key, value in vars(old).items():
        new.__dict__[key] = copy.copy(value) if isinstance(value, dict) else value
