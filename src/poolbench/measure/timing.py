"""Timing two things side by side: in turn, in one process, until the interval of their ratio is narrow enough.

A machine drifts and has neighbours; what is timed minutes apart cannot be compared. Many short timings alternate, so
that a slow moment meets both, and the ratio is the median over the pairs of adjacent timings, none left out. Medians
and their intervals are distribution-free (order statistics), since times have a long tail. The interval decides when
to end, which makes its 95 % a little generous.

What a neighbour does to one timing of a pair and not to the other, no median mends where it happens most of the time:
so the ratio is taken by a stopwatch (`poolbench.measure.stopwatch`) that does not run while the neighbour has the
processor, where there is one. The figures themselves are seconds that passed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import quantile_test

from poolbench.measure.stopwatch import Action, Clock, Stopwatch, WallStopwatch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# A timing shorter than this is made of several calls, so that the clock's grain and the loop do not count. Timings
# four times as long, of a call this short, were disturbed several times as much by a busy neighbour.
LEAST_SECONDS = 0.0005
MOST_INNER_CALLS = 1000
# A call shorter than this is made once untimed before each timing: it would feel what the other left in the caches,
# and as the order changes, every other ratio would err to the other side, which leaves the median nothing to hold on.
BRIEF_SECONDS = 0.005
# The first call of a step is nearly twice as slow; after five, two of them in turn, nothing changes any more.
WARM_UP_CALLS = (2, 3)
# Buffers that things take in turn come to lie elsewhere than those of one alone. Until they have found their places,
# each that is new costs a page fault for every 4 KiB: a pooling of 128 x 64 x 32 x 32 then took up to four times as
# long in half of its timings. So all are called in turn until the system is asked for nothing, twice on end; or for as
# much each time, as where freed memory goes back to it.
QUIET_TURNS, STEADY_TURNS, MOST_TURNS = 2, 3, 8
# What Python takes for itself meanwhile.
FEW_PAGES = 8
# An interval needs 6 values; that of few placements is too often narrow by chance to end a measurement.
LEAST_PLACEMENTS, PLACEMENTS_TO_SETTLE = 6, 30
LEAST_IN_PLACE = 3


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
        ratios: first over second of each repeat, or of each placement, by the stopwatch that compares; empty: those of
            the seconds.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    settled: bool
    ratios: tuple[float, ...] = ()

    @property
    def ratio(self) -> Interval:
        """Time of the first over time of the second, repeat by repeat."""
        return median_interval(self.ratios or _by_repeat(self.first, self.second))


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
    least_s: float = 0.0,
    half_width: float = 0.02,
    min_repeats: int = 8,
    max_repeats: int = 100_000,
    inner: int | None = None,
    stopwatch: Stopwatch | None = None,
    clock: Clock = time.perf_counter,
) -> Pair:
    """Time `first` and `second` in turn, each repeat in the other order.

    Ends when the 95 % interval of the ratio has at most the relative `half_width`, or (not settled then) when
    `budget_s` seconds are over or `max_repeats` are done; but never before `min_repeats`.

    Args:
        first: what is timed.
        second: what it is compared with.
        budget_s: seconds, warm-up included.
        least_s: seconds that it lasts at least, where the budget allows: one moment's timings are more alike than those
            of the next, so many of them in a short while make an interval that is too narrow.
        half_width: of the ratio's interval, relative.
        min_repeats: at least so many timings of each; an interval needs 6.
        max_repeats: at most so many.
        inner: calls that make one timing; None: as many as last 0.5 ms, found for each of the two while warming up.
        stopwatch: times the calls; None: one of `clock`.
        clock: seconds, for the budget; replaced in tests.
    """
    (one, other), settled = _take_turns(
        (first, second),
        lambda found: median_interval(_by_repeat(*(compared for _, compared in found))).half_width <= half_width,
        budget_s=budget_s,
        least_s=least_s,
        min_repeats=min_repeats,
        max_repeats=max_repeats,
        inner=inner,
        stopwatch=stopwatch or WallStopwatch(clock),
        clock=clock,
    )
    return Pair(tuple(one[0]), tuple(other[0]), settled, tuple(float(r) for r in _by_repeat(one[1], other[1])))


def alone(
    action: Action,
    *,
    budget_s: float,
    least_s: float = 0.0,
    half_width: float = 0.02,
    min_repeats: int = 8,
    max_repeats: int = 100_000,
    inner: int | None = None,
    stopwatch: Stopwatch | None = None,
    clock: Clock = time.perf_counter,
) -> Timing:
    """Time `action` by itself; it ends as `alternate` does, by the interval of the median.

    The arguments are those of `alternate`.
    """
    ((seconds, _),), settled = _take_turns(
        (action,),
        lambda found: median_interval(found[0][0]).half_width <= half_width,
        budget_s=budget_s,
        least_s=least_s,
        min_repeats=min_repeats,
        max_repeats=max_repeats,
        inner=inner,
        stopwatch=stopwatch or WallStopwatch(clock),
        clock=clock,
    )
    return Timing(tuple(seconds), settled)


def alternate_placed(
    place: Callable[[], tuple[Action, Action]],
    *,
    budget_s: float,
    half_width: float = 0.02,
    placements: int = 50,
    stopwatch: Stopwatch | None = None,
    clock: Clock = time.perf_counter,
) -> Pair:
    """Time two things in turn in several placements of what they work on, and compare by placement.

    Where tensors lie in memory decides a short call by some per cent, and stays as it is for a whole process: repeats
    in one placement agree with each other and with no other process (Mytkowicz et al., ASPLOS 2009; Curtsinger and
    Berger, ASPLOS 2013, who move things about for this reason). So the ratio is the median over placements of their
    median ratios, and its interval is that of placements.

    Args:
        place: makes the two anew, elsewhere in memory.
        budget_s: seconds, placing included; at least 6 placements of 3 repeats each are made, whatever they take.
        half_width: of the ratio's interval, relative, at which it ends, after 30 placements at the earliest.
        placements: so many share the budget.
        stopwatch: times the calls; None: one of `clock`.
        clock: seconds, for the budget; replaced in tests.
    """
    began = clock()
    first: list[float] = []
    second: list[float] = []
    ratios: list[float] = []
    settled = False
    while not settled and (len(ratios) < LEAST_PLACEMENTS or clock() < began + budget_s):
        found = alternate(
            *place(),
            budget_s=budget_s / placements,
            half_width=-1.0,  # never: a placement has its share of the time
            min_repeats=LEAST_IN_PLACE,
            stopwatch=stopwatch,
            clock=clock,
        )
        first += found.first
        second += found.second
        ratios.append(found.ratio.median)
        early = len(ratios) < PLACEMENTS_TO_SETTLE and clock() < began + budget_s
        settled = not early and median_interval(ratios).half_width <= half_width
    return Pair(tuple(first), tuple(second), settled, tuple(ratios))


def _by_repeat(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    return np.asarray(first) / np.asarray(second)


# Seconds a call that passed, and those to compare by, one value a repeat.
Found = tuple[list[float], list[float]]


def _take_turns(
    actions: Sequence[Action],
    narrow: Callable[[list[Found]], bool],
    *,
    budget_s: float,
    least_s: float,
    min_repeats: int,
    max_repeats: int,
    inner: int | None,
    stopwatch: Stopwatch,
    clock: Clock,
) -> tuple[list[Found], bool]:
    """Return the seconds a call of each action, by repeat, and whether `narrow` ended it."""
    if not 1 <= min_repeats <= max_repeats:
        raise ValueError(f"`min_repeats` must be in 1..max_repeats={max_repeats}, got {min_repeats}")
    if inner is not None and inner < 1:
        raise ValueError(f"`inner` must be at least 1, got {inner}")
    began = clock()
    end, earliest = began + budget_s, began + min(least_s, budget_s)
    shortest = [_warm_up(action, budget_s / 10, stopwatch, clock) for action in actions]
    brief = [seconds < BRIEF_SECONDS for seconds in shortest]
    calls = [max(1, min(MOST_INNER_CALLS, round(LEAST_SECONDS / max(seconds, 1e-9)))) for seconds in shortest]
    if inner is not None:
        calls = [inner] * len(actions)
    _settle_in(actions, end, clock)
    found: list[Found] = [([], []) for _ in actions]
    settled, repeats, look = False, 0, min_repeats
    while not settled and repeats < max_repeats:
        for which in _order(actions, repeats):
            if brief[which]:
                actions[which]()
            passed, compared = stopwatch(actions[which], calls[which])
            found[which][0].append(passed / calls[which])
            found[which][1].append(compared / calls[which])
        repeats += 1
        now = clock()
        over = repeats >= min_repeats and now >= end
        if over or repeats == max_repeats or (repeats >= look and now >= earliest):
            # Computing the interval disturbs what is timed and takes longer with more values: it is done ever rarer.
            look = repeats + max(1, repeats // 20)
            settled = narrow(found)
        if over:
            break
    return found, settled


def _warm_up(action: Action, budget_s: float, stopwatch: Stopwatch, clock: Clock) -> float:
    """Call `action` until it is warm; return the seconds of its shortest call."""
    least, most = WARM_UP_CALLS
    began = clock()
    shortest = float("inf")
    for call in range(most):
        shortest = min(shortest, stopwatch(action, 1)[0])
        if call + 1 >= least and clock() - began >= budget_s:
            break
    return shortest


def _settle_in(actions: Sequence[Action], end: float, clock: Clock) -> None:
    """Call all in turn until they take no new pages of memory, or always as many; after `end` one turn may tell."""
    pages: list[int] = []
    while len(pages) < MOST_TURNS:
        known = page_faults()
        for which in _order(actions, len(pages)):
            actions[which]()
        pages.append(page_faults() - known)
        quiet = QUIET_TURNS if clock() < end else 1
        if len(pages) >= quiet and max(pages[-quiet:]) <= FEW_PAGES:
            break
        last = pages[-STEADY_TURNS:]
        if len(pages) >= STEADY_TURNS and max(last) - min(last) <= FEW_PAGES:
            break


def _order(actions: Sequence[Action], turn: int) -> Sequence[int]:
    """Return in which order actions are called: each time the other way round."""
    order = range(len(actions))
    return order if turn % 2 == 0 else order[::-1]


def page_faults() -> int:
    """Return how many pages of memory the system has given this process; 0 where it does not count them (Windows)."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_minflt
