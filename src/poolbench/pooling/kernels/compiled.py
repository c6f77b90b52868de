"""Where compiled kernels are kept, and what compiling cost."""

import os
from dataclasses import dataclass
from pathlib import Path

from poolbench.paths import user_cache

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


def cache_folder() -> Path:
    """Return where compiled kernels are kept: `POOLBENCH_KERNEL_CACHE`, else a folder in the user's cache."""
    named = os.environ.get(FOLDER)
    if named:
        return Path(named)
    return user_cache() / "kernels"
