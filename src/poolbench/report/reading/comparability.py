"""What a reader must know before comparing: where arms of a block do not stand on equal ground.

Nothing here is an error. A sweep over learning rates is meant to differ in them; it must only not go unsaid.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from poolbench.report.reading.arms import ABSENT, Arm, Block, Record, differing, listed, number, recipe, section
from poolbench.report.reading.margins import margin_of, margins_of
from poolbench.report.reading.scores import of_arm
from poolbench.score import ACCURACY, CLASSIFICATION, task_of

METRICS = ("test_accuracy", "val_accuracy", "test_loss", "ece")
# With fewer, an interval that counts the test images as noise rests on too few of them.
LEAST_IMAGES = 30
# Groups of test images: docs/statistics.md has what intervals cover with 20 and with 10.
LEAST_GROUPS = 20
# Longer lists of values say no more in a warning.
MOST_NAMED = 4


@dataclass(frozen=True)
class NotCompared:
    """Cells of one arm that ended alike, and not well."""

    block: str
    variant: str
    seeds: tuple[int, ...]
    status: str
    reason: str

    def __str__(self) -> str:
        """Say it on one line, the reason by its first line."""
        seeds = f"seed{'s' * (len(self.seeds) > 1)} {listed(self.seeds)}"
        first = self.reason.strip().partition("\n")[0]
        return f"{self.block}, {self.variant}, {seeds}: {self.status}" + (f": {first}" if first else "")


def not_compared(blocks: Sequence[Block]) -> list[NotCompared]:
    """Return every cell that did not finish, those of one arm with one reason together."""
    found = []
    for block in blocks:
        for arm in block.arms:
            alike: dict[tuple[str, str], list[int]] = defaultdict(list)
            for seed, record in arm.records.items():
                if record["status"] != "ok":
                    alike[record["status"], str(record["reason"] or "")].append(seed)
            found += [
                NotCompared(block.title, arm.variant, tuple(seeds), status, reason)
                for (status, reason), seeds in alike.items()
            ]
    return found


def warnings(blocks: Sequence[Block], order: Sequence[int] = ()) -> list[str]:
    """Return what the reader must know, a sentence each; what holds for several blocks is said once.

    Args:
        blocks: with their arms.
        order: seeds in the order that was declared for looks; an arm that was decided needs none of the later ones.
    """
    said: dict[str, list[str]] = defaultdict(list)
    for block in blocks:
        compared = [arm for arm in block.arms if arm.finished]
        if not compared:
            continue
        for sentence in (
            *_recipes(compared),
            *_origins(compared),
            *_geometry_unknown(compared),
            *_seeds(compared, order),
            *_undefined(compared),
            *_costs(compared),
            *_few_images(compared),
            *_margins(block.arms),
        ):
            said[sentence].append(block.title)
    everywhere = sum(any(arm.finished for arm in block.arms) for block in blocks)
    return [_located(sentence, titles, everywhere) for sentence, titles in said.items()]


def _located(sentence: str, titles: Sequence[str], everywhere: int) -> str:
    if len(titles) == everywhere and everywhere > 1:
        return f"all blocks: {sentence}"
    return f"{shortened(titles)}: {sentence}"


def shortened(names: Sequence[str], most: int = MOST_NAMED, between: str = ", ") -> str:
    """Return the first of the names in a list, and how many more there are.

    >>> shortened(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    more = len(names) - most
    return between.join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _records(arms: Sequence[Arm]) -> list[Record]:
    return [record for arm in arms for record in arm.finished.values()]


def _recipes(arms: Sequence[Arm]) -> list[str]:
    """Say which settings of protocol, trainer and device differ, and which arm differs in them from its reference."""
    sentences = []
    recipes = [recipe(arm) for arm in arms]
    for key in differing(recipes):
        values: dict[str, list[str]] = defaultdict(list)
        for arm, own in zip(arms, recipes, strict=True):
            values[own.get(key, ABSENT)].append(arm.variant)
        shown = [f"{value} ({len(found)} arm{'s' * (len(found) > 1)})" for value, found in sorted(values.items())]
        sentences.append(f"arms differ in {key}: {shortened(shown)}")
    strangers = [arm for arm in arms if arm.reference and differing([recipe(arm), recipe(arm.reference)])]
    if strangers:
        sentences.append(
            f"compared with a reference of another recipe: {shortened([arm.variant for arm in strangers])}; "
            "the difference is not due to the pooling alone"
        )
    return sentences


def _origins(arms: Sequence[Arm]) -> list[str]:
    """Say whether the records come from one code, one set of libraries and one machine."""
    sentences = []
    records = _records(arms)
    subjects: tuple[tuple[str, Callable[[Record], str]], ...] = (
        ("poolbench versions", lambda record: _said(record, "poolbench")),
        ("code revisions", lambda record: _said(record, "revision")[:12]),
        ("Python versions", lambda record: _said(record, "python")),
        ("torch versions", lambda record: str(section(section(record, "provenance"), "versions").get("torch"))),
        ("machines", lambda record: _said(record, "machine")),
        ("devices", lambda record: _said(record, "device_name")),
        ("numbers of threads", lambda record: _said(record, "threads")),
    )
    for subject, of in subjects:
        found = sorted({of(record) for record in records})
        if len(found) > 1:
            sentences.append(f"records of different {subject}: {shortened(found)}")
    parted = sum(bool(section(record, "provenance").get("places")) for record in records)
    if parted:
        sentences.append(
            f"{parted} of {len(records)} records were trained in parts, with different numbers of threads or on "
            "different machines"
        )
    dirty = sum(section(record, "provenance").get("dirty") is True for record in records)
    if dirty:
        sentences.append(
            "all records were made from a tree with uncommitted changes"
            if dirty == len(records)
            else f"{dirty} of {len(records)} records were made from a tree with uncommitted changes"
        )
    return sentences


def _said(record: Record, key: str) -> str:
    value = section(record, "provenance").get(key)
    return "unknown" if value is None else str(value)


def _geometry_unknown(arms: Sequence[Arm]) -> list[str]:
    unknown = [arm.variant for arm in arms if not any(section(r, "audit") for r in arm.finished.values())]
    return [f"no audit of the network, geometry unknown: {shortened(unknown)}"] if unknown else []


def _seeds(arms: Sequence[Arm], order: Sequence[int]) -> list[str]:
    """Say which arms lack seeds that others of the block have, or share none with their reference."""
    sentences = []
    every = {seed for arm in arms for seed in arm.finished}
    lacking = [(arm, every - set(arm.finished) - _after_its_last(arm, order)) for arm in arms]
    short = [f"{arm.variant} lacks {listed(sorted(seeds))}" for arm, seeds in lacking if seeds]
    if short:
        sentences.append(f"arms have different seeds: {shortened(short)}")
    apart = [arm.variant for arm in arms if arm.reference and not set(arm.finished) & set(arm.reference.finished)]
    if apart:
        sentences.append(f"no seed in common with the reference: {shortened(apart)}")
    return sentences


def _after_its_last(arm: Arm, order: Sequence[int]) -> set[int]:
    """Return the declared seeds after the last one of an arm: it was decided before them."""
    had = [place for place, seed in enumerate(order, start=1) if seed in arm.records]
    return set(order[max(had, default=0) :])


def _undefined(arms: Sequence[Arm]) -> list[str]:
    """Say which metrics are undefined in finished records, and so left out."""
    sentences = []
    for metric in _expected(arms):
        short = []
        for arm in arms:
            records = arm.finished.values()
            absent = sum(math.isnan(number(record["metrics"].get(metric))) for record in records)
            if absent:
                short.append(f"{arm.variant} ({absent} of {len(records)} records)")
        if short:
            sentences.append(f"{metric} is undefined and left out: {shortened(short)}")
    return sentences


def _expected(arms: Sequence[Arm]) -> tuple[str, ...]:
    """Return the metrics that every finished record of a block has."""
    task, score = of_arm(arms[0]) if arms else (CLASSIFICATION, ACCURACY)
    return METRICS if task == CLASSIFICATION else (f"test_{score.name}", f"val_{score.name}", "test_loss")


def _costs(arms: Sequence[Arm]) -> list[str]:
    """Say where records of one arm disagree about what the network costs: they should not."""
    unequal = [
        arm.variant
        for arm in arms
        if len({tuple(sorted(section(record, "cost").items())) for record in arm.finished.values()}) > 1
    ]
    return [f"records of one arm disagree about its cost, the first counts: {shortened(unequal)}"] if unequal else []


def _few_images(arms: Sequence[Arm]) -> list[str]:
    known = [number(section(record, "data").get("test_images")) for record in _records(arms)]
    least = min((images for images in known if images >= 1), default=LEAST_IMAGES)
    if least >= LEAST_IMAGES:
        return []
    return [
        f"only {least:.0f} test example{'s' * (least != 1)}: intervals and verdicts are not reliable with fewer "
        f"than {LEAST_IMAGES}"
    ]


def _margins(arms: Sequence[Arm]) -> list[str]:
    """Say where records were made with different margins of a tie, and which one counts."""
    records = [record for arm in arms for record in arm.records.values()]
    found = margins_of(records)
    if len(found) < 2:
        return []
    unit = "per cent" if task_of(records[0])[1].margin_is_relative else "points"
    shown = [f"{margin * 100:g} {unit} ({n} record{'s' * (n != 1)})" for margin, n in sorted(found.items())]
    silent = sum(not number(record.get("margin")) >= 0 for record in records)
    return [
        f"records name different margins of a tie: {shortened(shown)}"
        + (f", {silent} of them none" if silent else "")
        + f"; the smallest, {margin_of(records) * 100:g} {unit}, counts"
    ]
