"""Each arm of a block beside its reference: the paired difference, the verdict, and what is unequal between the two."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from poolbench.declared import Declared
from poolbench.record import ENDED
from poolbench.report.reading.arms import Arm, Block, differing, first, listed, recipe, section
from poolbench.report.reading.margins import margin_beside
from poolbench.report.reading.outcomes import OutcomeFiles, Scores, UnknownOutcomesError
from poolbench.report.reading.scores import gain, of_arm
from poolbench.report.statistics.declared_looks import Followed, Looked, look
from poolbench.report.statistics.estimates import Values, equal_but_for_rounding
from poolbench.report.statistics.failures import Failures, failure_words
from poolbench.report.statistics.paired import Differences, Groups, Paired, paired
from poolbench.report.statistics.prospects import Prospect, prospect
from poolbench.report.statistics.verdicts import (
    ALPHA,
    BETTER,
    FAILS,
    IDENTICAL,
    NONE,
    REFERENCE,
    TIE,
    TOO_FEW,
    UNDECIDED,
    Decision,
    decide,
)

SEEDS, SEEDS_AND_IMAGES = "seeds", "seeds and images"
EQUAL, OWN = "equal", "own"
# What the audit holds of a site's window, with `ceil_mode`.
WINDOW = ("kernel_size", "stride", "padding")
# More differing settings than this are only counted.
MOST_SETTINGS = 2


@dataclass(frozen=True)
class Compared:
    """One arm beside another.

    Args:
        verdict: one of `poolbench.report.statistics.verdicts`, or `reference`, `identical`, or empty.
        found: the paired difference; None where there is nothing to compare.
        decision: what Holm's procedure says; None likewise.
        margin: of a tie, in the unit of the score.
        flags: what is unequal between the two.
        unknown: why the images' outcomes do not count; empty where they do.
        prospect: of an undecided arm, what a fresh run would bring; None where that is not known.
        of_finished: where more cells failed than the reference's, what those that finished would be called.
        looked: where looks were declared, which one the verdict is of; None elsewhere.
        sign: 1 where a higher score is better. Differences are turned so that above 0 is better; −1: turn them back.
    """

    verdict: str
    found: Paired | None = None
    decision: Decision | None = None
    margin: float = math.nan
    flags: tuple[str, ...] = ()
    unknown: str = ""
    prospect: Prospect | None = None
    of_finished: str = ""
    looked: Looked | None = None
    sign: int = 1

    @property
    def noise(self) -> str:
        """What the interval counts as noise; empty where there is none, as for one seed."""
        if self.found is None or self.found.n < 2:
            return ""
        return SEEDS if self.found.images is None else SEEDS_AND_IMAGES

    @property
    def waits_for(self) -> int | None:
        """How many seeds the next declared look needs; None: there is none to wait for."""
        return None if self.looked is None else self.looked.waits_for

    def but(self, **changes: Any) -> "Compared":
        """Return the same with some fields changed."""
        return replace(self, **changes)


def compare_blocks(
    blocks: Sequence[Block], outcomes: OutcomeFiles, declared: Declared | None = None
) -> dict[str, Compared]:
    """Return for each arm, by its digest, how it compares with its reference; a block's arms are one family.

    Args:
        blocks: with their arms.
        outcomes: of the test images.
        declared: the looks by which arms are judged; None: by all seeds at once.
    """
    return {arm_id: one for block in blocks for arm_id, one in _of_block(block, outcomes, declared).items()}


def _of_block(block: Block, outcomes: OutcomeFiles, declared: Declared | None) -> dict[str, Compared]:
    pairs = []
    result = {}
    for arm in block.arms:
        if arm.is_reference:
            result[arm.arm_id] = Compared(REFERENCE)
        elif arm.reference is None or not arm.finished:
            result[arm.arm_id] = Compared(NONE)
        elif arm.reference.variant in arm.identical:
            result[arm.arm_id] = Compared(IDENTICAL, flags=unequal(arm, arm.reference))
        else:
            pairs.append((arm, arm.reference))
    records = [record for arm in block.arms for record in arm.records.values()]
    margins = [margin_beside(records, other.finished.values()) for _, other in pairs]
    if declared is not None:
        return result | _at_looks(pairs, outcomes, declared, margins)
    return result | compare_pairs(pairs, outcomes, outcomes, margins)


def compare_pairs(
    pairs: Sequence[tuple[Arm, Arm]], outcomes: OutcomeFiles, others: OutcomeFiles, margins: Sequence[float]
) -> dict[str, Compared]:
    """Return for the first of each pair, by its digest, how it compares with the second; the pairs are one family.

    Args:
        pairs: an arm and what it is compared with.
        outcomes: of the first arms' folder.
        others: of the second arms' folder.
        margins: of a tie, in the unit of the score, one a pair.
    """
    found = [by_seed(arm, other, outcomes, others) for arm, other in pairs]
    measured = [paired(one.differences, one.by_image, groups=one.groups, binary=one.binary) for one in found]
    return {
        arm.arm_id: judged(one, decision, margin, Failures.of([arm]), Failures.of([other])).but(
            flags=unequal(arm, other), unknown=seeds.unknown, sign=of_arm(arm)[1].sign
        )
        for (arm, other), seeds, one, decision, margin in zip(
            pairs, found, measured, decide(measured, margin=margins), margins, strict=True
        )
    }


def _at_looks(
    pairs: Sequence[tuple[Arm, Arm]], outcomes: OutcomeFiles, declared: Declared, margins: Sequence[float]
) -> dict[str, Compared]:
    """Return the same by looks that were declared: each arm by the first seeds of the last look that it had."""
    found = [by_seed(arm, other, outcomes, outcomes) for arm, other in pairs]
    family = [followed(one, arm, other) for one, (arm, other) in zip(found, pairs, strict=True)]
    looked = look(family, declared.order, margin=margins, looks=declared.looks)
    result = {}
    for (arm, other), seeds, follow, one, margin in zip(pairs, found, family, looked, margins, strict=True):
        own, its = (of_look(side, one, declared) for side in (arm, other))
        result[arm.arm_id] = judged_at(follow.paired(seeds.seeds), one, margin, Failures.of([own]), Failures.of([its]))
        result[arm.arm_id] = result[arm.arm_id].but(
            flags=unequal(own, its), unknown=seeds.unknown, sign=of_arm(arm)[1].sign
        )
    return result


def of_look(arm: Arm, looked: Looked, declared: Declared) -> Arm:
    """Return the arm with the cells of the last look that it had alone; with all where it had none."""
    first = declared.order[: looked.seeds]
    return arm.with_seeds(first) if first else arm


def judged_at(every: Paired, looked: Looked, margin: float, own: Failures, other: Failures) -> Compared:
    """Return what is said of an arm by the last look that it had; `every`: its difference over all seeds."""
    if looked.found is None or looked.decision is None:
        (decision,) = decide([every], margin=margin, further=False)
        verdict = decision.verdict if decision.verdict == TOO_FEW else UNDECIDED
        return Compared(verdict, every, Decision(verdict), margin, looked=looked)
    return judged(looked.found, looked.decision, margin, own, other).but(looked=looked, prospect=None)


def followed(found: "BySeed", arm: Arm, other: Arm) -> Followed:
    """Return an arm beside its reference as it is followed from look to look."""
    ended = frozenset(
        seed
        for seed, record in arm.records.items()
        if record["status"] in ENDED and seed in other.records and other.records[seed]["status"] in ENDED
    )
    return Followed(found.seeds, found.differences, found.by_image, found.groups, ended)


def judged(found: Paired, decision: Decision, margin: float, own: Failures, other: Failures) -> Compared:
    """Return what is said of an arm: its decision, unless more of its cells failed than of its reference's."""
    verdict, of_finished = decision.verdict, ""
    if verdict in (BETTER, TIE) and own.more_often_than(other):
        verdict, of_finished = FAILS, verdict
    ahead = None
    if verdict == UNDECIDED and not math.isnan(decision.level):
        ahead = prospect(found, level=decision.level, margin=margin, alpha=ALPHA)
    return Compared(verdict, found, decision, margin, prospect=ahead, of_finished=of_finished)


@dataclass(frozen=True, eq=False)
class BySeed:
    """The differences between two arms, seed by seed.

    Args:
        seeds: that both arms finished.
        differences: of their scores, (S,), above 0 where the arm is better.
        size: of the largest of these scores, by which rounding goes.
        by_image: 1, 0 or −1 for each seed and test image, (S, N), or the difference of their scores; None: not known.
        target: a digest of the examples' targets.
        groups: the images' groups, (N,); None: there are none.
        unknown: why the images' outcomes do not count; empty where they do.
    """

    seeds: tuple[int, ...]
    differences: Values
    size: float
    by_image: Differences | None = None
    target: bytes = b""
    groups: Groups | None = None
    unknown: str = ""

    @property
    def binary(self) -> bool:
        """Whether an example's score is 0 or 1."""
        return self.by_image is None or self.by_image.dtype != np.float64

    def of(self, seeds: Collection[int]) -> "BySeed":
        """Return the same of some seeds alone."""
        rows = [at for at, seed in enumerate(self.seeds) if seed in seeds]
        by_image = None if self.by_image is None else self.by_image[rows]
        kept = tuple(self.seeds[at] for at in rows)
        return replace(self, seeds=kept, differences=self.differences[rows], by_image=by_image)


def by_seed(arm: Arm, other: Arm, outcomes: OutcomeFiles, others: OutcomeFiles) -> BySeed:
    """Return the differences over the seeds that both have, and why the images' outcomes do not count."""
    pairs = [(arm.finished[seed], other.finished[seed]) for seed in arm.finished if seed in other.finished]
    both = [
        (own, its, own_gain - its_gain)
        for own, its in pairs
        if math.isfinite(own_gain := gain(own)) and math.isfinite(its_gain := gain(its))
    ]
    seeds = tuple(int(own["seed"]) for own, *_ in both)
    size = max((abs(gain(record)) for *sides, _ in both for record in sides), default=0.0)
    differences = equal_but_for_rounding(np.array([difference for *_, difference in both], dtype=float), size)
    if len(both) < 2:
        return BySeed(seeds, differences, size)
    rows, images, groups = [], set(), None
    for own, its, _ in both:
        sides = []
        for record, files, name in ((own, outcomes, arm.variant), (its, others, other.variant)):
            try:
                sides.append(files.of(record))
            except UnknownOutcomesError as error:
                return BySeed(seeds, differences, size, unknown=f"{name}, seed {record['seed']}: {error}")
        images |= {(side.target, section(r, "data").get("sha256")) for side, r in zip(sides, (own, its), strict=True)}
        if len(images) > 1:
            unknown = f"cells of {arm.variant} and {other.variant} were not tested on the same examples"
            return BySeed(seeds, differences, size, unknown=unknown)
        rows.append(_beside(sides[0].score, sides[1].score, of_arm(arm)[1].sign))
        groups = sides[0].groups
    by_image: Any = np.stack(rows)
    if unknown := _too_few(by_image.shape[1], groups):
        return BySeed(seeds, differences, size, unknown=unknown)
    return BySeed(seeds, differences, size, by_image, next(iter(images))[0], groups)


def _too_few(examples: int, groups: Groups | None) -> str:
    """Return why test examples do not say how much others would vary; empty where they do."""
    if examples < 2:
        return "there is one test example, so that nothing says how much others would vary"
    if groups is not None and (groups == groups[0]).all():
        return "all test examples are of one group, so that nothing says how much others would vary"
    return ""


def _beside(own: Scores, its: Scores, sign: int) -> Differences:
    """Return what each example's score is beside another's, above 0 where it is better."""
    if own.dtype == np.bool_ and its.dtype == np.bool_:
        return own.astype(np.int8) - its.astype(np.int8)
    found: Differences = sign * (own.astype(np.float64) - its.astype(np.float64))
    return found


def unequal(arm: Arm, other: Arm) -> tuple[str, ...]:
    """Return what beside the pooling is unequal between two arms, a few words each."""
    flags = []
    if (found := geometry(arm, other)) != EQUAL:
        flags.append(f"{found or 'unknown'} geometry")
    heads, sites = ([of(one) for one in (arm, other)] for of in (_notes_of_head, _notes_of_sites))
    for notes in (heads, sites):
        flags += [note for note in notes[0] if note not in notes[1]]
        flags += [f"{other.variant}: {note}" for note in notes[1] if note not in notes[0]]
    settings = differing([recipe(arm), recipe(other)])
    if settings:
        named = ", ".join(settings[:MOST_SETTINGS])
        more = len(settings) - MOST_SETTINGS
        flags.append(f"other recipe ({named}{f' and {more} more' if more > 0 else ''})")
    if failures := failure_words(Failures.of([arm]), Failures.of([other]), other.variant):
        flags.append(failures)
    unpaired = sorted(set(arm.finished) ^ set(other.finished))
    if unpaired:
        flags.append(f"unpaired seeds ({listed(unpaired)})")
    if _origins(arm, "revision") != _origins(other, "revision"):
        flags.append("other code revision")
    if True in _origins(arm, "dirty") | _origins(other, "dirty"):
        flags.append("uncommitted changes")
    return tuple(flags)


def _notes_of_head(arm: Arm) -> list[str]:
    """Return what there is to say of the head, as a list of one; empty where there is nothing."""
    note = (first(arm, "audit").get("head") or {}).get("note")
    return [str(note)] if note else []


def _notes_of_sites(arm: Arm) -> list[str]:
    """Return what operators have to say of themselves, each once."""
    return list(dict.fromkeys(str(site["note"]) for site in _sites(arm) if site.get("note")))


def _sites(arm: Arm) -> Sequence[Mapping[str, Any]]:
    return first(arm, "audit").get("sites") or []


def geometry(arm: Arm, other: Arm | None) -> str:
    """Return `equal` where every site has the other's kernel, stride, padding and ceil_mode, `own` where not, else
    empty: where an audit is not known.

    Of sites whose windows are not known, or that are not the same ones in both networks, it is compared whether any has
    another geometry than the network's own; so it is where there is no other arm.
    """
    sides = [one for one in (arm, other) if one is not None]
    if not all(first(one, "audit") for one in sides):
        return ""
    windows = [{str(site.get("name")): _window(site) for site in _sites(one)} for one in sides]
    if len(sides) > 1 and windows[0].keys() == windows[1].keys() and all(all(found.values()) for found in windows):
        return EQUAL if windows[0] == windows[1] else OWN
    any_own = [any(site.get("geometry") == OWN for site in _sites(one)) for one in sides]
    return OWN if any_own[0] != (len(sides) > 1 and any_own[1]) else EQUAL


def _window(site: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return kernel, stride, padding and ceil_mode of a site, equal for equal windows; None: not known."""
    if not all(key in site for key in WINDOW):
        return None
    sides = [site[key] if isinstance(site[key], list) else [site[key]] for key in WINDOW]
    # One number stands for all dimensions.
    return (*(tuple(side) if len(set(side)) > 1 else side[0] for side in sides), bool(site.get("ceil_mode")))


def _origins(arm: Arm, key: str) -> set[object]:
    return {section(record, "provenance").get(key) for record in arm.finished.values()}
