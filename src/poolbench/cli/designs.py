"""What commands share that look at networks without training: designs out of overrides, and their flags."""

import argparse
import json
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import answered_by_hydra, compose
from poolbench.errors import ConfigurationError, UnsupportedError

# Is given the designs that can be, with the reasons of those that cannot, by title; returns the exit status.
Look = Callable[[list[Any], dict[str, str], argparse.Namespace], int]


def looked_at(arguments: Sequence[str], flags: argparse.ArgumentParser, look: Look, *, command: str) -> int:
    """Compose designs from the overrides among `arguments`, and look at them; return the exit status.

    Cells that differ in their seed alone are one design. One that cannot be assembled is an error if it is the only
    one; else it is named, and the others are looked at.

    Args:
        arguments: overrides, Hydra's flags and the command's own.
        flags: parser of the command's own.
        look: what is done; each design comes with its network, as (design, assembled).
        command: the command's name.
    """
    known, rest = flags.parse_known_args(list(arguments))
    line = CommandLine.of(command, rest, own=flags)
    if line.is_hydras:
        return answered_by_hydra(line)
    jobs = compose(line)
    from poolbench.cell import Design
    from poolbench.cli.labels import described

    designs: list[Design] = []
    for asked in described(jobs, line):
        design = Design.of(asked.config, asked.labels)
        # Another seed draws other weights, of the same network.
        if {**design.config, "seed": 0} not in [{**other.config, "seed": 0} for other in designs]:
            designs.append(design)
    made, refused = [], {}
    for design in designs:
        try:
            made.append((design, design.assemble()))
        except UnsupportedError as error:
            if len(designs) == 1:
                raise
            refused[design.title] = str(error)
        except ConfigurationError:
            raise
        except Exception as error:  # a custom network may raise anything: the other designs are shown
            refused[design.title] = failure(error)
    return look(made, refused, known)


def failure(error: Exception) -> str:
    """Return in a line that a network failed, and where: what it raises is not known beforehand."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split()) or "no text"
    return f"failed: {type(error).__name__}: {text} (in {last.name}, {Path(last.filename).name}:{last.lineno})"


def console() -> Any:
    """Return a console on standard output, wide enough where there is no terminal."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=max(160, found.width))


def write_text(path: Path, text: str, flag: str) -> None:
    """Write a file whole; what hinders it is the error of a flag."""
    from poolbench.whole_file import replacing

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise ConfigurationError(f"{flag}: {path} cannot be written: {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write what `--json` asks for."""
    write_text(path, json.dumps(value, indent=1) + "\n", "--json")
