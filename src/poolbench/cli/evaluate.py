"""`poolbench test RUN_ID`: evaluate a trained cell's kept weights again, and compare with its record."""

import argparse
from pathlib import Path
from typing import Any

from poolbench.cli.place import place
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.folders import check_exists, experiments_in
from poolbench.record import RECORD_FILE, read_record
from poolbench.score import task_of

# What another machine's rounding may change.
TOLERANCE = 1e-4


def add_to(commands: Any) -> None:
    """Add `poolbench test`."""
    command = commands.add_parser("test", help="evaluate a trained cell again, and compare with its record")
    command.add_argument("run_id", help="the run's id, or the path of its folder")
    command.add_argument(
        "--results-dir", type=place, default=Path("results"), help="the folder of experiments (default: %(default)s)"
    )
    command.add_argument("--root", help="the dataset's folder, if it is not the one used in training")
    command.add_argument(
        "--trainer", choices=("cpu", "gpu", "auto"), help="the device, if it is not the one used in training"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print stored and new figures; 0 if they agree, 1 if they do not."""
    folder = find(arguments.run_id, arguments.results_dir)
    record = read_record(folder / RECORD_FILE)
    if record["status"] != "ok":
        raise ConfigurationError(f"{record['run_id']} is {record['status']}, it has no weights: {record['reason']}")
    config = dict(record["config"])
    if arguments.root:
        config["dataset"] = {**config["dataset"], "root": arguments.root}
    if arguments.trainer:
        config["trainer"] = {**config["trainer"], "accelerator": arguments.trainer}
    from poolbench.cell import Cell
    from poolbench.run.evaluate import evaluate
    from poolbench.settings import Settings

    settings = Settings(folder.parent, folder.name, record["reference"])
    cell = Cell.of(config, record["labels"], settings)
    found = evaluate(cell, folder, record)
    agree = True
    # Shares of 1 and losses of classes keep it as it is, where an error in a unit of its own may be small throughout.
    least, form = (1.0, ".6f") if task_of(record)[1].is_fraction else (0.0, ".6g")
    for name, value in found.items():
        stored = record["metrics"].get(name)
        if stored is None:  # an older record, or no number: nothing to compare with
            print(f"{name:14} recorded nothing   now {value:{form}}")
            continue
        same = abs(value - stored) <= TOLERANCE * max(least, abs(stored))
        agree &= same
        print(f"{name:14} recorded {stored:{form}}  now {value:{form}}{'' if same else '  differs'}")
    return 0 if agree else 1


def find(run: str, results_dir: Path) -> Path:
    """Return the folder of a run by its path or id."""
    if (Path(run) / RECORD_FILE).is_file():
        return Path(run).resolve()
    folders = sorted(
        path.parent.resolve()
        for experiment in experiments_in(results_dir).values()
        for path in experiment.glob(f"records/*/{RECORD_FILE}")
    )
    found = [folder for folder in folders if folder.name == run]
    if not folders:
        check_exists(results_dir)
    if not found:
        raise unknown_name(f"run in {results_dir}", run, {folder.name for folder in folders})
    if len(found) > 1:
        places = ", ".join(map(str, found))
        raise ConfigurationError(f"run {run!r} is in several experiments; give the folder of one: {places}")
    return found[0]
