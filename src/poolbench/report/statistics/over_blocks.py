"""An arm's difference averaged over its blocks: for the mean of these blocks, not for others.

With few seeds no arm is found better in every block by itself. The mean over the blocks has a difference for each
seed, of which the blocks' differences are averaged first: S values, Student's t with S − 1 degrees of freedom,
whatever the blocks' own spreads and however they vary together. Degrees of freedom of Welch's kind, and variances
drawn together, find more with few seeds and called up to 10 % of equal arms different where blocks were uneven.

Blocks whose test images have equal true classes in equal order are carried over image by image: what is hard for an arm
in one of them may be so in the other (docs/statistics.md).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from poolbench.declared import Declared
from poolbench.report.reading.arms import Arm, Block, listed
from poolbench.report.reading.margins import margin_of
from poolbench.report.reading.outcomes import OutcomeFiles
from poolbench.report.reading.scores import mean_of, of_arm, of_block
from poolbench.report.statistics.comparison import BySeed, Compared, by_seed, followed, judged, judged_at, of_look
from poolbench.report.statistics.declared_looks import Looked, look
from poolbench.report.statistics.estimates import equal_but_for_rounding
from poolbench.report.statistics.failures import Failures, failure_words
from poolbench.report.statistics.paired import Groups, OnImages, Paired, over_sets
from poolbench.report.statistics.verdicts import BETTER, IDENTICAL, MIXED, WORSE, decide
from poolbench.score import ACCURACY, Score

LEAST_BLOCKS = 2


@dataclass(frozen=True)
class InBlock:
    """What one block says of an arm: the block's name, the verdict, the mean difference of the scores."""

    block: str
    verdict: str
    difference: float


@dataclass(frozen=True)
class OverBlocks:
    """One arm over its blocks.

    Args:
        variant: its name.
        reference: the variant that it is compared with; several are joined by `; `.
        compared: the difference over the blocks, and what is said of it.
        blocks: what each block says.
        seeds: that all of its blocks have.
        score: that these blocks are judged by.
    """

    variant: str
    reference: str
    compared: Compared
    blocks: tuple[InBlock, ...]
    seeds: tuple[int, ...]
    score: Score = ACCURACY


@dataclass(frozen=True)
class _Member:
    """An arm in one block, its reference, and the difference between them."""

    block: Block
    arm: Arm
    reference: Arm
    found: BySeed


def over_blocks(
    blocks: Sequence[Block],
    compared: Mapping[str, Compared],
    outcomes: OutcomeFiles,
    *,
    share_images: bool = True,
    declared: Declared | None = None,
) -> tuple[OverBlocks, ...]:
    """Return what holds for the mean over the blocks, an arm each; nothing where there are not two blocks to average.

    An arm's blocks are those in which it and its reference share a seed; arms are matched by their name. Only blocks
    whose scores share name and unit are averaged: each such score has a family of arms of its own.

    Args:
        blocks: with their arms.
        compared: how each arm compares within its block, by its digest.
        outcomes: of the test images.
        share_images: whether images may be the same in several data sets; else they are taken as independent, to show
            what that changes.
        declared: the looks by which arms are judged, at seeds that all of their blocks have; None: by all seeds.
    """
    by_score: dict[tuple[str, str], list[Block]] = defaultdict(list)
    for block in blocks:
        score = of_block(block)[1]
        by_score[score.name, score.unit].append(block)
    return tuple(
        one
        for those in by_score.values()
        for one in _of_score(those, compared, outcomes, share_images=share_images, declared=declared)
    )


def _of_score(
    blocks: Sequence[Block],
    compared: Mapping[str, Compared],
    outcomes: OutcomeFiles,
    *,
    share_images: bool,
    declared: Declared | None,
) -> tuple[OverBlocks, ...]:
    score = of_block(blocks[0])[1]
    members: dict[str, list[_Member]] = defaultdict(list)
    for block in blocks:
        for arm in block.arms:
            if arm.reference is None or arm.is_reference:
                continue
            found = by_seed(arm, arm.reference, outcomes, outcomes)
            if found.seeds:
                members[arm.variant].append(_Member(block, arm, arm.reference, found))
    family = {name: own for name, own in sorted(members.items()) if len(own) >= LEAST_BLOCKS}
    least = margin_of([record for own in family.values() for one in own for record in one.arm.records.values()])
    margins = {name: _margin(own, least) for name, own in family.items()}
    measured = {name: _mean(own, share_images) for name, own in family.items()}
    alike = {name for name, own in family.items() if all(_verdict(one, compared) == IDENTICAL for one in own)}
    tested = [name for name in family if name not in alike]
    judge = _by_all_seeds if declared is None else partial(_at_looks, declared=declared, share_images=share_images)
    decided = judge({name: family[name] for name in tested}, {name: measured[name][0] for name in tested}, margins)
    most = max((len(own) for own in family.values()), default=0)
    result = []
    for name, own in family.items():
        _, seeds, unknown = measured[name]
        one = decided.get(name, Compared(IDENTICAL))
        inside = tuple(_in_block(member, compared) for member in own)
        if one.looked is not None and declared is not None:
            own = [_of_look(member, one.looked, declared) for member in own]
            seeds = tuple(sorted(set(seeds) & set(declared.order[: one.looked.seeds]))) if one.looked.seeds else seeds
        if {BETTER, WORSE} <= {each.verdict for each in inside}:
            one = one.but(verdict=MIXED, prospect=None)
        references = "; ".join(dict.fromkeys(member.reference.variant for member in own))
        one = one.but(flags=_flags(own, compared, seeds, most, references), unknown=unknown, sign=score.sign)
        result.append(OverBlocks(name, references, one, inside, seeds, score))
    return tuple(result)


def _margin(own: Sequence[_Member], least: float) -> float:
    """Return the margin of an arm's mean over its blocks: the smallest of all arms; of shares of references' means the
    mean over these.
    """
    if not of_arm(own[0].arm)[1].margin_is_relative:
        return least
    return least * float(np.mean([abs(mean_of(one.reference.finished.values())) for one in own]))


def _by_all_seeds(
    family: Mapping[str, Sequence[_Member]], measured: Mapping[str, Paired], margins: Mapping[str, float]
) -> dict[str, Compared]:
    """Return what is said of each arm by all seeds that its blocks have in common."""
    decisions = decide(list(measured.values()), margin=[margins[name] for name in measured])
    return {
        name: judged(measured[name], decision, margins[name], *_failures(family[name]))
        for name, decision in zip(measured, decisions, strict=True)
    }


def _at_looks(
    family: Mapping[str, Sequence[_Member]],
    measured: Mapping[str, Paired],
    margins: Mapping[str, float],
    *,
    declared: Declared,
    share_images: bool,
) -> dict[str, Compared]:
    """Return the same by looks that were declared: an arm had one where all of its blocks have its seeds."""
    followed_over = [_Followed(own, share_images) for own in family.values()]
    looked = look(followed_over, declared.order, margin=[margins[name] for name in family], looks=declared.looks)
    return {
        name: judged_at(
            measured[name], one, margins[name], *_failures([_of_look(member, one, declared) for member in family[name]])
        )
        for name, one in zip(family, looked, strict=True)
    }


@dataclass(frozen=True)
class _Followed:
    """An arm in its blocks, as it is followed from look to look."""

    own: Sequence[_Member]
    share_images: bool

    def reached(self, first: Sequence[int]) -> bool:
        return all(followed(one.found, one.arm, one.reference).reached(first) for one in self.own)

    def paired(self, first: Sequence[int]) -> Paired:
        return _mean(self.own, self.share_images, first)[0]


def _of_look(member: _Member, looked: Looked, declared: Declared) -> _Member:
    arm, reference = (of_look(side, looked, declared) for side in (member.arm, member.reference))
    return replace(member, arm=arm, reference=reference, found=member.found.of(arm.records))


def _failures(own: Sequence[_Member]) -> tuple[Failures, Failures]:
    return Failures.of([one.arm for one in own]), Failures.of([one.reference for one in own])


def _mean(
    own: Sequence[_Member], share_images: bool, among: Collection[int] | None = None
) -> tuple[Paired, tuple[int, ...], str]:
    """Return the difference over the blocks, the seeds that all of them have, and why images do not count.

    With `among`, of these seeds alone.
    """
    common = set.intersection(*(set(one.found.seeds) for one in own))
    seeds = tuple(sorted(common if among is None else common & set(among)))
    rows = [[one.found.seeds.index(seed) for seed in seeds] for one in own]
    differences = np.array([one.found.differences[at] for one, at in zip(own, rows, strict=True)])
    mean = differences.mean(axis=0) if seeds else np.empty(0)
    mean = equal_but_for_rounding(mean, max(one.found.size for one in own))
    unknown = next((one.found.unknown for one in own if one.found.unknown), "")
    if len(seeds) < 2 or any(one.found.by_image is None for one in own):
        return over_sets(mean, ()), seeds, unknown
    sums: dict[bytes, np.ndarray] = {}
    number: dict[bytes, int] = defaultdict(int)
    groups: dict[bytes, Groups | None] = {}
    for one, at in zip(own, rows, strict=True):
        assert one.found.by_image is not None
        d = one.found.by_image[at].astype(np.int16 if one.found.binary else np.float64)
        target = one.found.target if share_images else one.block.dataset.encode()
        sums[target] = sums[target] + d if target in sums else d
        number[target] += 1
        groups[target] = one.found.groups
    found = over_sets(mean, [OnImages(sums[t], number[t], groups[t]) for t in sums], binary=own[0].found.binary)
    return found, seeds, unknown


def _verdict(member: _Member, compared: Mapping[str, Compared]) -> str:
    return compared[member.arm.arm_id].verdict


def _in_block(member: _Member, compared: Mapping[str, Compared]) -> InBlock:
    one = compared[member.arm.arm_id]
    # Of the look's seeds, where the verdict is.
    difference = one.found.mean if one.looked is not None and one.found is not None else member.found.differences.mean()
    return InBlock(member.block.title, one.verdict, of_arm(member.arm)[1].sign * float(difference))


def _flags(
    own: Sequence[_Member], compared: Mapping[str, Compared], seeds: Sequence[int], most: int, references: str
) -> tuple[str, ...]:
    """Return what is unequal between the arm and its references, in every block or in some."""
    flags = []
    if len(own) < most:
        flags.append(f"only {len(own)} of {most} blocks")
    every = {seed for one in own for seed in one.found.seeds}
    if set(seeds) != every:
        flags.append(f"only the seeds of all blocks ({listed(sorted(seeds)) or 'none'})")
    failures = failure_words(*_failures(own), references)
    if failures:
        flags.append(failures)
    number: dict[str, int] = defaultdict(int)
    for one in own:
        inside = failure_words(Failures.of([one.arm]), Failures.of([one.reference]), one.reference.variant)
        for flag in compared[one.arm.arm_id].flags:
            if flag != inside:
                number[flag] += 1
    flags += [flag if n == len(own) else f"{flag} in {n} of {len(own)} blocks" for flag, n in number.items()]
    return tuple(flags)


def shared_images(blocks: Sequence[Block], outcomes: OutcomeFiles) -> tuple[tuple[str, ...], ...]:
    """Return the data sets, by name, that have test images in common: equal true classes in equal, unsorted order.

    Where classes stand one after the other, equal counts are enough to look alike, so such data sets are not named.
    """
    names: dict[bytes, dict[str, None]] = defaultdict(dict)
    for block in blocks:
        for arm in block.arms:
            record = next(iter(arm.finished.values()), None)
            found = outcomes.known.get(str(record["run_id"])) if record else None
            if found is not None and not isinstance(found, Exception) and not found.ordered:
                names[found.target][block.dataset] = None
    return tuple(tuple(found) for found in names.values() if len(found) > 1)
