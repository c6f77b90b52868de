"""Timing two things side by side: in turn, in one process, until the interval of their ratio is narrow enough.

A machine drifts and has neighbours; what is timed minutes apart cannot be compared. Alternating, a slow moment meets
both. Medians and their intervals are distribution-free (order statistics), since times have a long tail. The interval
is looked at after each repeat and decides when to end, which makes its 95 % a little generous.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import quantile_test

Action = Callable[[], object]
Clock = Callable[[], float]

# A timing shorter than this is made of several calls, so that the clock's grain and the loop do not count.
LEAST_SECONDS = 0.002
MOST_INNER_CALLS = 1000
# The first call of a step is nearly twice as slow; after five nothing changes any more.
WARM_UP_CALLS = (2, 5)


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
class Timing:
    """One thing timed by itself.

    Args:
        seconds: of a call, one value a repeat.
        settled: whether the median's interval became as narrow as asked for.
    """

    seconds: tuple[float, ...]
    settled: bool

    @property
    def interval(self) -> Interval:
        """Seconds of a call."""
        return median_interval(self.seconds)


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
        return median_interval(_by_repeat(self.first, self.second))


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
    first: Action,
    second: Action,
    *,
    budget_s: float,
    half_width: float = 0.02,
    min_repeats: int = 8,
    max_repeats: int = 200,
    inner: int | None = None,
    synchronize: Action = lambda: None,
    clock: Clock = time.perf_counter,
) -> Pair:
    """Time `first` and `second` in turn, each repeat in the other order.

    Ends when the 95 % interval of the ratio has at most the relative `half_width`, or (not settled then) when
    `budget_s` seconds are over or `max_repeats` are done; but never before `min_repeats`.

    Args:
        first: what is timed.
        second: what it is compared with.
        budget_s: seconds, warm-up included.
        half_width: of the ratio's interval, relative.
        min_repeats: at least so many timings of each; an interval needs 6.
        max_repeats: at most so many.
        inner: calls that make one timing; None: as many as last 2 ms, found for each of the two while warming up.
        synchronize: waits for the device.
        clock: seconds; replaced in tests.
    """
    times, settled = _take_turns(
        (first, second),
        lambda times: median_interval(_by_repeat(*times)).half_width <= half_width,
        budget_s=budget_s,
        min_repeats=min_repeats,
        max_repeats=max_repeats,
        inner=inner,
        synchronize=synchronize,
        clock=clock,
    )
    return Pair(tuple(times[0]), tuple(times[1]), settled)


def alone(
    action: Action,
    *,
    budget_s: float,
    half_width: float = 0.02,
    min_repeats: int = 8,
    max_repeats: int = 200,
    inner: int | None = None,
    synchronize: Action = lambda: None,
    clock: Clock = time.perf_counter,
) -> Timing:
    """Time `action` by itself; it ends as `alternate` does, by the interval of the median.

    The arguments are those of `alternate`.
    """
    times, settled = _take_turns(
        (action,),
        lambda times: median_interval(times[0]).half_width <= half_width,
        budget_s=budget_s,
        min_repeats=min_repeats,
        max_repeats=max_repeats,
        inner=inner,
        synchronize=synchronize,
        clock=clock,
    )
    return Timing(tuple(times[0]), settled)


def _by_repeat(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    return np.asarray(first) / np.asarray(second)


def _take_turns(
    actions: Sequence[Action],
    narrow: Callable[[list[list[float]]], bool],
    *,
    budget_s: float,
    min_repeats: int,
    max_repeats: int,
    inner: int | None,
    synchronize: Action,
    clock: Clock,
) -> tuple[list[list[float]], bool]:
    """Return the seconds a call of each action, by repeat, and whether `narrow` ended it."""
    if not 1 <= min_repeats <= max_repeats:
        raise ValueError(f"`min_repeats` must be in 1..max_repeats={max_repeats}, got {min_repeats}")
    if inner is not None and inner < 1:
        raise ValueError(f"`inner` must be at least 1, got {inner}")
    end = clock() + budget_s
    calls = [_warm_up(action, budget_s / 10, synchronize, clock) for action in actions]
    if inner is not None:
        calls = [inner] * len(actions)
    times: list[list[float]] = [[] for _ in actions]
    settled = False
    while not settled and len(times[0]) < max_repeats:
        forwards = len(times[0]) % 2 == 0
        for which in range(len(actions)) if forwards else reversed(range(len(actions))):
            times[which].append(_time(actions[which], calls[which], synchronize, clock))
        if len(times[0]) >= min_repeats:
            settled = narrow(times)
            if clock() >= end:
                break
    return times, settled


def _warm_up(action: Action, budget_s: float, synchronize: Action, clock: Clock) -> int:
    """Call `action` until it is warm; return how many calls make one timing."""
    least, most = WARM_UP_CALLS
    began = clock()
    shortest = float("inf")
    for call in range(most):
        shortest = min(shortest, _time(action, 1, synchronize, clock))
        if call + 1 >= least and clock() - began >= budget_s:
            break
    return max(1, min(MOST_INNER_CALLS, round(LEAST_SECONDS / max(shortest, 1e-9))))


def _time(action: Action, calls: int, synchronize: Action, clock: Clock) -> float:
    """Return the seconds of one of `calls` calls."""
    synchronize()
    began = clock()
    for _ in range(calls):
        action()
    synchronize()
    return (clock() - began) / calls
