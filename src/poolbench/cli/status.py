"""`poolbench status FOLDER`: how far a sweep is: cells done, running, waiting, failed."""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poolbench.cli.place import place
from poolbench.errors import ConfigurationError
from poolbench.folders import check_exists

SECONDS_BETWEEN_LOOKS = 2.0
USAGE = """Show how far a sweep is. Nothing is changed.

  poolbench status results/quickstart            once
  poolbench status results/quickstart --watch    repeat until nothing is left
  poolbench status results/quickstart --json     {"ok": 12, "running": 0, "waiting": 0, "failed": 0, ...}"""


def add_to(commands: Any) -> None:
    """Add `poolbench status`."""
    command = commands.add_parser(
        "status",
        help="show how far a sweep is: cells done, running, waiting, failed",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", type=place, help="the experiment's folder, such as results/quickstart")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--watch", action="store_true", help="repeat until nothing is left")
    form.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Say how far the sweep is."""
    from poolbench.sweep.state import counts

    check_exists(arguments.folder, holds="plan")
    folder = arguments.folder.absolute()
    if not (folder / "plan").is_dir():
        raise ConfigurationError(
            f"{folder} has no plan: `poolbench train` makes one; records that are there are shown by `poolbench report`"
        )
    if arguments.json:
        content = _content(_states(folder))
        if parts := _parts(folder):
            content["parts"] = {name: _content(found) for name, found in parts.items()}
        json.dump(content, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return 0
    from rich.console import Console

    console = Console(soft_wrap=True)
    if not arguments.watch:
        console.print(_whole(_states(folder), _parts(folder)), highlight=False, markup=False)
        return 0
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, auto_refresh=False) as live:
        while True:
            found, parts = _states(folder), _parts(folder)
            live.update(Text(_whole(found, parts)), refresh=True)
            now = [counts(one) for one in (found, *parts.values())]
            if not any(one["running"] or one["waiting"] for one in now):
                break
            try:
                time.sleep(SECONDS_BETWEEN_LOOKS)
            except KeyboardInterrupt:
                break
    if not console.is_terminal:  # elsewhere the last line has no end yet
        console.print()
    return 0


def _states(folder: Path) -> Sequence[Any]:
    """Return the cells of a folder's plan."""
    from poolbench.sweep.claims import Claims
    from poolbench.sweep.plan import PlanFolder
    from poolbench.sweep.state import states

    plan = PlanFolder(folder)
    return states(plan, Claims(plan.claims))


def _parts(folder: Path) -> dict[str, Sequence[Any]]:
    """Return the cells of the sweeps that belong to this one, by their folder: tuned arms and their trials."""
    from poolbench.report.reading.trials import TRIALS, TUNED

    return {name: _states(folder / name) for name in (TRIALS, TUNED) if (folder / name / "plan").is_dir()}


def _whole(found: Sequence[Any], parts: Mapping[str, Sequence[Any]]) -> str:
    return "\n".join([_text(found), *(f"{name}: {_text(cells)}" for name, cells in parts.items())])


def _content(found: Sequence[Any]) -> dict[str, Any]:
    from poolbench.sweep.state import counts, seconds_left

    return {
        **counts(found),
        "seconds_left": seconds_left(found),
        "cells": [
            {
                "run_id": one.cell.identity.run_id,
                "title": one.cell.title,
                "state": one.state,
                "reason": one.reason,
                "worker": str(one.held.process) if one.state == "running" else None,
                "since": one.held.began if one.state == "running" else None,
                "epoch": one.held.beat.get("epoch") if one.state == "running" else None,
                "epochs": one.held.beat.get("epochs") if one.state == "running" else None,
                "attempts": len(one.held.attempts) + bool(one.held.end) if one.held is not None else 0,
            }
            for one in found
        ],
    }


def _text(found: Sequence[Any]) -> str:
    from poolbench.sweep.heart import facts
    from poolbench.sweep.state import counts, seconds_left

    now = counts(found)
    left = seconds_left(found) if now["running"] or now["waiting"] else None
    lines = [
        ", ".join(f"{count} {state}" for state, count in now.items()) + ("" if left is None else f", {_time(left)}")
    ]
    for one in found:
        if one.state == "running":
            epoch = facts(one.held.beat)
            lines.append(
                f"running  {one.cell.title}  {one.held.process}{f', {epoch}' if epoch else ''}, since {one.held.began}"
            )
    lines += [f"waiting  {one.cell.title}  {one.reason}" for one in found if one.state == "waiting" and one.reason]
    others = ("ok", "running", "waiting")
    lines += [f"{one.state}  {one.cell.title}  {one.reason}" for one in found if one.state not in others]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    """Return a time that is left, in words.

    >>> _time(40), _time(600), _time(9000)
    ('about 40 s left', 'about 10 min left', 'about 2.5 h left')
    """
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"
