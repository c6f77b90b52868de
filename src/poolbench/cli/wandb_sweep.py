"""`poolbench wandb-sweep experiment=NAME`: a W&B sweep that runs the same cells as `poolbench train` would."""

import argparse
import math
import shlex
from pathlib import Path
from typing import Any

import yaml

from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import Composer, composing
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
        help="a W&B sweep configuration of the same cells",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("words", nargs="*", help="Hydra overrides, as for poolbench train")
    command.add_argument("--into", type=Path, help="the file to write (wandb-sweep-NAME.yaml); - for standard output")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the configuration."""
    line = CommandLine.of("train", arguments.words)
    with composing(line) as composer:
        first = composer.job(composer.overrides[0]).config
        content = configuration(composer, line, name=str(first.get("name")), project=_project(first))
    text = yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True)
    into = arguments.into or Path(f"wandb-sweep-{str(first.get('name')).replace('/', '-')}.yaml")
    if str(into) == "-":
        print(text, end="")
        return 0
    write_bytes(into, text.encode())
    print(f"{into}: {len(composer.overrides)} cells; start it with: wandb sweep {shlex.quote(str(into))}")
    return 0


def configuration(composer: Composer, line: CommandLine, *, name: str, project: str) -> dict[str, Any]:
    """Return the sweep: a grid over what the overrides and the experiment sweep over, all else in the command.

    Raises `ConfigurationError` where the cells are no grid.
    """
    jobs = [dict(_parted(override) for override in overrides) for overrides in composer.overrides]
    values = {key: list(dict.fromkeys(job[key] for job in jobs)) for key in jobs[0]}
    swept = {key: found for key, found in values.items() if len(found) > 1}
    if math.prod(map(len, swept.values())) != len(jobs):
        raise ConfigurationError("these cells are no grid, which is all that a W&B sweep of this kind goes over")
    if not swept:  # W&B takes no sweep without a parameter
        key = "seed" if "seed" in values else next(iter(values), "seed")
        swept = {key: values.get(key, ["0"])}
    fixed = [f"{key}={found[0]}" for key, found in values.items() if key not in swept]
    logger = [] if any(key.lstrip("+") == "logger" for key in values) else [LOGGER]
    return {
        "name": name,
        "project": project,
        "description": f"the cells of: {line}",
        "method": "grid",
        "program": "poolbench",
        "command": ["${env}", "poolbench", "train", *line.flags, *fixed, *logger, "${args_no_hyphens}"],
        "parameters": {key: {"values": [_plain(value) for value in found]} for key, found in swept.items()},
    }


def _parted(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key, value


def _plain(value: str) -> str | int:
    """Return a value as W&B shows it best: a whole number as one, all else as it is written.

    >>> [_plain(value) for value in ("3", "007", "1e-3", "max")]
    [3, '007', '1e-3', 'max']
    """
    return int(value) if value.isdecimal() and str(int(value)) == value else value


def _project(config: Any) -> str:
    return str(((config.get("logger") or {}).get("wandb") or {}).get("project") or "poolbench")
