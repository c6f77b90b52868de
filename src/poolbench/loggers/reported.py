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
        """Return the summary's row of each arm, by its digest: plain values, those that are not there left out."""
        rows = self.arms.to_dict("records")
        return {row["arm_id"]: {name: plain(value) for name, value in row.items() if _known(value)} for row in rows}


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
