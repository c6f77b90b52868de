"""What a figure was measured on: processor, versions, code revision."""

import hashlib
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolbench.source import installed

if TYPE_CHECKING:
    # The revision is asked for where torch is not needed at all: torch is imported for the name of a GPU alone.
    import torch

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "numpy", "pandas", "torchmetrics")
GIT_SECONDS = 5
# A git hook sets these; they point git at another repository than the folder's.
GIT_POINTERS = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"})


def machine(device: "torch.device | None" = None) -> dict[str, Any]:
    """Return what the machine is: processor, cores, memory, system, versions, and the device's name.

    `machine_id` is a digest of processor, number of cores and device: figures of equal ones may be compared.
    `device` is the CPU where none is given; `driver` is that of an NVIDIA GPU, else None.
    """
    gpu_name = _gpu_name(device) if device is not None and device.type != "cpu" else ""
    return {**_machine(device.type if device else "cpu", gpu_name), "versions": installed(PACKAGES)}


@lru_cache
def _machine(device_type: str, gpu_name: str) -> dict[str, Any]:
    cpu, cores = _cpu_name(), os.cpu_count() or 0
    device_name = gpu_name or cpu
    return {
        "machine": cpu,
        "machine_id": hashlib.sha256(f"{cpu}/{cores}/{device_name}".encode()).hexdigest()[:8],
        "cores": cores,
        "memory_gib": _memory_gib(),
        "device": device_type,
        "device_name": device_name,
        "driver": _driver() if device_type == "cuda" else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


@lru_cache
def revision(path: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that the package at `path` runs from, and whether it was changed since.

    Changed means that a file which git knows differs, or that `path` holds one which git does not know (a new
    operator). (None, None) where there is no checkout or no git, and for an installed copy, which may well lie inside
    somebody else's checkout. Asked of git once in a process: the code that runs is the code of its start.
    """
    path = path.resolve()
    top = next((folder for folder in (path, *path.parents) if (folder / ".git").exists()), None)
    if top is None:
        return None, None
    inside = path.relative_to(top)
    if {"site-packages", "dist-packages"} & set(inside.parts):
        return None, None
    # One call; without the lock that would make a git command of the user's fail at that moment.
    command = ["git", "--no-optional-locks", "-C", str(top), "status", "--porcelain=v2", "--branch", "-z"]
    environment = {key: value for key, value in os.environ.items() if key not in GIT_POINTERS}
    try:
        done = subprocess.run(
            [*command, "--untracked-files=normal"],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=GIT_SECONDS,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None, None
    lines = done.stdout.split("\0")
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    unknown = [Path(line[2:]) for line in lines if line.startswith("? ")]
    if commit == "(initial)" or any(inside.is_relative_to(folder) for folder in unknown):
        return None, None
    changed = any(line.startswith(("1 ", "2 ", "u ")) for line in lines)
    return commit, changed or any(file.is_relative_to(inside) for file in unknown)


def _gpu_name(device: "torch.device") -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _driver(path: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """Return the version of the NVIDIA driver's kernel module: the first word of figures and dots alone."""
    try:
        words = path.read_text().split()
    except OSError:
        return None
    return next((word for word in words if "." in word and word.replace(".", "").isdigit()), None)


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
