"""`poolbench bench`: speed and memory of operators, against torch's own max pooling."""

import argparse
from typing import Any

from poolbench.cli import choices
from poolbench.errors import ConfigurationError, unknown_name

LAYOUTS = ("contiguous", "channels_last")
DTYPES = ("float32", "bfloat16")


def add_to(commands: Any) -> None:
    """Add `poolbench bench`."""
    command = commands.add_parser(
        "bench",
        help="speed and memory of operators, against torch's own",
        description="Time the window operators of conf/pooling beside nn.MaxPool2d, alternating in one process.",
    )
    command.add_argument("variants", nargs="*", help="variants with a window operator; without it, all of them")
    command.add_argument("--quick", action="store_true", help="smaller batches and less time: a first look")
    command.add_argument("--layout", choices=LAYOUTS, action="append", help="memory layout (both)")
    command.add_argument("--dtype", choices=DTYPES, action="append", help="dtype (float32)")
    command.add_argument("--threads", type=int, default=1, help="threads (1: the trustworthy figures)")
    command.add_argument("--budget", type=float, help="seconds for each measurement, at most")
    command.add_argument("--csv", help="also write the rows to this file")
    command.set_defaults(run=run)


def window_specs(variants: list[str]) -> dict[str, dict[str, Any]]:
    """Return the `downsample` specification of each variant that has one."""
    import yaml

    paths = choices.names("pooling")
    for name in variants:
        if name not in paths:
            raise unknown_name("pooling", name, paths)
    specs = {name: (yaml.safe_load(path.read_text()) or {}).get("downsample") for name, path in paths.items()}
    without = [name for name in variants if not specs[name]]
    if without:
        raise ConfigurationError(f"{', '.join(without)} sets no window operator: there is nothing to time against max")
    return {name: spec for name, spec in specs.items() if spec and (not variants or name in variants)}


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and perhaps write the rows."""
    return 0
