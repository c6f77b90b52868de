"""What a sweep says of itself: before it begins, and how it ended, with its exit status."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from poolbench.errors import ConfigurationError
from poolbench.record import RECORD_FILE, read_record
from poolbench.sweep.planning import Plan

BAD = frozenset({"failed", "diverged", "interrupted"})


def announce(plan: Plan, console: Console, folder: Path) -> None:
    """Say what the sweep will do."""
    parts = [f"{len(plan.to_do)} to train"]
    finished = sum(planned.finished for planned in plan.cells)
    unsupported = Counter(planned.unsupported for planned in plan.cells if planned.unsupported)
    if finished:
        parts.append(f"{finished} finished before (force=true trains them again)")
    if unsupported:
        parts.append(f"{unsupported.total()} unsupported")
    console.print(f"{len(plan.cells)} cells: {', '.join(parts)}", highlight=False)
    for reason, count in unsupported.items():
        console.print(f"  unsupported ({count}): {escape(reason)}", highlight=False)
    device = plan.cells[0].cell.device
    console.print(f"device {device.type}, records in {folder}", highlight=False)


def conclude(plan: Plan, trained_s: float, console: Console, *, strict: bool) -> int:
    """Say how it ended, last what failed; return the exit status: 0 all well, 1 some cell failed."""
    ends = [(planned.cell, *_end_of(planned.cell.folder)) for planned in plan.cells]
    counts = Counter(status for _, status, _ in ends)
    count = len(plan.to_do)
    trained = f", {count} trained in {trained_s:.1f} s ({trained_s / count:.2f} s each)" if count else ""
    console.print(f"{counts.total()} cells: {', '.join(f'{n} {s}' for s, n in counts.items())}{trained}")
    bad = BAD | ({"unsupported"} if strict else set())
    wrong = [(cell, status, reason) for cell, status, reason in ends if status in bad]
    for cell, status, reason in wrong:
        console.print(f"[red]{status}[/] {escape(cell.title)}: {escape(reason)}", highlight=False)
        console.print(f"  {cell.folder}", highlight=False)
    return 1 if wrong else 0


def _end_of(folder: Path) -> tuple[str, str]:
    """Return status and reason of a cell, from its record."""
    try:
        record = read_record(folder / RECORD_FILE)
    except (ConfigurationError, OSError):
        return "failed", "left no record: killed, or another process is at it"
    return record["status"], record["reason"]
