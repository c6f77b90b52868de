"""Rounds of a sweep: with `until=decided` the seeds of the next look are added to the arms that are still undecided.

A round is a plan that is extended. The first one has the first look's seeds of all arms; after each the records are
read as the report reads them, and the undecided arms and their references get the seeds of their next look. The same
command again finds what is recorded, and goes on at the right look.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from poolbench.declared import LOOKS, Declared, seeds_in_order
from poolbench.errors import ConfigurationError
from poolbench.experiment import Experiment, read_experiment
from poolbench.record import RECORD_FILE
from poolbench.sweep.asked import Asked, SweepSettings
from poolbench.sweep.planning import Plan

if TYPE_CHECKING:
    from poolbench.report.statistics.comparison import Compared


@dataclass(frozen=True)
class Rounds:
    """What is asked of a sweep, round by round.

    Args:
        asked: by the command.
        folder: the experiment's.
        declared: the looks; None: all that is asked is one round.
    """

    asked: tuple[Asked, ...]
    folder: Path
    declared: Declared | None = None

    @classmethod
    def of(cls, asked: Sequence[Asked], settings: SweepSettings) -> "Rounds":
        """Return the rounds that the settings ask for.

        Raises:
            ConfigurationError: other looks were declared in the folder, or a block's reference is not among the arms.
        """
        if not settings.until:
            return cls(tuple(asked), settings.folder)
        declared = read_experiment(settings.folder).declared
        most = declared.looks[-1].seeds if declared else LOOKS[-1].seeds
        order = seeds_in_order([one.config["seed"] for one in asked], most)
        if declared is not None and declared.order != order:
            raise ConfigurationError(
                f"`until=decided`: {settings.folder} declares the seeds {list(declared.order)}, got {list(order)}; "
                "what was declared before the runs cannot be changed: give the same `seed`, or another `name`"
            )
        _require_references(asked, settings.cell.reference)
        before = sum(1 for _ in settings.folder.glob(f"records/*/{RECORD_FILE}"))
        return cls(tuple(asked), settings.folder, declared or Declared(order, cells_before=before))

    def experiment(self, asked: Experiment) -> Experiment:
        """Return what the experiment's file is to hold: what was declared stays declared, whatever is run later.

        A command that says nothing of the experiment leaves what the file says.
        """
        try:
            before = read_experiment(self.folder)
        except (ConfigurationError, OSError):  # no file of an experiment: it is written anew
            before = asked
        said = asked if asked.says_something else replace(before, name=asked.name)
        return replace(said, declared=self.declared or before.declared)

    def first(self) -> list[Asked]:
        """Return the cells of the first round: all of them, or those of the first look."""
        if self.declared is None:
            return list(self.asked)
        arms = {one.arm: one for one in self.asked}
        seeds = self.declared.order[: self.declared.looks[0].seeds]
        return [one.but({"seed": seed}) for one in arms.values() for seed in seeds]

    def further(self, plan: Plan) -> list[Asked]:
        """Return the cells that the plan is to be extended by, as its records are now; none where it is at its end."""
        if self.declared is None:
            return []
        wanted = seeds_wanted(self.folder, self.declared)
        planned = {(cell.identity.arm_id, cell.seed) for cell in plan.cells}
        arms = {cell.identity.arm_id: cell.asked for cell in plan.cells}
        return [
            one.but({"seed": seed})
            for arm_id, one in arms.items()
            for seed in self.declared.order[: wanted.get(arm_id, 0)]
            if (arm_id, seed) not in planned
        ]

    def said(self, plan: Plan) -> str:
        """Return in a line what the looks at the records have decided, and at the end what they saved."""
        assert self.declared is not None
        able = {cell.identity.arm_id for cell in plan.cells if not cell.unsupported}
        found, _ = _compared(self.folder, self.declared)
        verdicts = Counter(one.verdict for arm_id, one in found.items() if one.looked is not None and arm_id in able)
        counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
        text = f"until=decided: {counts or 'nothing to compare'}"
        waiting = Counter(after for arm_id in able & found.keys() if (after := found[arm_id].waits_for) is not None)
        if waiting:
            ahead = ", ".join(f"{arms} wait{'s' * (arms == 1)} for {n} seeds" for n, arms in sorted(waiting.items()))
            return f"{text}; {ahead}"
        every = len(able) * self.declared.looks[-1].seeds
        ran = sum(not cell.unsupported for cell in plan.cells)
        saved = 100 * (1 - ran / every) if every else 0.0
        return (
            f"{text}; {ran} cells in place of {every} with {self.declared.looks[-1].seeds} seeds: {saved:.0f} % saved"
        )


def seeds_wanted(folder: Path, declared: Declared) -> dict[str, int]:
    """Return how many of the first seeds each arm needs, by its digest: up to the look that it waits for, or has had.

    A reference needs as many as any of its arms.
    """
    compared, references = _compared(folder, declared)
    wanted: dict[str, int] = {}
    for arm_id, one in compared.items():
        if one.looked is None:
            continue
        for side in (arm_id, references[arm_id]):
            wanted[side] = max(wanted.get(side, 0), one.looked.waits_for or one.looked.seeds)
    return wanted


def _compared(folder: Path, declared: Declared) -> tuple[dict[str, "Compared"], dict[str, str]]:
    """Return how the arms compare, and the digest of each one's reference."""
    # Loads scipy, which a sweep without rounds does not need here.
    from poolbench.report.reading.arms import group
    from poolbench.report.reading.loading import load
    from poolbench.report.statistics.comparison import compare_blocks
    from poolbench.report.statistics.verdicts import REFERENCE

    try:
        loaded = load(folder)
    except ConfigurationError:  # no cell has left a record
        return {}, {}
    blocks, _ = group(loaded.records)
    references = {
        arm.arm_id: arm.reference.arm_id for block in blocks for arm in block.arms if arm.reference is not None
    }
    compared = compare_blocks(blocks, loaded.outcomes, declared)
    return {arm_id: one for arm_id, one in compared.items() if one.verdict != REFERENCE}, references


def _require_references(asked: Iterable[Asked], reference: str) -> None:
    """Raise where nothing can be decided: there is no arm but the reference, or a block lacks its reference."""
    blocks: dict[tuple[str, str], set[str]] = {}
    for one in asked:
        blocks.setdefault((one.labels["backbone"], one.labels["dataset"]), set()).add(one.labels["variant"])
    for (backbone, dataset), variants in blocks.items():
        if reference not in variants:
            raise ConfigurationError(
                f"`until=decided` adds seeds to the reference, too: {reference} must be among the poolings of "
                f"{backbone} on {dataset}, got {', '.join(sorted(variants))}"
            )
    if all(variants == {reference} for variants in blocks.values()):
        raise ConfigurationError(
            f"`until=decided` adds seeds until arms are decided: there must be another pooling beside {reference}, "
            f"got {reference} alone"
        )
