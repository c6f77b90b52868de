"""What loggers show of a report: plain tables, texts and files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reported:
    """What a report holds, as far as a logger shows it.

    Args:
        folder: the experiment's.
        experiment: its name.
        question: what it asks; empty: not said.
        words: the verdict in words.
        arms: a row for each arm: the summary with each arm's score.
        tables: rows by the table's name, as the CSV files have them.
        figures: pictures by name.
        page: report.html.
    """

    folder: Path
    experiment: str
    question: str
    words: Sequence[str]
    arms: Any
    tables: Mapping[str, Any]
    figures: Mapping[str, Path]
    page: Path

    def columns(self) -> dict[str, dict[str, Any]]:
        """Return the summary's row of each arm, by its digest: plain values, those that are not there left out.

        Beside `score_mean` and the like stand the same by the score's own name, `test_mean_iou_mean`, as an accuracy
        has them: runs of several tasks may lie in one project.
        """
        rows = self.arms.to_dict("records")
        found = {row["arm_id"]: {name: plain(value) for name, value in row.items() if _known(value)} for row in rows}
        return {arm: row | _by_name(row) for arm, row in found.items()}


def _by_name(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistics of a row's score by the score's name.

    >>> _by_name({"score": "mean_iou", "score_mean": 0.8, "margin": 0.005})
    {'test_mean_iou_mean': 0.8}
    """
    parts = ((name.partition("score_"), value) for name, value in row.items())
    return {f"test_{row['score']}_{part}": value for (before, cut, part), value in parts if cut and not before}


def plain(value: Any) -> Any:
    """Return a table's value as plain Python: W&B and JSON know no others.

    >>> import numpy as np
    >>> plain(np.float64(0.5)), plain("x"), plain([1, "a"])
    (0.5, 'x', '1, a')
    """
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, bool | int | float | str) else str(value)


def _known(value: Any) -> bool:
    """Whether a table's cell holds something: missing values are not equal to themselves."""
    if isinstance(value, list | tuple | str):
        return bool(value)
    try:
        return value is not None and bool(value == value)
    except TypeError:  # pandas' NA
        return False
