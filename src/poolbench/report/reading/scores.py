"""What the cells of an arm are judged by, and what they reached."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.report.reading.arms import Arm, Block, Record, number
from poolbench.score import ACCURACY, CLASSIFICATION, Score, beside_of, task_of


def of_arm(arm: Arm) -> tuple[str, Score]:
    """Return an arm's task, by name, and its score, finished records first."""
    records = (*arm.finished.values(), *arm.records.values())
    return next(map(task_of, records), (CLASSIFICATION, ACCURACY))


def of_block(block: Block) -> tuple[str, Score]:
    """Return the task of a block, by name, and its score: one data set has one."""
    return next((of_arm(arm) for arm in block.arms if arm.records), (CLASSIFICATION, ACCURACY))


def reached(record: Record, part: str = "test") -> float:
    """Return the score that a cell reached on a part (`test`, `val`, `train`); NaN where it has none."""
    return number(record["metrics"].get(f"{part}_{task_of(record)[1].name}"))


def gain(record: Record) -> float:
    """Return the test score turned so that more is better: of an error its negative."""
    return task_of(record)[1].sign * reached(record)


def mean_of(records: Iterable[Record]) -> float:
    """Return the mean test score of some cells, NaN where none has one."""
    found = [value for record in records if not math.isnan(value := reached(record))]
    return sum(found) / len(found) if found else math.nan


def judged_by(record: Record, score: Score) -> Record:
    """Return a record as one whose primary score is this further one that it has, see `beside_of`."""
    metrics = {**record["metrics"], f"test_{score.name}": record["metrics"].get(score.name)}
    return {**record, "task": {**record["task"], "score": score.shown()}, "metrics": metrics}


def fault(record: Mapping[str, Any]) -> str | None:
    """Return why a record's task cannot be read, or None where it can."""
    try:
        task_of(record)
        beside_of(record)
    except ConfigurationError as error:
        return str(error)
    return None
