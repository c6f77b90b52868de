"""Records of cells that cannot write their own: combinations that cannot be, processes that ended or hang."""

from collections.abc import Mapping
from typing import Any

from poolbench.cell import Cell
from poolbench.loggers import exit_code
from poolbench.record import RECORD_FILE, write_record
from poolbench.run.description import blank, now
from poolbench.run.mirrors import open_mirrors
from poolbench.run.under import Under
from poolbench.training import history_kept


def write_unsupported(cell: Cell, reason: str) -> dict[str, Any]:
    """Write the record of a combination that cannot be."""
    record = blank(cell) | {"status": "unsupported", "reason": reason}
    write_record(cell.folder / RECORD_FILE, record)
    return record


def write_failed(cell: Cell, reason: str, *, trace: str, under: Under) -> dict[str, Any]:
    """Write the record of a cell that cannot write it itself: its process ended under it, or it hangs.

    The history is what its last checkpoint holds. Raises `ClaimLost` where another process has taken the cell over.
    """
    record = blank(cell, under.attempts) | {"status": "failed", "reason": reason, "traceback": trace}
    record["history"] = history_kept(cell.folder)
    record["times"]["ended"] = now()
    under.require()
    write_record(cell.folder / RECORD_FILE, record)
    _mirror_failed(cell, record, under)
    return record


def _mirror_failed(cell: Cell, record: Mapping[str, Any], under: Under) -> None:
    """Show a cell that cannot show itself: where it hangs in this process its loggers are open, and know its epochs."""
    mirrors = under.session.open.get(cell.identity.run_id) if under.session else None
    if mirrors is None:
        mirrors = open_mirrors(cell, under)
        for row in record["history"]:
            mirrors.row({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))
    mirrors.final(record)
    mirrors.close(exit_code=exit_code(record))
