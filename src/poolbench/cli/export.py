"""`poolbench export RUN_ID`: a trained cell as ONNX and as a program of `torch.export`, compared with itself."""

import argparse
import sys
from pathlib import Path
from typing import Any

from poolbench.cli.evaluate import find
from poolbench.cli.place import place
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.record import RECORD_FILE, read_record

FORMATS = ("onnx", "torch")
FOLDER = "exports"


def add_to(commands: Any) -> None:
    """Add `poolbench export`."""
    command = commands.add_parser(
        "export",
        help="write a trained cell's network as ONNX and as a torch.export program",
        description="Write RUN_ID.onnx, RUN_ID.pt2 and RUN_ID.json, which says how to use them. Both take examples "
        "as the dataset gives them, (B, C, H, W) or (B, C, L), images as uint8 levels: the normalisation of the "
        "training is inside. They are run again and compared with the network before anything is written.",
    )
    command.add_argument("run_id", help="the run's id, or the path of its folder")
    command.add_argument(
        "--results-dir", type=place, default=Path("results"), help="the folder of experiments (default: %(default)s)"
    )
    command.add_argument("--output", type=place, help=f"the folder to write into (default: {FOLDER}/ in the run's)")
    command.add_argument("--format", default=",".join(FORMATS), help="onnx, torch or both (default: %(default)s)")
    command.add_argument("--batch", type=int, help="a fixed batch size (default: any)")
    command.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the exported files on random examples, and compare (default: yes)",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export; 0 if files were written, 1 if what was exported differs from the network."""
    formats = list(dict.fromkeys(arguments.format.split(",")))
    for format in formats:
        if format not in FORMATS:
            raise unknown_name("format", format, FORMATS)
    if arguments.batch is not None and arguments.batch < 1:
        raise ConfigurationError(f"--batch must be a whole number of at least 1, got {arguments.batch}")
    folder = find(arguments.run_id, arguments.results_dir)
    record = read_record(folder / RECORD_FILE)
    from poolbench.export import DifferenceError, Trained, write_trained

    output = arguments.output or folder / FOLDER
    trained = Trained.of(folder, record)
    try:
        made = write_trained(trained, output, formats, batch=arguments.batch, check=arguments.check)
    except DifferenceError as error:
        print(f"poolbench: error: {record['run_id']}: {error}; nothing was written", file=sys.stderr)
        return 1
    for path, one in made.items():
        found = "not compared" if one.difference is None else f"largest difference {one.difference:.1e}"
        print(f"{path}  {len(one.content) / 2**10:.0f} KiB  {found}")
    print(output / f"{record['run_id']}.json")
    return 0
