"""Folders that a command is given: the experiments below one, and what is said where one is not there."""

import os
from collections.abc import Iterator
from pathlib import Path

from poolbench.errors import ConfigurationError, unknown_name

# What an experiment's folder holds in numbers, and no experiment.
PASSED_OVER = frozenset({"records", "plan", "speed", "wandb", "trackio"})


def check_exists(folder: Path, *, holds: str = "records") -> None:
    """Raise where there is no results folder of this name, with the nearest that there is.

    Args:
        folder: an experiment's folder, or one that holds several.
        holds: the folder inside it by which others like it are known: `records`, or `plan` of a sweep that began.

    Raises:
        ConfigurationError: it is a file, or not there.
    """
    if folder.is_dir():
        return
    if folder.exists():
        raise ConfigurationError(f"the results folder {folder} is a file; give the folder that holds `{holds}/`")
    made = "give a folder that `poolbench train` made"
    if not folder.parent.is_dir():
        raise ConfigurationError(f"there is no results folder {folder}, nor its parent {folder.parent}; {made}")
    others = results_in(folder.parent, holds=holds)
    if not others:
        raise ConfigurationError(f"there is no results folder {folder}, nor another in {folder.parent}; {made}")
    raise ConfigurationError(f"there is no results folder {folder}: {unknown_name('results', folder.name, others)}")


def results_in(parent: Path, *, holds: str = "records") -> list[str]:
    """Return the names of the results folders in `parent`, those one level further down by their path."""
    found = {path.parent for path in (*parent.glob(f"*/{holds}"), *parent.glob(f"*/*/{holds}")) if path.is_dir()}
    return sorted(str(path.relative_to(parent)) for path in found)


def folders_below(folder: Path) -> Iterator[tuple[Path, frozenset[str], bool]]:
    """Yield each folder below one, itself first, with the names of those in it and whether it is an experiment's.

    Links are followed. Hidden folders are left out, and of an experiment's what it holds in numbers.
    """
    seen: set[str] = set()
    for place, below, _ in os.walk(folder, followlinks=True):
        path, names, real = Path(place), frozenset(below), os.path.realpath(place)
        if real in seen:  # a link to what it lies in, or a second one
            below.clear()
            continue
        seen.add(real)
        is_experiment = "records" in names or (path / "plan" / "cells").is_dir()
        yield path, names, is_experiment
        passed_over = PASSED_OVER if is_experiment else frozenset()
        below[:] = sorted(name for name in names - passed_over if not name.startswith("."))


def experiments_in(folder: Path) -> dict[str, Path]:
    """Return the experiments' folders below a folder, itself among them, by their path in it, sorted."""
    found = {
        path.relative_to(folder).as_posix() if path != folder else folder.resolve().name: path
        for path, _, is_experiment in folders_below(folder)
        if is_experiment
    }
    return dict(sorted(found.items()))


def require_folder(path: str | Path, flag: str) -> Path:
    """Return a folder of configurations that must exist.

    Args:
        path: what was given.
        flag: by which.

    Raises:
        ConfigurationError: it is not there, or no folder.
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    found = "a file" if folder.exists() else "nothing"
    raise ConfigurationError(
        f"{flag} must be a folder of configurations, which holds one for each group, as conf/ does "
        f"(DIR/pooling/NAME.yaml); got {str(path)!r}, where there is {found}: check its path, which is taken from the "
        "working directory"
    )
