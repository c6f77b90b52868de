"""What can be chosen: the YAML files of conf/ are the registry. `poolbench list`, and the check of names."""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from poolbench.cli.place import place
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.folders import require_folder
from poolbench.paths import conf_dir, experiments_dir
from poolbench.record import GROUPS as OF_A_CELL

GROUPS = (*OF_A_CELL, "logger", "launcher", "experiment")
# What stands for none of a group; the others must be chosen.
WITHOUT = {
    "head": "a head that is left out is none; take it away with ~head where an experiment sets one",
    "logger": "logger=none is the record alone",
    "experiment": "leave it out",
    "launcher": "launcher=serial runs one cell after another",
}
CHOSEN = "one must be chosen; see `poolbench list {group}`"
# Only what is plainly a list of names is checked here; glob(*), choice(...) and quotes are Hydra's to read.
PLAIN = re.compile(r"[\w/-]+(,[\w/-]+)*")
# Several at once, for a group that takes them: logger=[csv,wandb]. Of the others Hydra would merge them into one.
AT_ONCE = ("logger",)
SEVERAL = re.compile(rf"\[({PLAIN.pattern})\]")


def add_to(commands: Any) -> None:
    """Add `poolbench list`."""
    command = commands.add_parser("list", help="list all choices of a group, a line each")
    command.add_argument("group", nargs="?", help=f"one of {', '.join(GROUPS)}; without it, all of them")
    command.add_argument(
        "--config-dir", "-cd", type=place, metavar="DIR", help="an additional folder of configurations"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what there is."""
    if arguments.group is not None and arguments.group not in GROUPS:
        raise unknown_name("group", arguments.group, GROUPS)
    further = [require_folder(arguments.config_dir, "--config-dir")] if arguments.config_dir else []
    for group in [arguments.group] if arguments.group else GROUPS:
        if arguments.group is None:
            print(f"{group}=")
        found = names(group, further)
        width = max(map(len, found), default=0)
        for name in sorted(found):
            indent = "" if arguments.group else "  "
            print(f"{indent}{name:{width}}  {describe(found[name])}".rstrip())
    return 0


def names(group: str, further: Iterable[Path] = ()) -> dict[str, Path]:
    """Return the choices of a group by name: conf/'s, and those of `further` configuration folders."""
    folders = [experiments_dir() if group == "experiment" else conf_dir() / group]
    folders += [folder / group for folder in further]
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for folder in folders
        for path in sorted(folder.rglob("*.yaml"))
    }


def describe(path: Path) -> str:
    """Return the first comment of a YAML file that is not one of Hydra's directives."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if text and not text.startswith("@package"):
            return text
    return ""


def check(overrides: Sequence[str], further: Sequence[Path] = ()) -> None:
    """Raise `ConfigurationError` for a choice that is not there, the nearest name first, before Hydra is loaded."""
    for override in overrides:
        key, equals, value = override.partition("=")
        group = key.lstrip("+")
        if equals and group == "reference_backbone" and PLAIN.fullmatch(value) and value != "null":
            known = names("backbone", further)
            if value not in known:
                raise unknown_name("backbone", value, known)
        if not equals or group not in GROUPS:
            continue
        if several := SEVERAL.fullmatch(value.replace(" ", "")):
            if group not in AT_ONCE:
                raise ConfigurationError(
                    f"`{group}` takes one name at a time, got {value}; to compare several write {group}={several[1]}"
                )
            value = several[1]
        if not value:
            raise ConfigurationError(f"`{override}` needs a name; see `poolbench list {group}`")
        if re.fullmatch(r"[\w/-]+( +[\w/-]+)+", value):
            raise unknown_name(group, value, names(group, further))
        if not PLAIN.fullmatch(value):
            continue
        known = names(group, further)
        for name in value.split(","):
            if name == "null":
                raise ConfigurationError(f"`{override}`: {WITHOUT.get(group, CHOSEN.format(group=group))}")
            if name not in known:
                raise unknown_name(group, name, known)
