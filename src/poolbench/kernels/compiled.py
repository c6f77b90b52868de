"""Where compiled kernels are kept, and what compiling cost."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = "POOLBENCH_KERNEL_CACHE"


@dataclass
class Compiled:
    """What compiling cost this process so far.

    Args:
        made: kernels compiled.
        loaded: kernels taken from the cache folder.
        seconds: that either took.
        unkept: why kernels could not be put into the folder, the first reason.
    """

    made: int = 0
    loaded: int = 0
    seconds: float = 0.0
    unkept: str = ""


COMPILED = Compiled()


def cache_folder() -> Path | None:
    """Return where compiled kernels are kept: `POOLBENCH_KERNEL_CACHE`, else a folder in the user's cache.

    None where neither is named and the user has no home folder.
    """
    named = os.environ.get(FOLDER)
    if named:
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(caches) if caches else Path.home() / ".cache") / "poolbench" / "kernels"
    except RuntimeError:  # what Python says of a user without a home
        return None


def kept(path: Path | None, content: bytes) -> bool:
    """Return whether a file of the cache folder could be written; `COMPILED` notes why it could not."""
    if path is None:
        COMPILED.unkept = COMPILED.unkept or f"no home folder: {FOLDER} or XDG_CACHE_HOME can name one for the cache"
        return False
    try:
        keep(path, content)
    except OSError as error:
        COMPILED.unkept = COMPILED.unkept or f"{path.parent}: {error.strerror or error}"
        return False
    return True


def keep(path: Path, content: bytes) -> None:
    """Write a file of the cache folder, whole or not at all: other processes read it meanwhile.

    Raises `OSError` where the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
