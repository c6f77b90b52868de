"""Whether what a run will write can be written: tried at the very places, before anything is computed."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from poolbench.errors import ConfigurationError
from poolbench.whole_file import unwritable

# Of each place's probe: a full disk takes an empty file, and this is what a small record takes.
PROBE_BYTES = 64 * 1024


def require_writable(folders: Iterable[Path], *, what: str = "`results_dir`") -> None:
    """Write and remove a file in each folder, made where it is missing; what was made for the trial goes again.

    Args:
        folders: where files will be written and replaced.
        what: the argument that chose them.

    Raises:
        ConfigurationError: the first that cannot be written, with the reason and what to do.
    """
    for folder in folders:
        try:
            _try(folder)
        except OSError as error:
            raise ConfigurationError(f"{what}: {unwritable(folder, error)}") from error


def require_replaceable(files: Iterable[Path], *, what: str = "`results_dir`") -> None:
    """Raise `ConfigurationError` where a folder stands at the place of a file that will be written."""
    for file in files:
        if file.is_dir() and not file.is_symlink():
            raise ConfigurationError(f"{what}: {file} is a folder, and a file of that name is written; move it")


def _try(folder: Path) -> None:
    made = _make(folder)
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".trial-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            Path(name).unlink(missing_ok=True)
    finally:
        for one in reversed(made):
            try:
                one.rmdir()
            except OSError:  # another process has put something there
                break


def _make(folder: Path) -> list[Path]:
    """Make a folder with its parents, and return those that were not there, from the top."""
    missing = []
    place = folder
    while not place.exists() and place != place.parent:
        missing.append(place)
        place = place.parent
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def require_inside(place: Path, folder: Path) -> None:
    """Raise `ConfigurationError` where a link leads from within `folder` elsewhere: nothing is written through it."""
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"{place} leads to {place.resolve()}, outside {folder}; remove the link")
