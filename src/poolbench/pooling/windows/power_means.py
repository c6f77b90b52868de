"""Means with a learned exponent: the power mean and Lehmer's."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import (
    Value,
    Window,
    custom_gradient,
    exp2,
    log2,
    maximum,
    minimum,
    propagate_nan,
    reduce,
    stop_gradient,
    sum_of,
    where,
)
from poolbench.kernels.sums import Summands
from poolbench.pooling.bases.arguments import is_number
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import absolute, balanced, divided, positive, restored, restoring, weighted
from poolbench.pooling.shared.parameters import check_per

# Values below are raised to it: a logarithm is taken.
LEAST = 1e-6
SMALLEST = torch.finfo(torch.float32).tiny
# Powers are summed of values divided by 2 to this power, amid what activations are and LEAST ...
CENTRE = -8
# ... for values within 2 to ± this power of it, where their power lies within 2 to ± that; one power less, which the
# derivative needs, then lies within 2 to ± both together.
FURTHEST, STEEPEST = 26, 90.0


def exponent(p: float, per: str, channels: int | None) -> nn.Parameter:
    """Return the learned exponent, starting at `p`.

    Raises:
        ValueError: `p` is no finite number, or 0.
    """
    if not is_number(p) or p == 0:
        raise ValueError(f"`p` must be a finite number other than 0, got {p!r}")
    return nn.Parameter(torch.full((check_per(per, channels),), float(p)))


def least_value(eps: float) -> float:
    """Return ε, which stands for every value below it.

    Raises:
        ValueError: it is no finite number, or one whose logarithm a kernel does not know.
    """
    if not is_number(eps) or eps < SMALLEST:
        raise ValueError(f"`eps` must be a finite number of at least {SMALLEST:.3g}, got {eps!r}")
    return float(eps)


def powers(window: Window, values: Sequence[Value], p: Value) -> tuple[Value, list[Value]]:
    """Return the logarithm to base 2 of the largest x^p, and every x^p divided by that, 0 outside the map.

    It is held as if it were a constant: what is made of both does not depend on it.
    """
    logs = window.mask([log2(value) * p for value in values], -math.inf)
    largest = stop_gradient(reduce(maximum, logs))
    return largest, [exp2(each - largest) for each in logs]


def plain_power(one: Window, least: float, *exponents: Value) -> tuple[Value, Value]:
    """Return (x / 2^CENTRE)^p of one value, and whether neither that nor its derivative overflows or vanishes.

    Args:
        one: the value.
        least: ε.
        exponents: other powers of it that are to be found without that.
    """
    (x,), p = positive(one, least), one.param(0)
    log = log2(x)
    below = exp2(log * (p - 1.0) + p * -CENTRE)
    raised = below * x
    # By p, as if there were no centre: all results depend on ratios alone, and sums that cancel stay small.
    raised = custom_gradient(raised, (x, p * below), (p, raised * log * math.log(2)))
    steepest = reduce(maximum, [absolute(each) for each in (p, *exponents)])
    reach = minimum(STEEPEST / steepest, FURTHEST)
    return raised, (x <= exp2(CENTRE + reach)) & (x >= exp2(CENTRE - reach))


class PowerMeanPool2d(TapPool2d):
    """The power mean with a learned exponent: (Σ x^p / n)^(1/p), x clamped at ε.

    p = 1 is the mean, p → ∞ the maximum, p → −∞ the minimum. Over the whole map it is GeM, `GlobalGeMPool2d`. Values
    are first divided by the largest one, so no power overflows. A value below ε is replaced by it and gets no gradient.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        p: where the exponent starts; not 0, where the formula has a gap that learning may come near to.
        eps: ε, at least the smallest normal number of float32.
        per: `"layer"` (one exponent) or `"channel"` (one for each channel).
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Terziyan, Malyk, Golovianko and Branytskyi, Hyper-flexible Convolutional Neural Networks based on
    Generalized Lehmer and Power Means, Neural Networks 155 (2022); Radenović, Tolias and Chum, Fine-tuning CNN Image
    Retrieval with No Human Annotation (2018), for the whole map and the start at 3.

    >>> round(PowerMeanPool2d(2, p=2.0)(torch.tensor([[[[1.0, 1.0], [5.0, 3.0]]]])).item(), 5)  # √(36 / 4)
    3.0
    """

    domain: ClassVar[str] = "positive"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        p: float = 3.0,
        eps: float = LEAST,
        per: str = "layer",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.eps = least_value(eps)
        self.per, self.p = per, exponent(p, per, channels)
        self.trace()

    def learned_number(self) -> Tensor:
        """Return p."""
        return self.p

    def formula(self, window: Window) -> Value:
        """Return (Σ x^p / n)^(1/p), ∞ where one x^p is ∞ or all x are."""
        values = positive(window, self.eps)
        values, _, back = balanced(values, stop_gradient(reduce(maximum, values)))
        p = restoring(window.param(0), back)
        largest, raised = powers(window, values, p)
        average = divided(sum_of(raised), window)
        root = exp2((largest + log2(average)) / p)
        infinite = (largest >= math.inf) | (largest <= -math.inf)
        return propagate_nan(where(infinite, math.inf, restored(root, back)), window)

    def summands(self, one: Window) -> Summands:
        """Return x^p."""
        raised, fits = plain_power(one, self.eps)
        return Summands([raised], fits)

    def of_sums(self, window: Window, sums: Sequence[Value]) -> Value:
        """Return (Σ x^p / n)^(1/p)."""
        inverse, found = 1.0 / window.param(0), sums[0]
        log = log2(divided(found, window)) * inverse + CENTRE
        result = exp2(log)
        # By p, as if there were no centre: see `plain_power`.
        slope = result * inverse
        return custom_gradient(result, (found, slope / found), (window.param(0), slope * log * -math.log(2)))

    def extra_repr(self) -> str:
        """Show the geometry and how many exponents are learned."""
        return f"{super().extra_repr()}, eps={self.eps}, per={self.per!r}"


class PowerMeanPool1d(WindowPool1d, PowerMeanPool2d):
    """`PowerMeanPool2d` for sequences.

    >>> round(PowerMeanPool1d(2, p=2.0)(torch.tensor([[[1.0, 7.0]]])).item(), 5)
    5.0
    """


class LehmerPool2d(TapPool2d):
    """Lehmer's mean with a learned exponent: Σ x^(p+1) / Σ x^p, x clamped at 10⁻⁶.

    p = 0 is the mean, p = 1 the expectation of stochastic pooling, p → ∞ the maximum, p = −1 the harmonic mean. Values
    are first divided by the largest one. A value below 10⁻⁶ is replaced by it and gets no gradient.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        p: where the exponent starts, not 0.
        per: `"layer"` (one exponent) or `"channel"` (one for each channel).
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Terziyan, Malyk, Golovianko and Branytskyi (2022), see `PowerMeanPool2d`.

    >>> round(LehmerPool2d(2)(torch.tensor([[[[1.0, 1.0], [1.0, 3.0]]]])).item(), 5)  # (1 + 1 + 1 + 9) / 6
    2.0
    """

    domain: ClassVar[str] = "positive"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        p: float = 1.0,
        per: str = "layer",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.per, self.exponent = per, exponent(p, per, channels)
        self.trace()

    def learned_number(self) -> Tensor:
        """Return p."""
        return self.exponent

    def formula(self, window: Window) -> Value:
        """Return Σ x^(p+1) / Σ x^p."""
        values = positive(window, LEAST)
        values, _, back = balanced(values, stop_gradient(reduce(maximum, values)))
        _, raised = powers(window, values, restoring(window.param(0), back))
        return restored(weighted(values, raised) / sum_of(raised), back)

    def summands(self, one: Window) -> Summands:
        """Return x^(p+1) and x^p."""
        raised, fits = plain_power(one, LEAST, one.param(0) + 1.0)
        (x,) = positive(one, LEAST)
        return Summands([x * raised, raised], fits)

    def of_sums(self, window: Window, sums: Sequence[Value]) -> Value:
        """Return Σ x^(p+1) / Σ x^p."""
        return sums[0] / sums[1]

    def extra_repr(self) -> str:
        """Show the geometry and how many exponents are learned."""
        return f"{super().extra_repr()}, per={self.per!r}"


class LehmerPool1d(WindowPool1d, LehmerPool2d):
    """`LehmerPool2d` for sequences.

    >>> round(LehmerPool1d(2)(torch.tensor([[[1.0, 3.0]]])).item(), 5)
    2.5
    """
