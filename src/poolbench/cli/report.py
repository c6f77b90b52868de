"""`poolbench report`: tables, figures and a page from records; two folders compared."""

import argparse
import re
import webbrowser
from typing import Any

from poolbench.cli.mirrored import asked_loggers, show
from poolbench.cli.place import place
from poolbench.errors import ConfigurationError


def add_to(commands: Any) -> None:
    """Add `poolbench report`."""
    command = commands.add_parser(
        "report",
        help="make tables, figures and a page from an experiment's records, or compare two experiments",
        epilog="with logger=wandb after the folder, the report is also sent to W&B, and its columns to each cell's run",
    )
    command.add_argument("folder", type=place, help="the experiment's folder, such as results/quickstart")
    command.add_argument(
        "other",
        type=place,
        nargs="?",
        help="a second experiment's folder, to compare with the first, arm by arm, seed by seed",
    )
    command.add_argument(
        "--into",
        type=place,
        metavar="DIR",
        help="folder for the comparison of two experiments (default: versus-FIRST inside the second)",
    )
    command.add_argument("--svg", type=place, help="also save the terminal's tables as a picture in this file")
    command.add_argument(
        "--explain", action="store_true", help="also explain how each number is computed, block by block"
    )
    command.add_argument("--quiet", action="store_true", help="print only the verdict")
    command.add_argument("--open", action="store_true", help="open report.html in the browser")
    command.set_defaults(run=run, loggers=())


def run(arguments: argparse.Namespace) -> int:
    """Make the report."""
    _check(arguments)
    loggers = asked_loggers("report", arguments.loggers)
    from rich.console import Console

    from poolbench.report.make import PAGE, make_report
    from poolbench.report.text.terminal import Shown, open_console

    console = Console(record=True, width=100) if arguments.svg else open_console()
    if arguments.other:
        from poolbench.report.versus import make_versus

        make_versus(arguments.folder, arguments.other, into=arguments.into, console=console)
    else:
        shown = Shown.VERDICT if arguments.quiet else Shown.ALL if arguments.explain else Shown.TABLES
        report = make_report(arguments.folder, console=console, shown=shown)
        if loggers:
            show(loggers, report, lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True))
        if arguments.open:
            webbrowser.open((report.folder / PAGE).resolve().as_uri())
    if arguments.svg:
        title = " ".join(["poolbench report", *map(str, filter(None, (arguments.folder, arguments.other)))])
        # rich's picture fetches its font from the network; a monospaced one of the reader's does.
        picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title=title), flags=re.DOTALL)
        try:
            arguments.svg.write_text(picture, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"--svg: {arguments.svg} cannot be written: {error.strerror or error}") from error
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise, before anything is read, for flags that do not go together or would do nothing."""
    if arguments.quiet and arguments.explain:
        raise ConfigurationError("--quiet and --explain exclude each other: choose one")
    if arguments.other is None:
        if arguments.into:
            raise ConfigurationError(
                f"--into is for the comparison of two folders, got {arguments.into} with one; a report is written "
                "beside its records: leave it out"
            )
        return
    if arguments.loggers:
        raise ConfigurationError(
            f"{arguments.loggers[0]}: the comparison of two folders is shown by no logger; leave it out"
        )
    for flag, why in (
        ("open", "has no page"),
        ("quiet", "is printed whole"),
        ("explain", "explains its numbers in its text"),
    ):
        if getattr(arguments, flag):
            raise ConfigurationError(
                f"--{flag} is for the report of one folder, got {arguments.folder} and {arguments.other}, whose "
                f"comparison {why}; leave it out"
            )
