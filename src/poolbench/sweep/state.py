"""How far a plan is: which cells are done, who is at which, what waits, what failed. Needs no torch."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.record import ENDED, RECORD_FILE, read_record
from poolbench.sweep.claims import Claims, Held
from poolbench.sweep.plan import FrozenCell, PlanFolder


class Done:
    """Which cells of an experiment are done.

    Args:
        folder: the experiment's.
        again: records that count for nothing, by run: the digest of the file that is to be replaced.
    """

    def __init__(self, folder: Path, again: Mapping[str, str] | None = None) -> None:
        self.folder = folder / "records"
        self.again = dict(again or {})
        self._done: set[str] = set()

    def is_done(self, run_id: str) -> bool:
        """Whether the cell has a whole record of how it ended."""
        if run_id not in self._done and self.record(run_id) is not None:
            self._done.add(run_id)
        return run_id in self._done

    def record(self, run_id: str) -> dict[str, Any] | None:
        """Return the record of a cell that is done, else None."""
        path = self.folder / run_id / RECORD_FILE
        if not path.is_file() or (run_id in self.again and file_digest(path) == self.again[run_id]):
            return None
        try:
            record = read_record(path)
        except (ConfigurationError, OSError):
            return None
        return record if record["status"] in ENDED else None


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, empty where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


@dataclass(frozen=True)
class CellState:
    """How far one cell is.

    Args:
        cell: as it is planned.
        state: a record's status, or `running`, or `waiting`.
        reason: why it failed, or why it waits.
        held: the claim of who is at it, or was.
        record: its record, where it has one that counts.
    """

    cell: FrozenCell
    state: str
    reason: str = ""
    held: Held | None = None
    record: Mapping[str, Any] | None = None


def states(plan: PlanFolder, claims: Claims) -> list[CellState]:
    """Return the state of every cell of a plan, ordered by run; records that the last command replaces do not count."""
    again = plan.newest_sweep().again if any(plan.sweeps.glob("*.json")) else {}
    done, held = Done(plan.folder, again), claims.all()
    return [_state(cell, done, held.get(cell.identity.run_id)) for cell in plan.all_cells()]


def _state(cell: FrozenCell, done: Done, held: Held | None) -> CellState:
    record = done.record(cell.identity.run_id)
    if held is not None and not held.end:
        return CellState(cell, "running", held=held)
    if record is not None:
        return CellState(cell, record["status"], record["reason"], record=record)
    if held is not None:
        return CellState(cell, "waiting", f"{held.end} ({held.process})", held=held)
    return CellState(cell, "waiting")


def counts(found: Sequence[CellState]) -> dict[str, int]:
    """Return how many cells are in each state; `ok`, `running`, `waiting` and `failed` always stand in it."""
    return dict.fromkeys(("ok", "running", "waiting", "failed"), 0) | dict(Counter(one.state for one in found))


def seconds_left(found: Sequence[CellState]) -> float | None:
    """Return about how long the running and waiting cells will take, from how long the others took; None: unknown."""
    times: dict[tuple[str, str], list[float]] = {}
    for one in found:
        if one.state == "ok" and one.record is not None:
            times.setdefault(_block(one.cell), []).append(float(one.record["times"]["total_s"]))
    every = [value for values in times.values() for value in values]
    if not every:
        return None
    total = 0.0
    for one in found:
        if one.state not in ("running", "waiting"):
            continue
        known = times.get(_block(one.cell), every)
        beat = one.held.beat if one.held is not None and one.state == "running" else {}
        share = float(beat["epoch"]) / beat["epochs"] if beat.get("epochs") else 0.0
        total += sum(known) / len(known) * max(0.0, 1 - share)
    return total / max(1, sum(one.state == "running" for one in found))


def _block(cell: FrozenCell) -> tuple[str, str]:
    return cell.labels["backbone"], cell.labels["dataset"]
