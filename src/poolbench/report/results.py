"""The results of a sweep as tidy data frames: for a notebook, or whatever is computed further."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from poolbench.record import Problem, epoch_rows
from poolbench.report.make import gather
from poolbench.report.reading.arms import Block, Record, section
from poolbench.report.reading.loading import check_exists, load
from poolbench.report.reading.scores import of_arm
from poolbench.report.tables.columns import names
from poolbench.report.tables.frames import with_scores
from poolbench.report.tables.key_columns import ARM_ID, KEYS, SCORE_KEYS
from poolbench.report.tables.score_columns import COMPARISON

# What a row of `curves` is about, beside the epoch.
CELL = ("backbone", "dataset", "variant", "seed", "run_id")
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Results:
    """What a results folder holds.

    Args:
        folder: where it lies.
        cells: a row for each record, the unfinished ones too: keys, seed, status, reason, every metric (accuracies as
            fractions of 1) and every cost, under the names that they have in the record.
        arms: a row for each arm: the columns of `summary.csv`, then those of `scores.csv` that it has not.
        comparisons: a row for each arm but the references: the columns of `scores.csv` that compare it with its
            reference (differences in the unit of the score, accuracies' as fractions of 1), the verdict, and the score.
        over_blocks: a row for each arm of several blocks: the columns of `over_blocks.csv`.
        speeds: a row for each arm and machine: the columns of `throughput.csv`.
        curves: a row for each epoch of each cell, counted from 1: training and validation loss, accuracy, and the
            other scores that cells are judged by, as `train_` and `val_` with the score's name.
        problems: files that could not be read, with the reason.
    """

    folder: Path
    cells: pd.DataFrame
    arms: pd.DataFrame
    comparisons: pd.DataFrame
    over_blocks: pd.DataFrame
    speeds: pd.DataFrame
    curves: pd.DataFrame
    problems: list[Problem] = field(default_factory=list)


def load_results(folder: Path) -> Results:
    """Return the results in a folder: see `poolbench.load_results`."""
    check_exists(folder)
    content = gather(load(folder))
    arms = with_scores(content.tables)
    columns = [column.name for column in (*KEYS, *COMPARISON)]
    columns += [name for name in names("accuracy") if name in ("reference", "geometry", ARM_ID.name)]
    columns += [column.name for column in SCORE_KEYS]
    compared = arms["arm_id"].isin(
        [arm.arm_id for block in content.blocks for arm in block.arms if not arm.is_reference]
    )
    curves = _curves(content.blocks)
    return Results(
        folder=folder,
        cells=pd.DataFrame([_cell(*each) for each in _records(content.blocks)]),
        arms=arms,
        comparisons=arms.loc[compared, columns].reset_index(drop=True),
        over_blocks=content.tables["over_blocks"],
        speeds=content.tables["throughput"],
        curves=pd.DataFrame(
            [row for each in _records(content.blocks) for row in _curve(*each, curves)],
            columns=[*CELL, "epoch", *curves],
        ),
        problems=content.problems,
    )


def _records(blocks: Sequence[Block]) -> Iterator[tuple[dict[str, Any], Record]]:
    """Yield each record with the names that its arm has in the tables."""
    for block in blocks:
        for arm in block.arms:
            for seed, record in sorted(arm.records.items()):
                keys = {"backbone": arm.backbone, "dataset": arm.dataset, "variant": arm.variant}
                yield keys | {"seed": seed, "run_id": record["run_id"]}, record


def _cell(keys: dict[str, Any], record: Record) -> dict[str, Any]:
    found = keys | {"arm_id": record["arm_id"], "status": record["status"], "reason": record["reason"]}
    for part in ("metrics", "cost"):
        found |= {name: value for name, value in section(record, part).items() if not isinstance(value, dict | list)}
    return found


def _curves(blocks: Sequence[Block]) -> list[str]:
    """Return the columns of curves: loss and accuracy, then the other scores that cells are judged by."""
    scores = dict.fromkeys(of_arm(arm)[1].name for block in blocks for arm in block.arms)
    return list(dict.fromkeys([*CURVES, *(f"{part}_{name}" for name in scores for part in ("train", "val"))]))


def _curve(keys: dict[str, Any], record: Record, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for row in epoch_rows(record):
        yield keys | {name: row.get(name) for name in names} | {"epoch": row["epoch"] + 1}
