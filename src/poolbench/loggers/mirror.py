"""What a mirror is: something that receives a cell's configuration, its epochs and how it ended."""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from poolbench.record import epoch_rows


@dataclass(frozen=True)
class Shown:
    """The cell that a mirror shows.

    Args:
        run_id: the record's name, and the run's wherever a logger has one.
        experiment: the experiment's name, and the run's group wherever a logger has one.
        tags: labels of backbone, variant and dataset.
        folder: the record's.
    """

    run_id: str
    experiment: str
    tags: tuple[str, ...]
    folder: Path


class Mirror(Protocol):
    """Shows one cell. Whatever it raises drops it, and nothing else."""

    def config(self, config: Mapping[str, Any], revision: str | None) -> None:
        """The cell begins, with this configuration; `revision` is the code's, None where it is not known."""

    def row(self, row: Mapping[str, float], epoch: int) -> None:
        """An epoch is over; after an interruption those before it come again, from the first."""

    def final(self, record: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        """The cell is over, and this is its record; `columns` are its arm's in the tables, empty before a report."""

    def close(self, exit_code: int) -> None:
        """Nothing more comes; `exit_code` is 0 where the cell went well."""


def figures(record: Mapping[str, Any], section: str = "metrics") -> dict[str, float]:
    """Return the single figures of a record's section: what a logger can plot.

    >>> figures({"metrics": {"test_accuracy": 0.5, "per_class": [0.4, 0.6], "ece": None}})
    {'test_accuracy': 0.5}
    """
    found = record.get(section) or {}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def selected_epoch(record: Mapping[str, Any]) -> int:
    """Return the selected epoch, or the last one where none was selected."""
    return int(figures(record).get("selected_epoch", max(len(epoch_rows(record)) - 1, 0)))


def exit_code(record: Mapping[str, Any]) -> int:
    """Return the exit status of a process that ended as the record says: 0 where all went well.

    >>> exit_code({"status": "ok", "reason": ""}), exit_code({"status": "interrupted", "reason": "ended by SIGTERM"})
    (0, 143)
    >>> exit_code({"status": "failed", "reason": "its code called sys.exit(3)"}), exit_code({"status": "diverged"})
    (3, 1)
    """
    if record["status"] == "ok":
        return 0
    reason = record.get("reason") or ""
    asked = re.fullmatch(r"its code called sys\.exit\((\d{1,3})\)", reason)
    if asked and 0 < int(asked[1]) < 256:
        return int(asked[1])
    name = reason.rpartition("ended by ")[2]
    return 128 + signal.Signals[name] if name in signal.Signals.__members__ else 1
