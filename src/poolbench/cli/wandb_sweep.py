"""`poolbench wandb-sweep experiment=NAME`: a W&B sweep that runs the same cells as `poolbench train` would."""

import argparse
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import GRIDS, composing
from poolbench.cli.place import place
from poolbench.errors import ConfigurationError
from poolbench.record import write_bytes

USAGE = """Write a W&B sweep configuration with the cells that the same words would give `poolbench train`: each
agent takes one cell after another, and calls poolbench train for it. All share the results folder, where no cell is
trained twice.

  poolbench wandb-sweep experiment=quickstart            writes wandb-sweep-quickstart.yaml
  poolbench wandb-sweep experiment=quickstart seed=0 --into sweep.yaml
  wandb sweep wandb-sweep-quickstart.yaml                gives the sweep's id
  wandb agent ID                                         as many as you like, where poolbench is installed"""
LOGGER = "logger=wandb"


def add_to(commands: Any) -> None:
    """Add `poolbench wandb-sweep`."""
    command = commands.add_parser(
        "wandb-sweep",
        help="write a W&B sweep configuration for the same cells",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("words", nargs="*", help="Hydra overrides and flags, as for poolbench train")
    _flags(command)
    command.set_defaults(run=lambda known: wandb_sweep(known.words))


def _flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--into", type=place, help="the file to write (wandb-sweep-NAME.yaml); - for standard output")
    return parser


def wandb_sweep(given: Sequence[str]) -> int:
    """Write the configuration, one for each grid of an experiment that is the union of several."""
    flags = _flags(argparse.ArgumentParser(prog="poolbench wandb-sweep", add_help=False, allow_abbrev=False))
    arguments, words = flags.parse_known_args(list(given))
    line = CommandLine.of("train", words, own=flags)
    if line.is_hydras:
        raise ConfigurationError(f"{line.flags[0]} asks for no cell, which a sweep needs; `{line}` answers it")
    with composing(line) as composer:
        first = composer.job(composer.overrides[0]).config
    for key in ("until", "tune"):
        if first.get(key):
            raise ConfigurationError(
                f"`{key}` looks at all cells of a sweep together, and each call of an agent trains one; leave it out "
                "here, or use poolbench train"
            )
    name, several = str(first.get("name")), len(composer.grids) > 1
    into = arguments.into or Path(f"wandb-sweep-{name.replace('/', '-')}.yaml")
    for number, grid in enumerate(composer.grids, 1):
        content = configuration(grid, line, name=name, project=_project(first), alone=not several)
        text = yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True)
        if str(into) == "-":
            print(text, end="" if number == len(composer.grids) else "---\n")
            continue
        file = into.with_stem(f"{into.stem}-{number}") if several else into
        write_bytes(file, text.encode())
        cells = math.prod(map(len, grid.values()))
        print(f"{file}: {cells} cells; start it with: wandb sweep {shlex.quote(str(file))}")
    return 0


def configuration(
    grid: Mapping[str, Sequence[str]], line: CommandLine, *, name: str, project: str, alone: bool = True
) -> dict[str, Any]:
    """Return the sweep: a grid over what the overrides and the experiment sweep over, all else in the command.

    Args:
        grid: for each key the overrides that it is swept over.
        line: what was asked for.
        name: the experiment's.
        project: W&B's.
        alone: whether there is no other grid, which a call of the agent's must not add again.
    """
    values = {key: [override.partition("=")[2] for override in overrides] for key, overrides in grid.items()}
    swept = {key: found for key, found in values.items() if len(found) > 1}
    if not swept:  # W&B takes no sweep without a parameter
        key = "seed" if "seed" in values else next(iter(values), "seed")
        swept = {key: values.get(key, ["0"])}
    fixed = [f"{key}={found[0]}" for key, found in values.items() if key not in swept]
    logger = [] if any(key.lstrip("+") == "logger" for key in values) else [LOGGER]
    grids = [] if alone else [f"{GRIDS}=null"]
    return {
        "name": name,
        "project": project,
        "description": f"the cells of: {line}",
        "method": "grid",
        "program": "poolbench",
        "command": ["${env}", "poolbench", "train", *line.flags, *grids, *fixed, *logger, "${args_no_hyphens}"],
        "parameters": {key: {"values": [_plain(value) for value in found]} for key, found in swept.items()},
    }


def _plain(value: str) -> str | int:
    """Return a value as W&B shows it best: a whole number as one, all else as it is written.

    >>> [_plain(value) for value in ("3", "007", "1e-3", "max")]
    [3, '007', '1e-3', 'max']
    """
    return int(value) if value.isdecimal() and str(int(value)) == value else value


def _project(config: Any) -> str:
    return str(((config.get("logger") or {}).get("wandb") or {}).get("project") or "poolbench")
