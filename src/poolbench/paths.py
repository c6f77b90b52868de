"""Where the configurations lie, in a checkout and in an installed copy, and what is kept for the next time."""

import os
from pathlib import Path

from poolbench.errors import ConfigurationError

PACKAGE = Path(__file__).resolve().parent


def expanded(path: str | Path, argument: str = "") -> Path:
    """Return a path with a leading `~` as the user's home folder.

    Args:
        path: what was given.
        argument: its name, for the message.

    Raises:
        ConfigurationError: nobody knows that home: of a user that is a container's number, or of a name without a user.

    >>> expanded("data", "dataset.root")
    PosixPath('data')
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        named = f"`{argument}` " if argument else ""
        raise ConfigurationError(
            f"{named}must be a path whose `~` can be expanded, but that home is unknown: write it out, or set HOME; "
            f"got {str(path)!r}"
        ) from error


def checkout() -> Path | None:
    """Return the top of the checkout that this code runs from, or None for an installed copy."""
    top = PACKAGE.parent.parent
    return top if (top / "conf" / "config.yaml").is_file() and (top / "pyproject.toml").is_file() else None


def conf_dir() -> Path:
    """Return the folder of the Hydra configurations: `conf/` of a checkout, else the copy inside the package."""
    top = checkout()
    return top / "conf" if top else PACKAGE / "conf"


def experiments_dir() -> Path:
    """Return the folder of the named experiments."""
    top = checkout()
    return top / "experiments" if top else PACKAGE / "conf" / "experiment"


def user_cache() -> Path | None:
    """Return the folder of what is kept for later processes: `poolbench` in the user's cache.

    None where the user has no home folder, as in a container that runs under a number without an account.
    """
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named) / "poolbench"
    try:
        return Path.home() / ".cache" / "poolbench"
    except RuntimeError:  # what Python says of a user without a home
        return None
