"""What a figure was measured on: processor, versions, code revision, and the allocator's setting."""

import ctypes
import hashlib
import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from poolbench.errors import unknown_name

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "numpy", "pandas", "torchmetrics")
ALLOCATORS = ("keep", "system")
# malloc.h of the GNU C library
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
_in_force = "system"


@lru_cache
def machine(device: torch.device) -> dict[str, Any]:
    """Return what the machine is: processor, cores, memory, system, versions, and the device's name."""
    cpu, cores = _cpu_name(), os.cpu_count() or 0
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    identity = hashlib.sha256(f"{cpu}/{cores}/{device_name}".encode()).hexdigest()[:8]
    return {
        "machine": cpu,
        "machine_id": identity,
        "cores": cores,
        "memory_gib": _memory_gib(),
        "device": device.type,
        "device_name": device_name,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def revision(path: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout around `path` and whether it was changed since; (None, None) without one."""
    command = ["git", "-C", str(path), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None, None
    lines = done.stdout.splitlines()
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), None)
    if commit in (None, "(initial)"):
        return None, None
    return commit, any(not line.startswith("#") for line in lines)


def set_allocator(setting: str) -> str:
    """Set the C library's allocator for this process, and return what is in force.

    `keep` lets glibc keep freed memory for the next step: a training step frees and takes the same large buffers
    again and again, and giving them back to the system each time means a page fault for each page. Elsewhere than
    with glibc nothing can be set, and `system` is in force.
    """
    global _in_force
    if setting not in ALLOCATORS:
        raise unknown_name("`allocator`", setting, ALLOCATORS)
    if setting == "keep" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        kept = libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1)
        _in_force = "keep" if kept else "system"
    return _in_force


def allocator_in_force() -> str:
    """Return the allocator's setting: `keep`, or `system` where nothing was set."""
    return _in_force


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
