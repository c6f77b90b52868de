"""AutoPool: a mean weighted by the exponential of each value, whose steepness is learned."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window, exp, maximum, reduce, stop_gradient, sum_of, where, within
from poolbench.kernels.sums import Summands
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import weighted
from poolbench.pooling.shared.parameters import check_per
from poolbench.pooling.windows.log_sum_exp import MOST, STEEPEST

# The gradient of α is the variance of a window's values, in sums the difference of two squares: it has digits left
# where values are not far from 0.
MOST_SUMMED = 2.0**4


class AutoPool2d(TapPool2d):
    """A mean weighted by the exponential of each value, with a learned steepness: Σ x·e^(αx) / Σ e^(αx).

    α is learned, for each channel or for the layer, and starts at 0, which is the mean. α → ∞ is the maximum, and α may
    be negative: α → −∞ is the minimum. `SoftPool2d` is the same with a fixed steepness. The largest αx is subtracted
    first, so no exponential overflows. In float32 values up to 3·10³⁷ do not overflow.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        per: `"channel"` as in the source, or `"layer"`.
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: McFee, Salamon and Bello, Adaptive Pooling Operators for Weakly Labeled Sound Event Detection (2018), and
    the authors' code. There it pools over the whole time of a recording, after the classifier, for each class
    (`GlobalAutoPool2d` is the head); here over windows. Left out: the variants that keep α within bounds, or penalise
    large ones.

    >>> import math
    >>> pool = AutoPool2d(2, per="layer")
    >>> pool(torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])).item()  # before learning
    0.5
    >>> _ = nn.init.constant_(pool.alpha, math.log(3))
    >>> pool(torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])).item()  # weights 1, 1, 3, 3
    0.75
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
        per: str = "channel",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.per = per
        self.alpha = nn.Parameter(torch.zeros(check_per(per, channels)))
        self.trace()

    def learned_number(self) -> Tensor:
        """Return α."""
        return self.alpha

    def formula(self, window: Window) -> Value:
        """Return Σ x·e^(αx) / Σ e^(αx)."""
        alpha = window.param(0)
        # With α = ±|α|, αx = |α|·(±x): what is largest does not depend on |α|.
        falls = alpha < 0.0
        steepness = where(falls, -alpha, alpha)
        signed = [where(falls, -value, value) for value in window.values]
        largest = stop_gradient(reduce(maximum, window.mask(signed, -math.inf)))
        largest = where(largest > -math.inf, largest, -MOST)
        # A difference beyond the largest number would be −∞, and 0·∞ in the gradient of α.
        raised = [exp(maximum(value - largest, -MOST) * steepness) for value in signed]
        weights = window.mask(raised, 0.0)
        return weighted(window.masked_fill(0.0), weights) / sum_of(weights)

    def summands(self, one: Window) -> Summands:
        """Return x·e^(αx) and e^(αx)."""
        x = one.values[0]
        scaled = x * one.param(0)
        weight = exp(scaled)
        return Summands([x * weight, weight], within(scaled, STEEPEST) & within(x, MOST_SUMMED))

    def of_sums(self, window: Window, sums: Sequence[Value]) -> Value:
        """Return Σ x·e^(αx) / Σ e^(αx)."""
        return sums[0] / sums[1]

    def extra_repr(self) -> str:
        """Show the geometry and how many steepnesses are learned."""
        return f"{super().extra_repr()}, per={self.per!r}"


class AutoPool1d(WindowPool1d, AutoPool2d):
    """`AutoPool2d` for sequences.

    >>> AutoPool1d(2, per="layer")(torch.tensor([[[3.0, 5.0]]])).tolist()
    [[[4.0]]]
    """
