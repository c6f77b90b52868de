"""`poolbench report`: tables and figures from records."""

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add `poolbench report`."""
    command = commands.add_parser("report", help="tables and figures from an experiment's records")
    command.add_argument("folder", type=Path, help="the experiment's folder, such as results/quickstart")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the report."""
    from rich.console import Console

    from poolbench.report import make_report

    console = Console()
    made = make_report(arguments.folder, console=console)
    console.print("written: " + ", ".join(str(path) for path in made.files), highlight=False, soft_wrap=True)
    return 0
