"""`poolbench serve FOLDER`: the pages of all experiments in a folder, on this machine."""

import argparse
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

from poolbench.cli.place import place

PORT = 8517
USAGE = """Serve the reports of all experiments in a folder at http://127.0.0.1:PORT/, with an index of question,
verdict, date, cells and failed ones. The pages refresh themselves while workers run. Nothing is written, and no
other machine can reach it; from elsewhere: ssh -L PORT:127.0.0.1:PORT MACHINE.

  poolbench serve results
  poolbench serve results/quickstart --port 0 --open"""


def add_to(commands: Any) -> None:
    """Add `poolbench serve`."""
    command = commands.add_parser(
        "serve",
        help="show the pages of all experiments in a folder, in the browser",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "folder", type=place, nargs="?", default=Path("results"), help="the results folder (default: results)"
    )
    command.add_argument("--port", type=int, default=PORT, help=f"port; 0 chooses a free one (default {PORT})")
    command.add_argument("--open", action="store_true", help="open the index in the browser")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT."""
    from poolbench.serve import PageServer

    with PageServer(arguments.folder, arguments.port) as server:
        print(f"{server.address}  (the experiments in {arguments.folder}; end with Ctrl-C)", flush=True)
        if arguments.open:
            webbrowser.open(server.address)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0
