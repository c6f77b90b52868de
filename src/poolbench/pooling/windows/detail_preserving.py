"""Detail-preserving pooling: a mean in which values count the more, the further they are from the window's mean."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window, exp2, log2, maximum, sum_of, where
from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import divided, mean, weighted
from poolbench.pooling.shared.parameters import check_per

EPS = 1e-3
# What stands for ε where differences are so large that it would vanish beside their squares.
LEAST = 1e-30
STEEPEST = 100.0
# e⁴⁰ times the differences that the formula has, below 2⁶⁰, stays within float32.
LARGEST_LOG = 40.0
FORMS = ("symmetric", "asymmetric")


class DetailPreservingPool2d(TapPool2d):
    """A mean that gives more weight to values far from the window's mean: (Σ w·x) / (Σ w).

    w = α + (r / mean(r))^(λ/2), r = d² + ε, with d = x − mean(x) and ε = 10⁻³; with `form="asymmetric"` d is
    max(0, x − mean(x)), so that only values above the mean get more weight. α = e^`log_alpha` and λ = e^`log_power` are
    learned, for the layer or for each channel. The means are over the window; λ → 0 and α → ∞ are average pooling, a
    large λ with a small α gives the value furthest from the mean. With n values, λ is limited to 200 / log₂(n); both
    logarithms count as 40 at most. In float32 values up to 3·10³⁷ do not overflow.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        form: `"symmetric"` or `"asymmetric"`.
        per: `"layer"` (two parameters) or `"channel"` (two for each channel).
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Saeedan, Weber, Goesele and Roth, Detail-Preserving Pooling in Deep Networks (2018), and the authors' code,
    which has both forms, and divides by mean(r) in one and by the sum of r in another; here it is the mean. Differences
    are from the window's mean, the paper's version without a learned filter. There each channel has its own α and λ,
    `per="channel"`, whose logarithms start at random within ±1/√C; here both start at 0, for the layer alone unless
    asked otherwise.

    >>> pool = DetailPreservingPool2d(2)
    >>> pool(torch.tensor([[[[3.0, 3.0], [3.0, 3.0]]]])).item()
    3.0
    >>> round(pool(torch.tensor([[[[0.0, 0.0], [0.0, 4.0]]]])).item(), 3)  # 4 is three times as far from 1 as 0 is
    1.464
    """

    small_maps: ClassVar[str] = "a logarithm and a power of each value, and their derivatives"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        form: str = "symmetric",
        per: str = "layer",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        if form not in FORMS:
            raise ValueError(f"`form` must be 'symmetric' or 'asymmetric', got {form!r}")
        self.form, self.per = form, per
        count = check_per(per, channels)
        self.log_alpha = nn.Parameter(torch.zeros(count))
        self.log_power = nn.Parameter(torch.zeros(count))
        self.trace()

    def params(self) -> Tensor:
        """Return α and λ/2."""
        # Of n values, r / mean(r) is at most n: its power stays below 2^100.
        most = STEEPEST / math.log2(max(self.window_size, 2))
        alpha, power = (upcast(each).clamp(max=LARGEST_LOG).exp() for each in (self.log_alpha, self.log_power))
        return torch.stack([alpha, (power / 2).clamp(max=most)])

    def formula(self, window: Window) -> Value:
        """Return the weighted mean, as the mean and the weighted mean of the differences from it.

        Where squares of the differences would overflow, these are divided by a power of two, which changes no weight.
        """
        alpha, half = window.param(0), window.param(1)
        average = mean(window)
        apart = window.mask([value - average for value in window.values], 0.0)
        large = sum_of([value * value for value in apart]) > 2.0**100
        small, back = where(large, 2.0**-68, 1.0), where(large, 2.0**68, 1.0)
        apart = [value * small for value in apart]
        counted = apart if self.form == "symmetric" else [maximum(value, 0.0) for value in apart]
        size = [value * value + where(large, LEAST, EPS) for value in counted]
        usual = log2(divided(sum_of(window.mask(size, 0.0)), window))
        weights = window.mask([alpha + exp2((log2(value) - usual) * half) for value in size], 0.0)
        return average + weighted(apart, weights) / sum_of(weights) * back

    def extra_repr(self) -> str:
        """Show the geometry, the form and how many parameters are learned."""
        return f"{super().extra_repr()}, form={self.form!r}, per={self.per!r}"


class DetailPreservingPool1d(WindowPool1d, DetailPreservingPool2d):
    """`DetailPreservingPool2d` for sequences.

    >>> DetailPreservingPool1d(2)(torch.tensor([[[1.0, 3.0]]])).tolist()  # both are as far from the mean
    [[[2.0]]]
    """
