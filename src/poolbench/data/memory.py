"""How much memory a dataset may take."""

import os
from pathlib import Path

MIB = 2**20


def available_bytes() -> int:
    """Return the memory that this process could still take: the machine's, or its control group's where less."""
    amounts = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                amounts.append(int(line.split()[1]) * 1024)
    except OSError:
        pass
    if not amounts:  # not Linux, or a Linux that does not say: assume that half of the memory is free
        amounts.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            amounts.append(int(limit) - int((group / "memory.current").read_text()))
    except OSError:
        pass  # no control group of the second version: the machine's figure holds
    return max(0, min(amounts))


def limit_bytes(memory_limit_mib: float | None) -> int:
    """Return what the decoded images may take: the given limit, or half of the available memory."""
    return available_bytes() // 2 if memory_limit_mib is None else int(memory_limit_mib * MIB)
