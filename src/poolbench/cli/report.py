"""`poolbench report`: tables and figures from records."""

import argparse
import re
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError


def add_to(commands: Any) -> None:
    """Add `poolbench report`."""
    command = commands.add_parser("report", help="tables and figures from an experiment's records")
    command.add_argument("folder", type=Path, help="the experiment's folder, such as results/quickstart")
    command.add_argument("--svg", type=Path, help="also draw the tables as they stand in the terminal into this file")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the report."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    from poolbench.report import make_report
    from poolbench.report.terminal import open_console

    console = Console(record=True, width=100) if arguments.svg else open_console()
    make_report(arguments.folder, console=console)
    if arguments.svg:
        try:
            # rich's template fetches its font from the network; a monospaced one of the reader's does.
            template = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
            title = f"poolbench report {arguments.folder}"
            console.save_svg(str(arguments.svg), title=title, code_format=template)
        except OSError as error:
            raise ConfigurationError(f"--svg: {arguments.svg} cannot be written: {error.strerror or error}") from error
    return 0
