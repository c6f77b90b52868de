"""Looks that were declared beforehand: seeds are added in rounds, to the arms that are still undecided.

At each look Holm's procedure has a level of its own, and the levels add up to α. By the union bound any arm without a
difference is called better or worse with a probability of at most α, and each arm at the margin a tie, however one
stops and whatever one looks at in between. It costs power against one look with all seeds; seeds added one by one at
the full level cost the meaning of the verdict.

A look is recomputed from the first seeds in their order, so that the looks follow from the records. Which arms are
tested at a look depends on the data, so an arm that left as a tie still counts in Holm's number: only arms that were
called better or worse leave it. Until a first error is made these are arms that do differ, which Holm's procedure may
leave out.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from poolbench.declared import LOOKS, Declared, Look
from poolbench.report.reading.arms import listed
from poolbench.report.statistics.estimates import Values
from poolbench.report.statistics.paired import Differences, Groups, Paired, paired
from poolbench.report.statistics.verdicts import (
    ALPHA,
    BETTER,
    LEAST_SEEDS,
    TIE,
    UNDECIDED,
    WORSE,
    Decision,
    Margin,
    decide,
    margin_each,
)


def check(looks: Sequence[Look], alpha: float = ALPHA) -> None:
    """Raise `ValueError` where looks do not keep a level: seeds grow, levels be above 0 and add up to at most α."""
    seeds = [look.seeds for look in looks]
    if not looks or seeds[0] < LEAST_SEEDS or any(a >= b for a, b in itertools.pairwise(seeds)):
        raise ValueError(f"`looks` must have growing numbers of seeds from {LEAST_SEEDS} on, got {seeds}")
    levels = [look.alpha for look in looks]
    if min(levels) <= 0 or sum(levels) > alpha * (1 + 1e-9):
        raise ValueError(f"`looks` must have levels above 0 that add up to at most {alpha:g}, got {levels}")


class Arm(Protocol):
    """What is followed from look to look: one arm beside its reference."""

    def reached(self, first: Sequence[int]) -> bool:
        """Whether all cells of these seeds ended."""

    def paired(self, first: Sequence[int]) -> Paired:
        """Return the difference over those of these seeds that both finished."""


@dataclass(frozen=True, eq=False)
class Followed:
    """An arm beside its reference, as far as it was run.

    Args:
        seeds: that both finished, in any order.
        differences: of their scores, (S,), as `seeds`, above 0 where the arm is better.
        by_image: 1, 0 or −1 for each seed and image, (S, N), or the difference of their scores; None: not known.
        groups: the images' groups, (N,); None: there are none.
        ended: seeds of which both cells ended, finished or not, since a seed that failed is no reason to wait; None:
            those in `seeds`.
    """

    seeds: Sequence[int]
    differences: Values
    by_image: Differences | None = None
    groups: Groups | None = None
    ended: frozenset[int] | None = None

    def reached(self, first: Sequence[int]) -> bool:
        """Whether all cells of these seeds ended."""
        return set(first) <= (frozenset(self.seeds) if self.ended is None else self.ended)

    def paired(self, first: Sequence[int]) -> Paired:
        """Return the difference over those of these seeds that both finished."""
        place = {seed: at for at, seed in enumerate(self.seeds)}
        rows = [place[seed] for seed in first if seed in place]
        by_image = None if self.by_image is None else self.by_image[rows]
        hits = by_image is None or by_image.dtype != np.float64
        return paired(np.asarray(self.differences)[rows], by_image, groups=self.groups, binary=hits)


@dataclass(frozen=True)
class Looked:
    """What the looks say of one arm.

    Args:
        verdict: as in `poolbench.report.statistics.verdicts`.
        decision: of the last look that the arm had; None where it had none.
        seeds: of that look; 0: none.
        alpha: its level; 0: none.
        waits_for: how many seeds the next look needs; None: it is decided, or has had the last look.
        found: what the last look that the arm had was taken at; None where it had none.
    """

    verdict: str
    decision: Decision | None
    seeds: int
    alpha: float
    waits_for: int | None
    found: Paired | None = None


def look(family: Sequence[Arm], order: Sequence[int], *, margin: Margin, looks: Sequence[Look] = LOOKS) -> list[Looked]:
    """Return what was decided about each arm of a family, and at which look.

    Args:
        family: the arms of a block that are compared with a reference.
        order: the seeds in their declared order, as many as the last look needs.
        margin: of a tie, in the unit of the score; of all arms, or one an arm.
        looks: as declared before the runs.

    Raises:
        ValueError: the looks keep no level, or the order is too short.
    """
    check(looks)
    if len(set(order)) < looks[-1].seeds:
        raise ValueError(f"`order` must name the {looks[-1].seeds} seeds of the last look, got {listed(sorted(order))}")
    found = [Looked(UNDECIDED, None, 0, 0.0, looks[0].seeds) for _ in family]
    margins = margin_each(margin, len(family))
    for number, this in enumerate(looks):
        first = list(order[: this.seeds])
        after = looks[number + 1].seeds if number + 1 < len(looks) else None
        here = [
            index
            for index, (arm, one) in enumerate(zip(family, found, strict=True))
            if one.waits_for == this.seeds and arm.reached(first)
        ]
        # Ties, and arms that are behind, are tests that this look does not reject.
        beside = sum(one.verdict not in (BETTER, WORSE) for one in found) - len(here)
        measured = [family[index].paired(first) for index in here]
        own = [margins[index] for index in here]
        decisions = decide(measured, margin=own, alpha=this.alpha, beside=beside, further=False)
        for index, decision, one in zip(here, decisions, measured, strict=True):
            waits_for = None if decision.verdict in (BETTER, WORSE, TIE) else after
            found[index] = Looked(decision.verdict, decision, this.seeds, this.alpha, waits_for, one)
    return found


def rule(looks: Sequence[Look], seeds: int, cells_before: int = 0) -> str:
    """Return by which rule records of so many seeds are judged, where looks were declared.

    >>> rule(LOOKS, 5)
    'looks at 3, 5, 10 and 20 seeds with α = 0.005, 0.01, 0.015 and 0.02, declared before the runs'
    >>> rule(LOOKS, 25).partition("; ")[2]
    'the 5 seeds beyond the last look count in no verdict'
    >>> rule(LOOKS, 5, cells_before=12).partition("0.02, ")[2]
    'declared when 12 cells had been run'
    """
    numbers = [str(one.seeds) for one in looks]
    levels = [f"{one.alpha:g}" for one in looks]
    when = f"when {cells_before} cell{'s' * (cells_before != 1)} had been run" if cells_before else "before the runs"
    text = f"looks at {_and(numbers)} seeds with α = {_and(levels)}, declared {when}"
    beyond = seeds - looks[-1].seeds
    if beyond <= 0:
        return text
    return (
        f"{text}; the {beyond} seed{'s' * (beyond != 1)} beyond the last look count{'s' * (beyond == 1)} in no verdict"
    )


def said(declared: Declared, seeds: Iterable[int]) -> str:
    """Return the rule for records of these seeds, as a sentence of a report."""
    found = set(seeds)
    strange = len(found - set(declared.order))
    number = declared.looks[-1].seeds + strange if strange else len(found)
    text = rule(declared.looks, number, declared.cells_before)
    return f"Verdicts by {text}; each from the first seeds in their declared order, Holm's procedure at each look."


def _and(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
