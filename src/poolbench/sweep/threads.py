"""How many threads each process may take: those processors that nobody else uses when the sweep starts."""

import os
import time
from pathlib import Path
from typing import Any

from poolbench.checks import is_whole
from poolbench.errors import ConfigurationError

AUTO = "auto"
# Long enough for ten ticks of every processor.
LOOK_S = 0.3
QUOTA = Path("/sys/fs/cgroup/cpu.max")
STAT = Path("/proc/stat")


def checked_threads(value: Any) -> int | None:
    """Return `threads=` as a number, None for `auto` (null means the same)."""
    if value is None or value == AUTO:
        return None
    if not is_whole(value) or value < 1:
        raise ConfigurationError(f"`threads` must be auto or a whole number of at least 1, got {value!r}")
    return int(value)


def free_processors(look_s: float = LOOK_S) -> int:
    """Return how many of this process's processors are free, by a look of `look_s` seconds; at least 1."""
    allowed = allowed_processors()
    busy = _busy(look_s)
    return max(1, round(allowed - busy)) if busy is not None else allowed


def allowed_processors() -> int:
    """Return how many processors this process may use: those it is bound to, and what its container allows."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return max(1, min(bound, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return bound


def divided(threads: int | None, workers: int, free: int) -> int:
    """Return the threads of each of several workers: as asked, else the free processors parted among them.

    >>> divided(None, 2, 5), divided(None, 4, 2), divided(3, 4, 2)
    (2, 1, 3)
    """
    return threads if threads is not None else max(1, free // workers)


def _busy(look_s: float) -> float | None:
    """Return how many processors were busy during the look; None where the system does not say."""
    before = _times()
    if before is None:
        return None
    time.sleep(look_s)
    after = _times()
    if after is None:
        return None
    busy = 0.0
    for number in _numbers() & before.keys() & after.keys():
        total = after[number][0] - before[number][0]
        idle = after[number][1] - before[number][1]
        busy += 1 - idle / total if total > 0 else 0.0
    return busy


def _numbers() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _times() -> dict[int, tuple[int, int]] | None:
    """Return each processor's ticks so far, all and idle ones."""
    try:
        lines = STAT.read_text().splitlines()
    except OSError:
        return None
    found = {}
    for line in lines:
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu":
            values = list(map(int, ticks[:8]))
            found[int(name[3:])] = (sum(values), values[3] + values[4])
    return found
