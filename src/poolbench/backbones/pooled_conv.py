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
        # Nothing is drawn and nothing allocated: all that `conv` has is this module's, hooks and what they need, too.
        nn.Module.__init__(self)
        for key, value in vars(conv).items():
            self.__dict__[key] = copy.copy(value) if isinstance(value, dict) else value
        self.stride = (1, 1)
        self.pool = pool

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve and pool (B, C, H, W) → (B, C', H', W'), the shape of the strided convolution."""
        return self.pool(super().forward(x_BCHW))
