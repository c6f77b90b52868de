"""AdaPool: a learned blend of SoftPool and a mean weighted by likeness to the mean."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window, exp, maximum, reduce, stop_gradient, sum_of, where
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import absolute, balanced, divided, restored, restoring, share_of, softmax, weighted
from poolbench.pooling.shared.parameters import check_per


def dice(a: Value, b: Value) -> Value:
    """Return the Dice–Sørensen coefficient 2|ab| / (a² + b²), 1 where both are 0."""
    squares = a * a + b * b
    nothing = squares <= 0.0
    return where(nothing, 1.0, absolute(a * b) * 2.0 / where(nothing, 1.0, squares))


class AdaPool2d(TapPool2d):
    """A learned blend of two weighted means: b·Σ wᵢxᵢ + (1 − b)·Σ vᵢxᵢ.

    v = softmax(x) as in SoftPool; w = softmax(d) with the Dice–Sørensen coefficient of each value and the window's mean
    m, dᵢ = 2|xᵢm| / (xᵢ² + m²), which is 1 where both are 0. b = sigmoid(`logit`) starts at 0.5.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        per: `"layer"` (one parameter) or `"channel"` (one for each channel).
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Stergiou and Poppe, AdaPool: Exponential Adaptive Pooling for Information-Retaining Downsampling (2021;
    IEEE Transactions on Image Processing 32, 2023), formulas as in the authors' code. There b is clamped to [0, 1] and
    learned for each place of the result, which ties a network to one image size: one for the layer or channel, by a
    sigmoid, is a deviation. That code also clamps results and gradients at 0, which is not the operator.

    >>> AdaPool2d(2)(torch.tensor([[[[3.0, 3.0], [3.0, 3.0]]]])).item()
    3.0
    """

    small_maps: ClassVar[str] = "two exponentials and a division of each value, and their derivatives"

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
        self.logit = nn.Parameter(torch.zeros(check_per(per, channels)))
        self.trace()

    def learned_number(self) -> Tensor:
        """Return the logit of b."""
        return self.logit

    def formula(self, window: Window) -> Value:
        """Return the blend."""
        values = window.masked_fill(0.0)
        values, largest, back = balanced(values, stop_gradient(reduce(maximum, [absolute(value) for value in values])))
        soft = softmax(replace(window, values=[restoring(value, back) for value in window.values]), 1.0)
        average = divided(sum_of(values), window)
        # A likeness of ratios: of numbers divided by the largest one, whose squares do not overflow.
        scale = 1.0 / where(largest > 0.0, largest, 1.0)
        alike = window.mask([exp(dice(value * scale, average * scale)) for value in values], 0.0)
        by_likeness = weighted(values, alike) / sum_of(alike)
        by_size = weighted(values, soft) / sum_of(soft)
        return restored(by_size + restoring(share_of(window.param(0)), back) * (by_likeness - by_size), back)

    def extra_repr(self) -> str:
        """Show the geometry and how many blends are learned."""
        return f"{super().extra_repr()}, per={self.per!r}"


class AdaPool1d(WindowPool1d, AdaPool2d):
    """`AdaPool2d` for sequences.

    >>> AdaPool1d(2)(torch.tensor([[[3.0, 3.0]]])).tolist()
    [[[3.0]]]
    """
