"""Timing two things side by side: in turn, in one process, until the interval of their ratio is narrow enough.

A machine drifts and has neighbours; what is timed minutes apart cannot be compared. Alternating, a slow moment meets
both. Medians and their intervals are distribution-free (order statistics), since times have a long tail.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import quantile_test

# A timing shorter than this is made of several calls, so that the clock's grain and the loop do not count.
LEAST_SECONDS = 0.002
WARM_UP_CALLS = 5


@dataclass(frozen=True)
class Interval:
    """A median with its 95 % interval; None where there are too few values for one (fewer than 6)."""

    median: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float:
        """Half of the interval's width, relative to the median."""
        if self.low is None or self.high is None:
            return float("inf")
        return (self.high - self.low) / 2 / self.median


@dataclass(frozen=True)
class Pair:
    """Two things timed in turn.

    Args:
        first: seconds a call of the first, one value a repeat.
        second: seconds a call of the second, likewise.
        settled: whether the ratio's interval became as narrow as asked for.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    settled: bool

    @property
    def ratio(self) -> Interval:
        """Seconds of the first over seconds of the second, repeat by repeat."""
        return median_interval(np.divide(self.first, self.second))


def median_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the median with its 95 % interval from order statistics.

    >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    Interval(median=5.0, low=2.0, high=8.0)
    """
    values = np.asarray(values, dtype=float)
    middle = float(np.median(values))
    found = quantile_test(values, q=middle, p=0.5).confidence_interval(0.95)
    known = np.isfinite(found.low) and np.isfinite(found.high)
    return Interval(middle, float(found.low) if known else None, float(found.high) if known else None)


def alternate(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    budget_s: float,
    half_width: float = 0.02,
    min_repeats: int = 8,
    max_repeats: int = 200,
    synchronize: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Pair:
    """Time `first` and `second` in turn, each repeat in the other order.

    Ends when the 95 % interval of the ratio has at most the relative `half_width`, or `budget_s` seconds are over
    (not settled then), but never before `min_repeats`.

    Args:
        first: what is timed.
        second: what it is compared with.
        budget_s: seconds, warm-up included.
        half_width: of the ratio's interval, relative.
        min_repeats: at least so many timings of each.
        max_repeats: at most so many.
        synchronize: waits for the device.
        clock: seconds; replaced in tests.
    """
    end = clock() + budget_s
    calls = (_warm_up(first, synchronize, clock), _warm_up(second, synchronize, clock))

    def timed(which: int) -> float:
        action, count = (first, second)[which], calls[which]
        synchronize()
        began = clock()
        for _ in range(count):
            action()
        synchronize()
        return (clock() - began) / count

    times: tuple[list[float], list[float]] = ([], [])
    settled = False
    while len(times[0]) < max_repeats:
        order = (0, 1) if len(times[0]) % 2 == 0 else (1, 0)
        for which in order:
            times[which].append(timed(which))
        if len(times[0]) < min_repeats:
            continue
        settled = median_interval(np.divide(*times)).half_width <= half_width
        if settled or clock() >= end:
            break
    return Pair(tuple(times[0]), tuple(times[1]), settled)


def alone(
    action: Callable[[], object],
    *,
    budget_s: float,
    half_width: float = 0.02,
    min_repeats: int = 8,
    max_repeats: int = 200,
    synchronize: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[tuple[float, ...], bool]:
    """Time `action` by itself: seconds a call by repeat, and whether the median's interval became narrow enough."""
    end = clock() + budget_s
    count = _warm_up(action, synchronize, clock)
    times: list[float] = []
    settled = False
    while len(times) < max_repeats:
        synchronize()
        began = clock()
        for _ in range(count):
            action()
        synchronize()
        times.append((clock() - began) / count)
        if len(times) < min_repeats:
            continue
        settled = median_interval(times).half_width <= half_width
        if settled or clock() >= end:
            break
    return tuple(times), settled


def _warm_up(action: Callable[[], object], synchronize: Callable[[], object], clock: Callable[[], float]) -> int:
    """Call `action` until it is warm; return how many calls make one timing."""
    shortest = float("inf")
    for _ in range(WARM_UP_CALLS):
        synchronize()
        began = clock()
        action()
        synchronize()
        shortest = min(shortest, clock() - began)
    return max(1, min(1000, round(LEAST_SECONDS / max(shortest, 1e-7))))
