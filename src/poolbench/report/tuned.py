"""Tuned arms beside the same arms at the shared recipe: what tuning brought, how much the recipe matters, what it cost.

The two answer different questions, and are never mixed: at the shared recipe, what a swap brings to a recipe that is
there; tuned, what each arm can do with the same effort.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from poolbench.errors import ConfigurationError
from poolbench.record import RECORD_FILE, Problem
from poolbench.report.reading.arms import Arm, Block, Record, group, number, section
from poolbench.report.reading.comparability import NotCompared, not_compared
from poolbench.report.reading.loading import load
from poolbench.report.reading.scores import of_arm, reached
from poolbench.report.reading.trials import TUNED, Trial, Trials, best_points, score, trial_records
from poolbench.report.statistics.comparison import Compared, compare_blocks
from poolbench.report.statistics.failures import Failures
from poolbench.report.tables.frames import frame
from poolbench.report.text.values import given, points_text
from poolbench.score import ACCURACY, Score
from poolbench.tuning import order, spread

SIDES = ("shared", "tuned")


@dataclass(frozen=True)
class Tuned:
    """What a report says of tuned arms.

    Args:
        table: a row an arm.
        words: a sentence a block.
        problems: files of trials and tuned arms that could not be read.
        damaged: files beside tuned arms' records that are not what the record names, by path below the results folder.
        compared: how tuned arms compare, by their digest.
        notes: what is not comparable among them.
        not_compared: their cells that did not finish.
    """

    table: pd.DataFrame
    words: list[str]
    problems: list[Problem] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    compared: Mapping[str, Compared] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    not_compared: list[NotCompared] = field(default_factory=list)


def tuned(folder: Path, blocks: Sequence[Block], compared: Mapping[str, Compared]) -> Tuned | None:
    """Return what was tuned in a results folder, None where nothing was.

    Args:
        folder: the results folder.
        blocks: at the shared recipe.
        compared: how their arms compare, by their digest.

    Raises:
        ConfigurationError: the file of the trials is none.
    """
    trials = Trials.read(folder)
    if trials is None:
        return None
    tried, problems = trial_records(folder, trials)
    best = best_points(tried)
    there = _tuned_arms(folder, trials, {arm.arm_id: block.block_id for block in blocks for arm in block.arms})
    rows, words = [], []
    for block in blocks:
        own = [
            _row(arm, tried[arm.arm_id], best.get(arm.arm_id), compared, there.arms.get(arm.arm_id), there.compared)
            for arm in block.arms
            if arm.arm_id in tried
        ]
        rows += own
        if own:
            words.append(_words(block, own, trials.seed))
    return Tuned(
        table=frame("tuned", rows),
        words=words,
        problems=[*problems, *there.problems],
        damaged=there.damaged,
        compared=there.compared,
        notes=there.notes,
        not_compared=there.not_compared,
    )


@dataclass(frozen=True)
class _There:
    """The tuned arms by the digest of the arm at the shared recipe, and how they compare by their own.

    With them, as in `Tuned`, what could not be read and what is not comparable.
    """

    arms: Mapping[str, Arm] = field(default_factory=dict)
    compared: Mapping[str, Compared] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    not_compared: list[NotCompared] = field(default_factory=list)


def _tuned_arms(folder: Path, trials: Trials, block_of: Mapping[str, str]) -> _There:
    """Read the tuned arms; `block_of` names the block of each arm at the shared recipe, by its digest."""
    if not any((folder / TUNED).glob(f"records/*/{RECORD_FILE}")):  # none has been trained yet
        return _There()
    try:
        loaded = load(folder / TUNED)
    except ConfigurationError as error:
        return _There(problems=[Problem(folder / TUNED, str(error))])
    records = [record for record in loaded.records if str(record["run_id"]) in trials.tuned]
    shared = {str(record["arm_id"]): trials.tuned[str(record["run_id"])] for record in records}
    # Arms tuned in settings of the network or the data set have blocks of their own: what is compared is not changed.
    blocks, notes = group(
        [{**one, "block_id": block_of.get(shared[str(one["arm_id"])], one["block_id"])} for one in records]
    )
    compared = compare_blocks(blocks, loaded.outcomes, loaded.experiment.declared)
    arms = {shared[arm.arm_id]: arm for block in blocks for arm in block.arms}
    return _There(
        arms=arms,
        compared=compared,
        problems=loaded.problems,
        damaged=[f"{TUNED}/{name}" for name in loaded.damaged],
        notes=[f"tuned: {note}" for note in notes],
        not_compared=[replace(one, block=f"tuned: {one.block}") for one in not_compared(blocks)],
    )


def _row(
    arm: Arm,
    tried: Sequence[tuple[Trial, Record]],
    best: Trial | None,
    compared: Mapping[str, Compared],
    its: Arm | None,
    beside: Mapping[str, Compared],
) -> dict[str, Any]:
    over_space, (task, by) = spread([score(record) for _, record in tried]), of_arm(arm)
    there = _of(arm, compared[arm.arm_id], "shared")
    tuned_arm = {} if its is None else _of(its, beside[its.arm_id], "tuned")
    means = there["shared_score_mean"], tuned_arm.get("tuned_score_mean")
    row = {
        **{"backbone": arm.backbone, "dataset": arm.dataset, "variant": arm.variant, "arm_id": arm.arm_id},
        **{"task": task, "score": by.name, "unit": by.unit, "better": by.better},
        "n_points": over_space.tried,
        "n_points_finished": over_space.finished,
        "val_score_low": by.sign * over_space.low,
        "val_score_median": by.sign * over_space.median,
        "val_score_high": by.sign * over_space.high,
        "best_point": "" if best is None else "; ".join(f"{key}={value}" for key, value in best.values.items()),
        **there,
        **tuned_arm,
        "gain": means[1] - means[0] if given(means[0]) and given(means[1]) else None,
        "trials_s": sum(_seconds(record) for _, record in tried),
        # For the words, not for the table.
        "judged_by": by,
        "tuned_arm": its,
    }
    if by != ACCURACY:
        return row
    of_accuracy = {f"val_accuracy_{part}": row[f"val_score_{part}"] for part in ("low", "median", "high")}
    return row | of_accuracy | {f"{side}_test_accuracy_mean": row.get(f"{side}_score_mean") for side in SIDES}


def _of(arm: Arm, one: Compared, side: str) -> dict[str, Any]:
    values = [reached(record) for record in arm.finished.values()]
    found = {
        f"{side}_n_seeds": len(values),
        f"{side}_n_failed": Failures.of([arm]).number,
        f"{side}_score_mean": float(np.mean(values)) if values else None,
        f"{side}_verdict": one.verdict,
    }
    if one.found is None or one.decision is None:
        return found
    return found | {
        f"{side}_difference_mean": one.sign * one.found.mean,
        f"{side}_difference_holm_low": one.decision.low if one.sign > 0 else -one.decision.high,
        f"{side}_difference_holm_high": one.decision.high if one.sign > 0 else -one.decision.low,
    }


def _seconds(record: Record) -> float:
    return float(np.nan_to_num(number(section(record, "times").get("total_s"))))


def _words(block: Block, rows: Sequence[Mapping[str, Any]], seed: int) -> str:
    """Return what tuning changed in a block."""
    numbers = sorted({int(row["n_points"]) for row in rows})
    cost = sum(row["trials_s"] for row in rows)
    points = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    text = (
        f"{block.title}, tuned: {points} point{'s' * (numbers[-1] > 1)} of the recipe for each arm, scored on "
        f"validation with seed {seed} ({cost:.1f} s); each arm at its best point: {'; '.join(map(_named, rows))}."
    )
    better = rows[0]["judged_by"].sign > 0
    changed = order(_means(rows, "shared"), _means(rows, "tuned"), larger_is_better=better)
    if changed is None:
        return f"{text} Fewer than two arms have both."
    if not changed.changed:
        return f"{text} The order of the arms is that of the shared recipe."
    return (
        f"{text} The order of the arms changed in {changed.swapped} of {changed.pairs} pairs; the best was "
        f"{changed.first_before} at the shared recipe, {changed.first_after} when tuned."
    )


def _means(rows: Sequence[Mapping[str, Any]], side: str) -> dict[str, float]:
    key = f"{side}_score_mean"
    return {str(row["variant"]): float(row[key]) for row in rows if given(row.get(key))}


def _named(row: Mapping[str, Any]) -> str:
    failed = _failed(row["tuned_arm"])
    if not given(row.get("tuned_score_mean")):
        why = f"tuned: {failed}" if failed else "not run" if row["n_points_finished"] else "no trial finished"
        return f"{row['variant']} ({why})"
    by = row["judged_by"]
    parts = [f"{_change(by, row['gain'])} to the shared recipe"] if given(row["gain"]) else []
    for side, name in (("shared", "there"), ("tuned", "tuned")):
        if given(row.get(f"{side}_difference_mean")):
            parts.append(f"{name} {row[f'{side}_verdict']} {_change(by, row[f'{side}_difference_mean'])}")
    low, high = (by.text(row[f"val_score_{end}"]) for end in ("low", "high"))
    parts.append(f"validation {low} to {high} over the space")
    if failed:
        parts.append(f"tuned: {failed}")
    return f"{row['variant']} ({', '.join(parts)})"


def _failed(its: Arm | None) -> str:
    """Say how many cells of a tuned arm failed, or that none finished; empty: none failed, or none was run."""
    if its is None:
        return ""
    failures = Failures.of([its])
    if failures.number:
        return str(failures)
    return "" if its.finished else "no cell finished"


def _change(by: Score, value: float) -> str:
    """Return a difference of scores with its sign and unit."""
    return f"{points_text(value)} points" if by.is_fraction else f"{value:+.3g} {by.unit}".rstrip().replace("-", "−")
