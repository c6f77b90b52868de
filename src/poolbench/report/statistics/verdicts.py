"""Verdicts on the arms of a block: each against its reference, with correction for their number.

Holm's procedure (S. Holm 1979, Scandinavian Journal of Statistics 6:65–70) goes through the arms from the smallest p
on: the first is held against α/m, the next against α/(m − 1), until one fails; that one and all after it are not told
from their references. Each arm's interval has the level at which the procedure decided it, 1 − α/j with j the number of
arms that were left then, so that an interval excludes zero exactly where Holm's test rejects.

A tie is shown by two one-sided tests at level α, one at either end of the margin that was set beforehand: the interval
at 1 − 2α lies wholly within (D. J. Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15:657–680). For each arm
the probability of a false tie is at most α; it is not corrected for the number of arms.

What is decided, in this order: fewer than 3 paired seeds are too few, however large the difference; a tie, even where
the difference is sure; an interval that excludes zero is better or worse; all else is undecided.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from poolbench.report.statistics.paired import Paired

ALPHA = 0.05
LEAST_SEEDS = 3
# Nobody trains more seeds than this to decide one arm.
MOST_SEEDS = 1000

REFERENCE, IDENTICAL, TOO_FEW, TIE, BETTER, WORSE, UNDECIDED, NONE = (
    *("reference", "identical", "too few runs", "tie", "better", "worse", "undecided", ""),
)
# More of the arm's cells failed than of its reference's, so that those which finished are the lucky ones.
FAILS = "fails more often"
# Of a tie: one for all arms of a family, or one an arm, as of a score whose margin is a share of the reference's mean.
Margin = float | Sequence[float]
# Over several blocks: better in one, worse in another.
MIXED = "mixed"


@dataclass(frozen=True)
class Decision:
    """What is said of one arm.

    Args:
        verdict: `too few runs`, `tie`, `better`, `worse` or `undecided`.
        p_holm: p corrected for the number of arms; NaN where there is none.
        level: confidence level of the interval; NaN likewise.
        low: lower end; NaN likewise.
        high: upper end.
        tie_low: lower end of the interval at 1 − 2α, which decides a tie; NaN likewise.
        tie_high: upper end.
        further_seeds: after so many more an undecided arm would be decided, were the mean and both variances as now;
            None: not undecided, or no number of seeds up to 1,000 would do.
    """

    verdict: str
    p_holm: float = math.nan
    level: float = math.nan
    low: float = math.nan
    high: float = math.nan
    tie_low: float = math.nan
    tie_high: float = math.nan
    further_seeds: int | None = None


def decide(
    family: Sequence[Paired], *, margin: Margin, alpha: float = ALPHA, beside: int = 0, further: bool = True
) -> list[Decision]:
    """Return a decision on each arm of a family: those of one block that are compared with a reference.

    Args:
        family: an arm each.
        margin: a difference up to this, either way, is a tie, in the unit of the score; of all arms, or one an arm.
        alpha: probability that any arm without a difference is called better or worse; and for each arm by itself
            that one at the margin is called a tie.
        beside: further arms of the family that are not rejected, whatever these are: they count in Holm's number.
        further: whether to say how many more seeds would decide.
    """
    tested = [index for index, arm in enumerate(family) if arm.n >= LEAST_SEEDS and not math.isnan(arm.p)]
    corrected, levels = (found[: len(tested)] for found in holm([family[i].p for i in tested] + [1.0] * beside, alpha))
    decisions = [Decision(TOO_FEW if arm.n < LEAST_SEEDS else UNDECIDED) for arm in family]
    margins = margin_each(margin, len(family))
    for index, p_holm, level in zip(tested, corrected, levels, strict=True):
        decisions[index] = _decision(family[index], p_holm, level, margins[index], alpha, further)
    return decisions


def margin_each(margin: Margin, number: int) -> Sequence[float]:
    """Return the margin of each arm."""
    return [float(margin)] * number if isinstance(margin, int | float) else margin


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


def verdict_of(interval: tuple[float, float], tie: tuple[float, float], margin: float) -> str:
    """Return what the interval that Holm's procedure decides by and the one of the two one-sided tests say."""
    if -margin <= tie[0] and tie[1] <= margin:
        return TIE
    if interval[0] > 0:
        return BETTER
    return WORSE if interval[1] < 0 else UNDECIDED


def _decision(arm: Paired, p_holm: float, level: float, margin: float, alpha: float, further: bool) -> Decision:
    interval, tie = arm.interval(level), arm.tie_interval(alpha, margin)
    verdict = verdict_of(interval, tie, margin)
    asked = further and verdict == UNDECIDED and arm.spreads
    return Decision(
        verdict, p_holm, level, *interval, *tie, _further_seeds(arm, level, margin, alpha) if asked else None
    )


def _further_seeds(arm: Paired, level: float, margin: float, alpha: float) -> int | None:
    """Return how many more seeds would decide: the smallest number for which the interval does."""

    def decided(further: int) -> bool:
        n = arm.n + further
        then = replace(arm, n=n, seed_variance=arm.seed_variance * arm.n / n)
        return verdict_of(then.interval(level), then.tie_interval(alpha, margin), margin) != UNDECIDED

    # The interval becomes narrower with every seed: what decides once decides from then on.
    further = bisect.bisect_left(range(1, MOST_SEEDS + 1), True, key=decided) + 1
    return further if further <= MOST_SEEDS else None
