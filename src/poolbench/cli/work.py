"""`poolbench work FOLDER`: one more worker at a sweep's plan."""

import argparse
from pathlib import Path
from typing import Any

from poolbench.cli.signals import ended_by_signals


def add_to(commands: Any) -> None:
    """Add `poolbench work`."""
    command = commands.add_parser("work", help="one worker at a sweep that was planned by `poolbench train`")
    command.add_argument("folder", type=Path, help="the experiment's folder, such as results/quickstart")
    command.add_argument("--sweep", required=True, help="the planned sweep: a file in FOLDER/plan/sweeps")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Work until no cell is left; return the exit status."""
    from rich.console import Console
    from rich.markup import escape

    from poolbench.sweep.plan import PlanFolder
    from poolbench.sweep.process import prepare_process
    from poolbench.sweep.progress import outcome

    plan = PlanFolder(arguments.folder)
    sweep = plan.sweep(arguments.sweep)
    console = Console(stderr=True)
    with ended_by_signals() as ended:
        prepare_process(sweep.allocator, sweep.threads, console)
        from poolbench.sweep.worker import work

        work(
            plan,
            sweep.run_ids,
            lambda title, record: console.print(f"{escape(title)}  {outcome(record)}", highlight=False),
        )
    return ended.status
