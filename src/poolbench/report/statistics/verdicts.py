"""Verdicts on the arms of a block: each against its reference, with correction for their number.

Holm's procedure (S. Holm 1979, Scandinavian Journal of Statistics 6:65–70) goes through the arms from the smallest p
on: the first is held against α/m, the next against α/(m − 1), until one fails; that one and all after it are not told
from their references. Each arm's interval has the level at which the procedure decided it, 1 − α/j with j the number of
arms that were left then, so that an interval excludes zero exactly where Holm's test rejects.

What is decided, in this order: fewer than 3 paired seeds are too few, however large the difference; an interval wholly
within the margin that was set beforehand is a tie; one that excludes zero is better or worse; all else is undecided.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poolbench.report.statistics.paired import Paired, half_width

ALPHA = 0.05
LEAST_SEEDS = 3
# Nobody trains more seeds than this to decide one arm.
MOST_SEEDS = 1000

REFERENCE, IDENTICAL, TOO_FEW, TIE, BETTER, WORSE, UNDECIDED, NONE = (
    *("reference", "identical", "too few runs", "tie", "better", "worse", "undecided", ""),
)


@dataclass(frozen=True)
class Decision:
    """What is said of one arm.

    Args:
        verdict: `too few runs`, `tie`, `better`, `worse` or `undecided`.
        p_holm: p corrected for the number of arms; NaN where there is none.
        level: confidence level of the interval; NaN likewise.
        low: lower end; NaN likewise.
        high: upper end.
        further_seeds: after so many more an undecided arm would be decided, were the mean and both variances as now;
            None: not undecided, or no number of seeds up to 1,000 would do.
    """

    verdict: str
    p_holm: float = math.nan
    level: float = math.nan
    low: float = math.nan
    high: float = math.nan
    further_seeds: int | None = None


def decide(family: Sequence[Paired], *, margin: float, alpha: float = ALPHA) -> list[Decision]:
    """Return a decision on each arm of a family: those of one block that are compared with a reference.

    Args:
        family: an arm each.
        margin: a difference up to this, either way, is a tie; fraction of 1.
        alpha: probability that any arm without a difference is called better or worse.
    """
    tested = [index for index, arm in enumerate(family) if arm.n >= LEAST_SEEDS and not math.isnan(arm.p)]
    corrected, levels = holm([family[index].p for index in tested], alpha)
    decisions = [Decision(TOO_FEW if arm.n < LEAST_SEEDS else UNDECIDED) for arm in family]
    for index, p_holm, level in zip(tested, corrected, levels, strict=True):
        decisions[index] = _decision(family[index], p_holm, level, margin)
    return decisions


def holm(p: Sequence[float], alpha: float = ALPHA) -> tuple[list[float], list[float]]:
    """Return Holm's corrected p of each test, and the confidence level at which the procedure decided it.

    >>> corrected, levels = holm([0.03, 0.001, 0.04])
    >>> [round(value, 4) for value in corrected], [round(level, 4) for level in levels]
    ([0.06, 0.003, 0.06], [0.975, 0.9833, 0.975])
    """
    m = len(p)
    order = np.argsort(p, kind="stable")
    left = m - np.arange(m)
    sorted_p = np.asarray(p, dtype=float)[order]
    corrected = np.minimum(np.maximum.accumulate(sorted_p * left), 1.0)
    rejected = int(np.count_nonzero(corrected < alpha))
    # What is not rejected was all held against the level at which the procedure ended.
    at = np.where(np.arange(m) < rejected, left, m - rejected)
    # Equal p have one place, the first of theirs: which of them comes first is nobody's merit.
    at = at[np.searchsorted(sorted_p, sorted_p, side="left")]
    result, levels = np.empty(m), np.empty(m)
    result[order], levels[order] = corrected, 1 - alpha / np.maximum(at, 1)
    return result.tolist(), levels.tolist()


def _decision(arm: Paired, p_holm: float, level: float, margin: float) -> Decision:
    low, high = arm.interval(level)
    verdict = _verdict(low, high, margin)
    further = _further_seeds(arm, level, margin) if verdict == UNDECIDED else None
    return Decision(verdict, p_holm, level, low, high, further)


def _verdict(low: float, high: float, margin: float) -> str:
    if -margin <= low and high <= margin:
        return TIE
    if low > 0:
        return BETTER
    return WORSE if high < 0 else UNDECIDED


def _further_seeds(arm: Paired, level: float, margin: float) -> int | None:
    """Return how many more seeds would decide: the smallest number for which the interval does."""
    (of_seeds, _), *of_images = arm.parts

    def decided(further: int) -> bool:
        n = arm.n + further
        half = half_width([(of_seeds * arm.n / n, n - 1), *of_images], level)
        return _verdict(arm.mean - half, arm.mean + half, margin) != UNDECIDED

    # The interval becomes narrower with every seed: what decides once decides from then on.
    further = bisect.bisect_left(range(1, MOST_SEEDS + 1), True, key=decided) + 1
    return further if further <= MOST_SEEDS else None
