"""What became of the cells that a sweep ran: from the processes that ran them, and never from an older record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from poolbench.cell import Cell
from poolbench.errors import ConfigurationError
from poolbench.record import RECORD_FILE, read_record
from poolbench.run import is_claimed

ELSEWHERE = "with another process"


@dataclass(frozen=True)
class Ran:
    """What ran.

    Args:
        processes: the ids of the processes that trained for this sweep.
        records: the records that came back, by run; None where another process is at the cell.
        began: when the sweep began to run them.
    """

    processes: frozenset[int] = frozenset()
    records: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def since(self, began: datetime) -> "Ran":
        """Return the same with the time at which the sweep began."""
        return Ran(self.processes, self.records, began)

    def end_of(self, cell: Cell) -> tuple[str, str]:
        """Return status and reason of a cell that was to do."""
        record = self._record(cell)
        if record is not None:
            return str(record["status"]), str(record["reason"])
        if is_claimed(cell):
            return ELSEWHERE, "another process is at it"
        return "failed", "left no record: killed"

    def trained(self, cell: Cell) -> bool:
        """Whether a process of this sweep trained the cell."""
        record = self._record(cell)
        return record is not None and record["provenance"].get("process") in self.processes

    def _record(self, cell: Cell) -> Mapping[str, Any] | None:
        found = self.records.get(cell.identity.run_id)
        if found is not None:
            return found
        try:
            found = read_record(cell.folder / RECORD_FILE)
            return found if datetime.fromisoformat(found["times"]["ended"]) >= self.began else None
        except (ConfigurationError, OSError, KeyError, ValueError):
            return None
