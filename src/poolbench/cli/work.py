"""`poolbench work FOLDER`: one more worker at a sweep's plan, on any machine that sees the folder."""

import argparse
from dataclasses import replace
from typing import Any

from poolbench.cli.place import place
from poolbench.errors import ConfigurationError
from poolbench.folders import check_exists
from poolbench.sweep.signals import ended_by_signals

USAGE = """Train cells of a plan until none is left, together with any number of other workers. Start it as often as you
like, on any machine that sees the folder and has the same code. If a worker dies, another one continues its cell from
the last checkpoint.

  poolbench work results/quickstart
  poolbench work results/quickstart --threads 1 --leave"""


def add_to(commands: Any) -> None:
    """Add `poolbench work`."""
    command = commands.add_parser(
        "work",
        help="start one more worker for a sweep that `poolbench train` planned",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", type=place, help="the experiment's folder, such as results/quickstart")
    command.add_argument("--threads", type=int, help="CPU threads of this worker (default: the sweep's)")
    command.add_argument(
        "--leave",
        action="store_true",
        help="end when every remaining cell has a worker (default: wait, and take over cells of workers that die)",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Work until no cell is left; return the exit status: 1 where a cell that this worker was at failed."""
    from rich.console import Console

    from poolbench.sweep.plan import PlanFolder
    from poolbench.sweep.process import let_threads_sleep, prepare_process
    from poolbench.sweep.progress import SweepProgress

    check_exists(arguments.folder, holds="plan")
    if arguments.threads is not None and arguments.threads < 1:
        raise ConfigurationError(f"--threads must be at least 1, got {arguments.threads}")
    plan = PlanFolder(arguments.folder.absolute())
    sweep = plan.newest_sweep()
    others = [cell.identity.run_id for cell in plan.all_cells() if not cell.unsupported]
    sweep = replace(
        sweep,
        run_ids=tuple(dict.fromkeys([*sweep.run_ids, *others])),
        threads=arguments.threads or sweep.threads,
    )
    console = Console(stderr=True)
    with ended_by_signals() as ended:
        let_threads_sleep(sweep.threads)  # there are other workers
        prepare_process(sweep.allocator, sweep.threads, console)
        from poolbench.sweep.local import work

        progress = SweepProgress(console, len(sweep.run_ids))
        with progress:
            worker = work(plan, sweep, progress, waits=not arguments.leave)
        return 1 if worker.refused or progress.failed else 0
    return ended.status
