"""`tune=N`: which cells try the arms at the points of the recipe, and which are the arms at their best ones.

Both are sweeps beside the one that is asked for, planned and taken up again like any other: the trials in `NAME/tune/`,
with a seed that no cell of the comparison has, and the tuned arms in `NAME/tuned/`. A trial is scored on validation.
Which cells these are stands in `NAME/tune/tune.json`, for the report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.record import read_records
from poolbench.report.reading.trials import TUNED, Trial, Trials, best_points, trial_records
from poolbench.sweep.asked import Asked
from poolbench.sweep.planning import Plan
from poolbench.tuning import Tune

# The trials' seed: none that anybody would compare with.
SEED = 1_000_000


@dataclass(frozen=True)
class Tried:
    """An arm at one point: the cell of the arm at the shared recipe, the trial, the point's place and its values."""

    shared: Asked
    asked: Asked
    point: int
    values: Mapping[str, Any]


def trials_of(tune: Tune, asked: Sequence[Asked]) -> list[Tried]:
    """Return the trials of the arms that are asked for.

    Raises:
        ConfigurationError: a setting of the space is not in an arm's configuration, or the trials' seed is taken.
    """
    if any(one.config["seed"] == SEED for one in asked):
        raise ConfigurationError(f"`seed`: {SEED} is that of the trials with `tune`, choose another")
    found = []
    for one in {one.arm: one for one in asked}.values():
        for number, point in enumerate(tune.points_of(one.config)):
            try:
                found.append(Tried(one, one.but({**point, "seed": SEED}), number, point))
            except KeyError as error:
                raise ConfigurationError(
                    f"`tune.space` names {error.args[0]}, which {one.labels['variant']} has not"
                ) from error
    return found


def written(tried: Sequence[Tried], plan: Plan, shared: Plan, before: Trials | None) -> Trials:
    """Return the trials as their file has them: each planned cell with its point, by the arm at the shared recipe.

    Arms that an earlier command tuned (`before`) and this one does not stay as they were, and so do the tuned arms of
    the same trials: they may have other seeds.
    """
    arms = {cell.asked.arm: cell.identity.arm_id for cell in shared.cells}
    runs: dict[str, Trial] = {}
    by_cell = {id(one.asked): one for one in tried}
    for cell in plan.cells:
        one = by_cell[id(cell.asked)]
        runs[cell.run_id] = Trial(arms[one.shared.arm], one.point, dict(one.values))
    if before is None:
        return Trials(SEED, runs)
    others = {run: trial for run, trial in before.runs.items() if trial.arm not in arms.values()}
    anew = {trial.arm for run, trial in runs.items() if run not in before.runs}
    return Trials(SEED, others | runs, {run: arm for run, arm in before.tuned.items() if arm not in anew})


def tuned(asked: Sequence[Asked], shared: Plan, trials: Trials, folder: Path) -> list[tuple[Asked, str]]:
    """Return the arms at their best points with the comparison's seeds, each with its arm at the shared recipe.

    An arm of which no trial has a score is left out.
    """
    arms = {cell.asked.arm: cell.identity.arm_id for cell in shared.cells}
    tried, _ = trial_records(folder, trials)
    best = best_points(tried)
    return [(one.but(best[arms[one.arm]].values), arms[one.arm]) for one in asked if arms[one.arm] in best]


def with_tuned(cells: Sequence[tuple[Asked, str]], plan: Plan, folder: Path) -> Trials:
    """Return the trials as their file has them now, with the runs of the tuned arms as they were planned.

    Runs of these arms with other seeds belong to them, if they are at the same points.
    """
    now = Trials.read(folder)
    assert now is not None
    arm_of = {one.arm: arm_id for one, arm_id in cells}
    runs = {cell.run_id: arm_of[cell.asked.arm] for cell in plan.cells}
    tuned_arms = {cell.identity.arm_id: arm_of[cell.asked.arm] for cell in plan.cells}
    records = [record for record in read_records(folder / TUNED)[0] if record["arm_id"] in tuned_arms]
    same = {str(record["run_id"]): tuned_arms[record["arm_id"]] for record in records}
    others = {run: arm for run, arm in now.tuned.items() if arm not in arm_of.values()}
    return Trials(now.seed, now.runs, {**others, **same, **runs})


def comparable(cells: Sequence[tuple[Asked, str]], reference: str) -> tuple[list[tuple[Asked, str]], dict[str, str]]:
    """Return the tuned cells of the blocks that hold their reference and another arm, and what the others lack."""
    variants: dict[tuple[str, str], set[str]] = {}
    for one, _ in cells:
        variants.setdefault(_block(one), set()).add(one.labels["variant"])
    lacking = {
        block: "another arm" if there == {reference} else "the reference"
        for block, there in variants.items()
        if reference not in there or there == {reference}
    }
    kept = [(one, arm) for one, arm in cells if _block(one) not in lacking]
    return kept, {" on ".join(block): lack for block, lack in lacking.items()}


def _block(one: Asked) -> tuple[str, str]:
    return one.labels["backbone"], one.labels["dataset"]
