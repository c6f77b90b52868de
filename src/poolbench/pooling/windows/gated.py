"""A mixture of max and average pooling whose share depends on the window."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window, is_nan, where
from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import mean, sigmoid_and_rest, weighted, window_max
from poolbench.pooling.shared.parameters import check_per


class GatedPool2d(TapPool2d):
    """A mixture of maximum and mean by a gate that sees the window: s·max(x) + (1 − s)·mean(x), s = σ(w·x).

    w is learned, one number for each position of the window, for the layer or for each channel; it starts at 0, which
    gives s = ½. Positions outside the map count as 0 in w·x; if w·x is NaN, as for 0·∞, s is ½.
    In float32 values up to 3·10³⁷ do not overflow.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        per: `"layer"` or `"channel"`.
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Lee, Gallagher and Tu (2016), equation 2 of the article that `MixedPool2d` names, with its patent filing.

    >>> GatedPool2d(2)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item()  # half of 4 and half of 2.5
    3.25
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        per: str = "layer",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.per = per
        self.weight = nn.Parameter(torch.zeros(self.window_size, check_per(per, channels)))
        self.trace()

    def params(self) -> Tensor:
        """Return w, place by place."""
        return upcast(self.weight)

    def formula(self, window: Window) -> Value:
        """Return s·max + (1 − s)·mean."""
        seen = weighted(window.masked_fill(0.0), [window.param(at) for at in range(window.size)])
        # 0·∞ and ∞ − ∞ decide nothing: then the gate is half open. A NaN of the map comes back by the mean.
        gate, rest = sigmoid_and_rest(where(is_nan(seen), 0.0, seen))
        return gate * window_max(window) + rest * mean(window)

    def extra_repr(self) -> str:
        """Show the geometry and how many gates are learned."""
        return f"{super().extra_repr()}, per={self.per!r}"


class GatedPool1d(WindowPool1d, GatedPool2d):
    """`GatedPool2d` for sequences.

    >>> GatedPool1d(2)(torch.tensor([[[1.0, 2.0]]])).tolist()
    [[[1.75]]]
    """
