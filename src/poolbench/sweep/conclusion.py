"""What a sweep says of itself: before it begins, and how it ended, with its exit status."""

import re
import shlex
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from poolbench.errors import ConfigurationError
from poolbench.record import RECORD_FILE, read_record
from poolbench.sweep.claims import Claims
from poolbench.sweep.launch import Launch
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.planning import Plan, PlannedCell
from poolbench.sweep.state import file_digest

BAD = frozenset({"failed", "diverged", "interrupted"})
WAITING = "waiting"
# Cells that are left after a stop are many, and alike.
MOST_WAITING = 3
# What Hydra's grammar reads without quotes.
PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")


def announce(plan: Plan, launch: Launch, console: Console, folder: Path) -> None:
    """Say what the sweep will do."""
    parts = [f"{len(plan.to_do)} to train"]
    before = Counter(planned.before for planned in plan.cells if planned.before)
    failed = before.pop("failed", 0)
    unsupported = Counter(planned.unsupported for planned in plan.cells if planned.unsupported)
    if before:
        parts.append(f"{before.total()} finished before (force=true trains them again)")
    if failed:
        parts.append(f"{failed} failed before (force=failed trains them again)")
    if unsupported:
        parts.append(f"{unsupported.total()} unsupported")
    console.print(f"{len(plan.cells)} cell{'s' * (len(plan.cells) != 1)}: {', '.join(parts)}", highlight=False)
    for kept, count in Counter(planned.kept for planned in plan.cells if planned.kept).items():
        text = f"  {count} of those finished keep {kept}, as set before they ran; give another name= to ask otherwise"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    for reason, count in unsupported.items():
        console.print(f"  unsupported ({count}): {escape(reason)}", highlight=False)
    for planned in plan.to_do:
        if planned.damaged:
            console.print(f"  damaged, so trained again: {planned.run_id}: {planned.damaged}", markup=False)
    device = plan.cells[0].device
    text = f"device {device.type}, {launch.said()}, records in {folder}"
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    held = Claims(PlanFolder(folder).claims).all()
    for planned in plan.to_do:
        claim = held.get(planned.run_id)
        if claim is not None and claim.end:
            ended = len(claim.attempts) + 1
            text = f"{planned.title}: {claim.end} ({claim.process}), attempt {ended}; it comes behind the others"
            console.print(f"  {escape(text)}", highlight=False)


def conclude(
    plan: Plan,
    sweep: PlannedSweep,
    count: int,
    trained_s: float,
    console: Console,
    *,
    stopped: str,
    strict: bool,
) -> int:
    """Say how it ended, last what failed; return the exit status: 0 all well, 1 some cell failed or is left.

    Args:
        plan: the sweep's.
        sweep: as it is planned.
        count: cells that were trained for it.
        trained_s: how long that took.
        console: where it is said.
        stopped: why the sweep was stopped before its end, empty where it was not.
        strict: whether a combination that cannot be fails it.
    """
    ends = [(planned, *_end_of(planned, stopped)) for planned in plan.cells]
    counts = Counter(status for _, status, _ in ends)
    trained = f", {count} trained in {trained_s:.1f} s ({trained_s / count:.2f} s each)" if count else ""
    ended = ", ".join(f"{n} {status}" for status, n in counts.items())
    console.print(f"{len(ends)} cell{'s' * (len(ends) != 1)}: {ended}{trained}")
    bad = BAD | ({"unsupported"} if strict else set()) | {WAITING}
    wrong = [(planned, status, reason) for planned, status, reason in ends if status in bad]
    listed = [one for one in wrong if one[1] != WAITING] + [one for one in wrong if one[1] == WAITING][:MOST_WAITING]
    for planned, status, reason in listed:
        console.print(f"[red]{status}[/] {escape(planned.title)}: {escape(reason)}", highlight=False)
        console.print(f"  {planned.folder}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"  again: {escape(again(planned, status, sweep))}", highlight=False, soft_wrap=True)
    if len(listed) < len(wrong):
        console.print(f"and {len(wrong) - len(listed)} more that wait", highlight=False)
    if stopped:
        console.print(f"[red]stopped[/]: {escape(stopped)}; the same command continues", highlight=False)
    return 1 if wrong or stopped else 0


def _end_of(planned: PlannedCell, stopped: str) -> tuple[str, str]:
    """Return status and reason of a cell, from its record; `stopped`: why the sweep ended early, empty where not."""
    path = planned.folder / RECORD_FILE
    try:
        record = read_record(path)
        if planned.replaces and file_digest(path) == planned.replaces:
            if stopped:
                return WAITING, "not done anew when the sweep was stopped: its older record stands"
            return "failed", "left no record, and an older one is not believed: was the place written?"
    except (ConfigurationError, OSError):
        if stopped:
            return WAITING, "not done when the sweep was stopped"
        return WAITING, "left no record: another worker is training it, or it could not be written"
    return record["status"], record["reason"]


def again(planned: PlannedCell, status: str, sweep: PlannedSweep) -> str:
    """Return the command that runs a cell again: it alone, or where it has no command of its own, what failed."""
    force = () if status in ("interrupted", WAITING) else (f"force={_as_value(planned.run_id)}",)
    if planned.settings.part or any(word.lstrip("+").startswith("until=") for word in sweep.command):
        # Seed and recipe are a trial's, or those of an arm at its best point, or seeds come with the looks: the whole
        # command finds it again.
        kept = [word for word in sweep.command if not word.lstrip("+").startswith("force=")]
        return shlex.join([*kept, *(["force=failed"] if force else [])])
    left_out = ("force=", "seed=", "until=", "tune=")
    kept = [word for word in sweep.command if not word.lstrip("+").startswith(left_out)]
    return shlex.join([*kept, f"seed={planned.seed}", *force])


def _as_value(text: str) -> str:
    """Return a text as an override has it: where it holds more than plain characters, in quotes.

    >>> print(_as_value("lenet5-max-digits-s0-0123456789ab"), _as_value("digits_train_images=150-s0-0123456789ab"))
    lenet5-max-digits-s0-0123456789ab "digits_train_images=150-s0-0123456789ab"
    """
    return text if PLAIN.fullmatch(text) else f'"{text}"'
