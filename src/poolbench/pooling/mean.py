"""Means and maxima of a window that several formulas are made of."""

import math
from collections.abc import Callable, Sequence

from poolbench.pooling.kernels.graph import Value, Window, exp, larger, log, stopped, total, where

# Gates beyond this are 0 or 1 in every dtype, and e to its power is still a number.
STEEPEST = 80.0


def divided(value: Value, window: Window) -> Value:
    """Return value / n, n being the number of values that the window has."""
    return value * (1 / window.size) if window.valid is None else value / window.count


def mean(window: Window) -> Value:
    """Return Σx / n."""
    return divided(total(window.filled(0.0)), window)


def maximum(window: Window) -> Value:
    """Return max(x), the first of equal values in the order of reading; blind to NaN."""
    return _extreme(window, -math.inf, lambda value, best: value > best)


def minimum(window: Window) -> Value:
    """Return min(x), the first of equal values in the order of reading; blind to NaN."""
    return _extreme(window, math.inf, lambda value, best: value < best)


def _extreme(window: Window, outside: float, beats: Callable[[Value, Value], Value]) -> Value:
    """Return the value that none beats. Even an infinite one beats what is outside the map, so it gets the gradient."""
    best, *others = window.filled(outside)
    found = None if window.valid is None else window.valid[0]
    for at, value in enumerate(others, start=1):
        better = beats(value, best)
        if window.valid is not None and found is not None:
            better, found = better | (window.valid[at] & ~found), found | window.valid[at]
        best = where(better, value, best)
    return best


def positive(window: Window, least: float) -> list[Value]:
    """Return the values, raised to at least `least`; a NaN stays."""
    return [larger(value, least) for value in window.filled(least)]


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
    """Return 1 / (1 + e^−value)."""
    low = where(value > STEEPEST, STEEPEST, value)
    return 1.0 / (1.0 + exp(-where(low < -STEEPEST, -STEEPEST, low)))


def size(value: Value) -> Value:
    """Return |value|."""
    return where(value < 0.0, -value, value)


def softmax(window: Window, beta: float) -> list[Value]:
    """Return e^(βx), divided by the largest of them so that none overflows; 0 outside the map.

    The maximum is held as a constant: what is made of ratios of these does not depend on it.
    """
    largest = stopped(maximum(window))
    return [exp((value - largest) * beta) for value in window.filled(-math.inf)]


def weighted(values: Sequence[Value], weights: Sequence[Value | float]) -> Value:
    """Return Σ w·x."""
    return total([value * weight for value, weight in zip(values, weights, strict=True)])
