"""What a sweep says of itself: before it begins, and how it ended, with its exit status."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from poolbench.record import finished
from poolbench.sweep.planning import Plan, PlannedCell
from poolbench.sweep.ran import Ran

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
    _say(console, f"{len(plan.cells)} cells: {', '.join(parts)}")
    for reason, count in unsupported.items():
        _say(console, f"  unsupported ({count}): {reason}")
    for planned in plan.cells:
        if planned.damaged:
            _say(console, f"  damaged, so trained again: {planned.cell.identity.run_id}: {planned.damaged}")
    device = plan.cells[0].cell.device
    _say(console, f"device {device.type}, records in {folder}")


def conclude(plan: Plan, ran: Ran, trained_s: float, console: Console, *, strict: bool) -> int:
    """Say how it ended, last what failed; return the exit status: 0 all well, 1 some cell failed."""
    ends = [(planned.cell, *_end_of(planned, ran)) for planned in plan.cells]
    counts = Counter(status for _, status, _ in ends)
    count = sum(ran.trained(planned.cell) for planned in plan.to_do)
    trained = f", {count} trained in {trained_s:.1f} s ({trained_s / count:.2f} s each)" if count else ""
    _say(console, f"{counts.total()} cells: {', '.join(f'{n} {s}' for s, n in counts.items())}{trained}")
    bad = BAD | ({"unsupported"} if strict else set())
    wrong = [(cell, status, reason) for cell, status, reason in ends if status in bad]
    for cell, status, reason in wrong:
        console.print(f"[red]{status}[/] {escape(cell.title)}: {escape(reason)}", highlight=False, soft_wrap=True)
        _say(console, f"  {cell.folder}")
    return 1 if wrong else 0


def _end_of(planned: PlannedCell, ran: Ran) -> tuple[str, str]:
    """Return status and reason of a cell."""
    if planned.is_to_do:
        return ran.end_of(planned.cell)
    if planned.unsupported:
        return "unsupported", planned.unsupported
    record = finished(planned.cell.folder)
    return (record["status"], record["reason"]) if record else ("failed", "its finished record is gone")


def _say(console: Console, text: str) -> None:
    """Print a line as it stands: what a path or a label holds is never markup."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
