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
from poolbench.report.tables.columns import names
from poolbench.report.tables.key_columns import ARM_ID, KEYS
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
        arms: a row for each arm: the columns of `summary.csv`.
        comparisons: a row for each arm but the references: the columns of `accuracy.csv` that compare it with its
            reference (differences as fractions of 1), and the verdict.
        over_blocks: a row for each arm of several blocks: the columns of `over_blocks.csv`.
        speeds: a row for each arm and machine: the columns of `throughput.csv`.
        curves: a row for each epoch of each cell, counted from 1: training and validation loss and accuracy.
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
    accuracy = content.tables["accuracy"]
    columns = [column.name for column in (*KEYS, *COMPARISON)]
    columns += [name for name in names("accuracy") if name in ("reference", "geometry", ARM_ID.name)]
    compared = accuracy["arm_id"].isin(
        [arm.arm_id for block in content.blocks for arm in block.arms if not arm.is_reference]
    )
    return Results(
        folder=folder,
        cells=pd.DataFrame([_cell(*each) for each in _records(content.blocks)]),
        arms=content.tables["summary"],
        comparisons=accuracy.loc[compared, columns].reset_index(drop=True),
        over_blocks=content.tables["over_blocks"],
        speeds=content.tables["throughput"],
        curves=pd.DataFrame(
            [row for each in _records(content.blocks) for row in _curve(*each)], columns=[*CELL, "epoch", *CURVES]
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


def _curve(keys: dict[str, Any], record: Record) -> Iterator[dict[str, Any]]:
    for row in epoch_rows(record):
        yield keys | {name: row.get(name) for name in CURVES} | {"epoch": row["epoch"] + 1}
