"""How many threads each process takes."""

from typing import Any

from poolbench.checks import is_whole
from poolbench.errors import ConfigurationError

AUTO = "auto"


def checked_threads(value: Any) -> int | None:
    """Return `threads=` as a number, None for `auto` (null means the same)."""
    if value is None or value == AUTO:
        return None
    if not is_whole(value) or value < 1:
        raise ConfigurationError(f"`threads` must be auto or a whole number of at least 1, got {value!r}")
    return int(value)


def divided(threads: int | None, workers: int, free: int) -> int:
    """Return the threads of each of several workers: as asked, else the free processors parted among them.

    >>> divided(None, 2, 5), divided(None, 4, 2), divided(3, 4, 2)
    (2, 1, 3)
    """
    return threads if threads is not None else max(1, free // workers)
