"""What holds over all data sets: which arms differ, how likely a run is an improvement, how far each is from the best.

Blocks that share a data set are not independent of one another, so an arm's accuracy is averaged over the backbones of
a data set first, and a data set is what counts: one row of every matrix here. Arms are matched by their variant's name;
one that is not in every block is left out, as its mean would be over other backbones than the others'.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from poolbench.report.reading.arms import Block
from poolbench.report.reading.comparability import shortened
from poolbench.report.statistics.estimates import Values
from poolbench.report.statistics.improvement import LEAST_SEEDS, Improvement, improvement
from poolbench.report.statistics.matched import Matched, match, runs
from poolbench.report.statistics.profiles import gaps
from poolbench.report.statistics.ranks import (
    LEAST_ARMS,
    LEAST_DATASETS,
    Friedman,
    SignedRank,
    cliques,
    critical_difference,
    friedman,
    nemenyi,
    ranks,
    smallest_p,
    wilcoxon,
)
from poolbench.report.statistics.verdicts import ALPHA, holm
from poolbench.score import ACCURACY, Score

# All pairs of more arms take minutes, and no test is left any power by the correction for their number.
MOST_ARMS = 60


@dataclass(frozen=True)
class Pair:
    """Two arms by their place in `Across.variants`, the one of better average rank first; None: not tested."""

    first: int
    second: int
    p_nemenyi: float | None = None
    signed_rank: SignedRank | None = None
    p_holm: float | None = None


@dataclass(frozen=True, eq=False)
class Across:
    """What holds over all data sets.

    Args:
        left_out: what was left out and why, a sentence each.
        datasets: the rows, by name.
        variants: the arms, the best average rank first; empty where nothing could be compared.
        n_blocks: blocks that they were averaged over.
        reference: the variant that improvement is about; several are joined by `; `.
        accuracy: mean test score turned so that more is better, a row a data set, a column an arm.
        score: that all data sets are judged by; None where they differ in name or unit, so that ranks alone compare.
        friedman: whether any arms differ; None: not tested.
        critical_difference: Nemenyi's; NaN: not tested.
        cliques: groups of arms that are not distinguished, as places in `variants`; those of Friedman's test (all arms
            where it does not reject) and Nemenyi's.
        pairs: every two arms.
        improvement: by variant, of all but the reference.
    """

    left_out: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    n_blocks: int = 0
    reference: str = ""
    accuracy: Values = field(default_factory=lambda: np.empty((0, 0)))
    score: Score | None = ACCURACY
    friedman: Friedman | None = None
    critical_difference: float = math.nan
    cliques: tuple[tuple[int, ...], ...] = ()
    pairs: tuple[Pair, ...] = ()
    improvement: Mapping[str, Improvement] = field(default_factory=dict)

    @property
    def average_ranks(self) -> Values:
        """Each arm's mean rank over the data sets, 1 being best."""
        return _average_ranks(self.accuracy)

    @property
    def gaps(self) -> Values:
        """How far each arm (column) is below the best one of each data set (row), fraction of 1."""
        return gaps(self.accuracy)

    def apart_nemenyi(self, pair: Pair) -> bool | None:
        """Whether Friedman's and Nemenyi's tests distinguish two arms; None: not tested."""
        if self.friedman is None or pair.p_nemenyi is None:
            return None
        return self.friedman.rejects and pair.p_nemenyi < ALPHA

    def apart_wilcoxon(self, pair: Pair) -> bool | None:
        """Whether Wilcoxon's test distinguishes two arms, corrected for the number of pairs; None: not tested."""
        return None if pair.p_holm is None else pair.p_holm < ALPHA


def across(blocks: Sequence[Block], shared_images: Sequence[Sequence[str]] = ()) -> Across:
    """Return what holds over the data sets of these blocks; the order of blocks and arms does not matter.

    Args:
        blocks: with their arms.
        shared_images: data sets, by name, that have test images in common.
    """
    matched = match(blocks)
    if matched.accuracy.size == 0:
        return Across(left_out=matched.left_out)
    left_out, accuracy = [*matched.left_out, *_shared(shared_images, matched.datasets)], matched.accuracy
    average = _average_ranks(accuracy)
    order = sorted(range(len(average)), key=lambda at: (round(float(average[at]), 9), matched.variants[at]))
    variants = tuple(matched.variants[at] for at in order)
    accuracy = accuracy[:, order]

    omnibus, difference, groups, notes = _mean_ranks(accuracy)
    left_out += notes
    # Differences of unlike scores cannot be weighed against each other: those of ranks can.
    pairs, notes = _pairs(accuracy if matched.score else -ranks(accuracy), accuracy, tested=omnibus is not None)
    left_out += notes
    if matched.score is None:
        left_out.append(
            "The data sets have scores of different names or units, so only ranks are compared: Wilcoxon's test uses "
            "differences of ranks; means, gaps to the best and the performance profile are left out."
        )
    improved, reference, notes = _improvements(matched, variants)
    return Across(
        left_out=(*left_out, *notes),
        datasets=matched.datasets,
        variants=variants,
        n_blocks=len(matched.cells),
        reference=reference,
        accuracy=accuracy,
        score=matched.score,
        friedman=omnibus,
        critical_difference=difference,
        cliques=groups,
        pairs=pairs,
        improvement=improved,
    )


def _shared(found: Sequence[Sequence[str]], datasets: Sequence[str]) -> list[str]:
    """Say which data sets are not independent, as ranks and tests take them to be."""
    notes = []
    for names in found:
        those = [name for name in datasets if name in names]
        if len(those) > 1:
            notes.append(
                f"{shortened(those)} share test examples: ranks and tests over data sets treat them as independent, "
                "and so claim more certainty than they should."
            )
    return notes


def _average_ranks(accuracy: Values) -> Values:
    return ranks(accuracy).mean(axis=0) if accuracy.size else np.empty(0)


def score_difference(accuracy: Values, first: int, second: int) -> Values:
    """Return the differences of two arms, with what the order of a sum leaves behind taken off."""
    found: Values = np.round(accuracy[:, first] - accuracy[:, second], 12)
    return found


def _mean_ranks(accuracy: Values) -> tuple[Friedman | None, float, tuple[tuple[int, ...], ...], list[str]]:
    """Return Friedman's test, Nemenyi's critical difference, the cliques, and what was left out."""
    n, k = accuracy.shape
    needs = []
    if k < LEAST_ARMS:
        needs.append(f"{LEAST_ARMS} variants with a result in every block, and there are {k}")
    if n < LEAST_DATASETS:
        needs.append(f"{LEAST_DATASETS} data sets, and there are {n}")
    if needs:
        return None, math.nan, (), [f"Friedman's and Nemenyi's tests are left out: they need {'; '.join(needs)}."]
    omnibus, difference = friedman(accuracy), critical_difference(k, n)
    notes = []
    if difference > k - 1:
        notes.append(
            f"Nemenyi's test cannot separate any two of {k} variants with {n} data sets: its critical difference of "
            f"{difference:.2f} is larger than any possible difference of average ranks."
        )
    # Nemenyi's test is for after Friedman's has said that there is something to find.
    groups = cliques(_average_ranks(accuracy), difference) if omnibus.rejects else (tuple(range(k)),)
    return omnibus, difference, groups, notes


def _pairs(weighed: Values, accuracy: Values, *, tested: bool) -> tuple[tuple[Pair, ...], list[str]]:
    """Return every two arms with their tests, Nemenyi's only where `tested`; and what was left out.

    `weighed` is what Wilcoxon's test takes differences of: the scores, or their ranks where they are unlike.
    """
    n, k = accuracy.shape
    if k > MOST_ARMS:
        return (), [f"Pairs are left out: {k} variants make {k * (k - 1) // 2:,} of them, too many to test."]
    both = list(itertools.combinations(range(k), 2))
    p = nemenyi(_average_ranks(accuracy), n) if tested else None
    of_nemenyi = [None if p is None else float(p[pair]) for pair in both]
    if smallest_p(n, 1) >= ALPHA:
        pairs = tuple(Pair(*pair, p_nemenyi=found) for pair, found in zip(both, of_nemenyi, strict=True))
        return pairs, [
            f"Wilcoxon's test of pairs is left out: with {n} data sets its p is never below "
            f"2/2{_superscript(n)} = {smallest_p(n, 1):.3g}."
        ]
    signed = [wilcoxon(score_difference(weighed, *pair)) for pair in both]
    corrected, _ = holm([found.p for found in signed])
    pairs = tuple(
        Pair(*pair, p_nemenyi=p_nemenyi, signed_rank=found, p_holm=p_holm)
        for pair, p_nemenyi, found, p_holm in zip(both, of_nemenyi, signed, corrected, strict=True)
    )
    least = smallest_p(n, len(both))
    if least < ALPHA:
        return pairs, []
    return pairs, [
        f"Wilcoxon's test with Holm's correction cannot find any difference between two variants: with {n} data sets "
        f"and {len(both)} pairs its smallest possible p is {least:.3g}."
    ]


def _improvements(matched: Matched, variants: Sequence[str]) -> tuple[dict[str, Improvement], str, list[str]]:
    """Return the probability of improvement of each arm that has one, over which reference, and what was left out."""
    found: dict[str, Improvement] = {}
    without, narrow, references = [], [], set()
    for name in variants:
        arms = [(dataset, arms_of[name]) for dataset, arms_of in matched.cells]
        references |= {arm.reference.variant for _, arm in arms if arm.reference is not None}
        if all(arm.is_reference for _, arm in arms):
            continue
        cells: dict[str, list[tuple[dict[int, float], dict[int, float]]]] = defaultdict(list)
        for dataset, arm in arms:
            if arm.reference is not None and not arm.is_reference:
                cells[dataset].append((runs(arm), runs(arm.reference)))
        whole = sum(map(len, cells.values())) == len(arms)
        one = improvement(list(cells.values())) if whole else Improvement(math.nan)
        if math.isnan(one.probability):
            without.append(name)
            continue
        found[name] = one
        if math.isnan(one.low):
            narrow.append(name)
    notes = []
    if without:
        notes.append(
            f"The probability of improvement is left out for {shortened(without)}: it needs in every block a "
            "reference, and two runs of unequal seeds."
        )
    if narrow:
        notes.append(
            f"The probability of improvement has no interval for {shortened(narrow)}: that needs {LEAST_SEEDS} seeds "
            "of the variant and of its reference in every block."
        )
    return found, "; ".join(sorted(references)), notes


def _superscript(value: int) -> str:
    return str(value).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
