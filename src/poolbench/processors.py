"""How many processors this process may use, and how many of them nobody else uses at the moment."""

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

# Long enough for ten ticks of every processor.
LOOK_S = 0.3
# Where Linux keeps a container's limit: microseconds of processor time, and in how many.
QUOTA = Path("/sys/fs/cgroup/cpu.max")
STAT = Path("/proc/stat")


def allowed_processors() -> int:
    """Return how many processors this process may use: those it is bound to, and what its container allows."""
    bound = len(_bound())
    try:
        allowed, period = QUOTA.read_text().split()
        return max(1, min(bound, int(allowed) // int(period)))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return bound


def free_processors(look_s: float = LOOK_S) -> int:
    """Return how many of this process's processors are free, by a look of `look_s` seconds; at least 1."""
    allowed = allowed_processors()
    try:
        before = ticks(STAT.read_text())
        time.sleep(look_s)
        after = ticks(STAT.read_text())
    except OSError:  # the system does not say
        return allowed
    bound = _bound()
    return max(1, min(allowed, round(len(bound) - busy(before, after, bound))))


def ticks(stat: str) -> dict[int, tuple[int, int]]:
    """Return each processor's ticks so far, all and idle ones, from the text of Linux's `/proc/stat`.

    >>> ticks("cpu 9 0 0 9\\ncpu0 1 2 3 40 5 6 7 8 0 0\\nintr 1")
    {0: (72, 45)}
    """
    found = {}
    for line in stat.splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name != "cpu":
            values = list(map(int, counts[:8]))
            found[int(name[3:])] = (sum(values), values[3] + values[4])
    return found


def busy(
    before: Mapping[int, tuple[int, int]], after: Mapping[int, tuple[int, int]], numbers: Collection[int]
) -> float:
    """Return how many of the processors of these `numbers` were busy between two counts of `ticks`.

    >>> busy({0: (0, 0), 1: (0, 0)}, {0: (10, 5), 1: (10, 0)}, {0, 1}), busy({0: (0, 0)}, {0: (10, 0)}, {1})
    (1.5, 0.0)
    """
    found = 0.0
    for number in set(numbers) & before.keys() & after.keys():
        total, idle = (now - then for now, then in zip(after[number], before[number], strict=True))
        found += 1 - idle / total if total > 0 else 0.0
    return found


def _bound() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
