"""Means and maxima of a window that several formulas are made of."""

import math
from collections.abc import Sequence

from poolbench.kernels.graph import (
    Value,
    Window,
    custom_gradient,
    exp,
    log,
    maximum,
    minimum,
    reduce,
    stop_gradient,
    sum_of,
    where,
    with_gradient_of,
)

# Gates beyond this are 0 or 1 in every dtype, and e to its power is still a number.
STEEPEST = 80.0


def divided(value: Value, window: Window) -> Value:
    """Return value / n, n being the number of values that the window has."""
    return value * (1 / window.size) if window.valid is None else value / window.count


def mean(window: Window) -> Value:
    """Return Σx / n."""
    return divided(sum_of(window.masked_fill(0.0)), window)


def window_max(window: Window) -> Value:
    """Return max(x), the first of equal values in row-major order; blind to NaN."""
    values = window.masked_fill(-math.inf)
    most = reduce(maximum, values)
    return _first(most, values, [most > value for value in values], window.valid)


def window_min(window: Window) -> Value:
    """Return min(x), the first of equal values in row-major order; blind to NaN."""
    values = window.masked_fill(math.inf)
    least = reduce(minimum, values)
    return _first(least, values, [value > least for value in values], window.valid)


def _first(extreme: Value, values: Sequence[Value], beaten: Sequence[Value], valid: Sequence[Value] | None) -> Value:
    """Return an extreme value with the gradient of the first value that it does not beat: one that is equal, or NaN.

    Asking for that anew is cheaper than to remember each comparison by which it was found.
    """
    found, taken = [], None
    for at, value in enumerate(values[:-1] if valid is None else values):
        stands = ~beaten[at] if valid is None else valid[at] & ~beaten[at]
        found.append(where(stands if taken is None else stands & ~taken, value, 0.0))
        taken = stands if taken is None else taken | stands
    if taken is None:  # one value alone
        return extreme
    if valid is None:
        found.append(where(taken, 0.0, values[-1]))
    return with_gradient_of(extreme, sum_of(found))


def positive(window: Window, least: float) -> list[Value]:
    """Return the values, raised to at least `least`; a NaN stays."""
    return [maximum(value, least) for value in window.masked_fill(least)]


def power(base: Value, exponent: Value | float) -> Value:
    """Return base^exponent for a positive base, 0 for one that is not; there the derivative is 0, too."""
    there = ~(base <= 0.0)  # true of NaN
    return where(there, exp(log(where(there, base, 1.0)) * exponent), 0.0)


def whole_power(base: Value, exponent: int) -> Value:
    """Return base^exponent for a whole exponent of at least 1, by multiplications."""
    if exponent == 1:
        return base
    half = whole_power(base, exponent // 2)
    return half * half * base if exponent % 2 else half * half


def sigmoid(value: Value) -> Value:
    """Return σ = 1 / (1 + e^−value)."""
    return 1.0 / (1.0 + _opposite(value))


def share_of(logit: Value) -> Value:
    """Return σ of a learned number: as `sigmoid`, with a derivative that is exact wherever σ is nearly 0 or 1.

    Both depend on the number alone, so that a kernel computes them once where all channels have the same.
    """
    positive = logit >= 0.0
    small = exp(where(positive, -logit, logit))
    inverse = 1.0 / (1.0 + small)
    return custom_gradient(where(positive, 1.0, small) * inverse, (logit, small * inverse * inverse))


def sigmoid_and_rest(value: Value) -> tuple[Value, Value]:
    """Return σ and 1 − σ, neither of which rounds to 0: times an infinite value that would be NaN."""
    opposite = _opposite(value)
    found = 1.0 / (1.0 + opposite)
    return found, with_gradient_of(opposite * found, 1.0 - found)


def _opposite(value: Value) -> Value:
    """Return e^−value, from e^−80 to e^80."""
    low = where(value > STEEPEST, STEEPEST, value)
    return exp(-where(low < -STEEPEST, -STEEPEST, low))


def absolute(value: Value) -> Value:
    """Return |value|."""
    return where(value < 0.0, -value, value)


def softmax(window: Window, beta: float) -> list[Value]:
    """Return e^(βx), divided by the largest of them so that none overflows; 0 outside the map.

    The maximum is held as a constant: what is made of ratios of these does not depend on it.
    """
    largest = stop_gradient(window_max(window))
    return [exp((value - largest) * beta) for value in window.masked_fill(-math.inf)]


def balanced(values: Sequence[Value], largest: Value) -> tuple[list[Value], Value, Value]:
    """Return values and the largest brought between 2^−60 and 2^60 by a power of two, and what brings a result back.

    It is for a formula of which f(s·x) = s·f(x), for numbers that have no room for their powers, quotients or sums. The
    gradient of such a formula by x is the same at s·x, so it passes as if nothing had been done, and does not overflow
    on the way. Its result is `restored`; what else f depends on must be `restoring`.

    Args:
        values: of a window.
        largest: of their sizes.
    """
    large, small = largest > 2.0**60, (largest < 2.0**-60) & (largest > 0.0)
    scale = where(large, 2.0**-68, where(small, 2.0**68, 1.0))
    back = where(large, 2.0**68, where(small, 2.0**-68, 1.0))
    return [with_gradient_of(value * scale, value) for value in values], largest * scale, back


def restored(result: Value, back: Value) -> Value:
    """Return a result of `balanced` values as that of the values themselves."""
    return with_gradient_of(result * back, result)


def restoring(value: Value, back: Value) -> Value:
    """Return what else a result of `balanced` values depends on, with the gradient of the result restored."""
    return with_gradient_of(value, value * back)


def weighted(values: Sequence[Value], weights: Sequence[Value | float]) -> Value:
    """Return Σ w·x."""
    return sum_of([value * weight for value, weight in zip(values, weights, strict=True)])
