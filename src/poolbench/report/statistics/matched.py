"""From blocks to a matrix with a row for each data set and a column for each variant."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from poolbench.report.reading.arms import Arm, Block
from poolbench.report.reading.comparability import shortened
from poolbench.report.reading.scores import gain, of_block
from poolbench.report.statistics.estimates import Values
from poolbench.score import ACCURACY, Score


@dataclass(frozen=True, eq=False)
class Matched:
    """The variants that every block has, and their results.

    Args:
        left_out: which blocks and variants are not in it, a sentence each.
        datasets: the rows, by name.
        variants: the columns, by name.
        accuracy: mean over backbones of the mean over seeds, of scores turned so that more is better; empty where there
            is nothing to compare.
        cells: each block's data set and its arms by variant.
        score: that all blocks are judged by; None where they differ in name or unit.
    """

    left_out: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    accuracy: Values = field(default_factory=lambda: np.empty((0, 0)))
    cells: tuple[tuple[str, Mapping[str, Arm]], ...] = ()
    score: Score | None = ACCURACY


def match(blocks: Sequence[Block]) -> Matched:
    """Return the variants with a result in every block, over at least two data sets; the order does not matter.

    A block without any result is left out; after that, so is a variant that lacks a result in any block, as its mean
    would be over other backbones, or other data sets, than the others'.
    """
    ordered = sorted(blocks, key=lambda block: (block.dataset, block.backbone, block.block_id))
    found = [(block, {arm.variant: arm for arm in block.arms if runs(arm)}) for block in ordered]
    left_out = [
        f"Over data sets {block.title} is left out: no cell of it has a test score."
        for block, arms in found
        if not arms
    ]
    found = [(block, arms) for block, arms in found if arms]
    datasets = tuple(dict.fromkeys(block.dataset for block, _ in found))
    if len({block.dataset for block in blocks}) == 1:
        # A single data set was asked for: there is nothing to leave out.
        return Matched(())
    if len(datasets) < 2:
        there = f"is one, {datasets[0]}" if datasets else "is none with a result"
        return Matched((*left_out, f"Nothing is compared over data sets: there {there}."))
    variants, notes = _complete(found)
    left_out += notes
    if len(variants) < 2:
        held = f"one variant, {variants[0]}, has" if variants else "no variant has"
        return Matched((*left_out, f"Nothing is compared over data sets: {held} a result in every block."))
    means: dict[str, list[list[float]]] = {dataset: [] for dataset in datasets}
    for block, arms in found:
        means[block.dataset].append([float(np.mean(list(runs(arms[name]).values()))) for name in variants])
    return Matched(
        left_out=tuple(left_out),
        datasets=datasets,
        variants=tuple(variants),
        accuracy=np.array([np.mean(of_backbones, axis=0) for of_backbones in means.values()]),
        cells=tuple((block.dataset, arms) for block, arms in found),
        score=_shared([of_block(block)[1] for block, _ in found]),
    )


def _shared(scores: Sequence[Score]) -> Score | None:
    return scores[0] if len({(score.name, score.unit) for score in scores}) == 1 else None


def runs(arm: Arm) -> dict[int, float]:
    """Return the test scores that an arm has, by seed, turned so that more is better."""
    found = {seed: gain(record) for seed, record in arm.finished.items()}
    return {seed: found[seed] for seed in sorted(found) if not math.isnan(found[seed])}


def _complete(found: Sequence[tuple[Block, Mapping[str, Arm]]]) -> tuple[list[str], list[str]]:
    """Return the variants with a result in every block by name, and a sentence about the others."""
    every = sorted({arm.variant for block, _ in found for arm in block.arms})
    absent = {name: tuple(block.title for block, arms in found if name not in arms) for name in every}
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, titles in absent.items():
        if titles:
            alike[titles].append(name)
    notes = [
        f"Over data sets {shortened(names)} {'is' if len(names) == 1 else 'are'} left out: "
        f"no result for {shortened(titles)}."
        for titles, names in alike.items()
    ]
    return [name for name in every if not absent[name]], notes
