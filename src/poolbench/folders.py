"""Folders that a command is given: what is said where one is not there, with the nearest that is."""

from pathlib import Path

from poolbench.errors import ConfigurationError, unknown_name


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
