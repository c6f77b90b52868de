"""Which process on which machine: enough to tell, from another process, whether it is still there."""

import os
import platform
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, as others can find it.

    Args:
        host: the machine's name, for people.
        boot: what names the running system: processes of one boot share a kernel, which frees their locks.
        namespace: within which `pid` has its meaning; empty: not known.
        pid: the process's number.
        started: when it began, in ticks of its system; numbers of processes are given again. None: not known.
        job: the scheduler's name of the job that it belongs to; empty: none.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: int | None
    job: str = ""

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Process":
        """Return the process of a file's content."""
        return cls(**{key: content[key] for key in cls.__dataclass_fields__})

    def content(self) -> dict[str, Any]:
        """Return what a file holds of it."""
        return asdict(self)

    @property
    def is_on_this_system(self) -> bool:
        """Whether it shares this process's kernel."""
        return self.boot == _boot()

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended; False where that cannot be seen from here."""
        if not self.is_on_this_system or not self.namespace or self.namespace != _namespace():
            return False
        return _started(self.pid) != self.started

    @property
    def is_stopped(self) -> bool:
        """Whether it is known to be stopped (SIGSTOP); False where that cannot be seen from here."""
        if not self.is_on_this_system or not self.namespace or self.namespace != _namespace():
            return False
        return _state(self.pid) in ("T", "t")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}" + (f" (job {self.job})" if self.job else "")


def this_process() -> Process:
    """Return the process that asks."""
    job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    name = f"{job}_{task}" if job and task else os.environ.get("SLURM_JOB_ID", "")
    pid = os.getpid()
    return Process(platform.node(), _boot(), _namespace(), pid, _started(pid), name)


@lru_cache
def _boot() -> str:
    try:
        return (PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except OSError:
        return platform.node()


def _namespace() -> str:
    try:
        return str((PROC / "self" / "ns" / "pid").readlink())
    except OSError:
        return ""


def _fields(pid: int) -> list[str]:
    """Return what the system says of a process, from its state on; empty where it is not there."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> int | None:
    fields = _fields(pid)
    return int(fields[19]) if fields and fields[0] not in ("Z", "X") else None


def _state(pid: int) -> str:
    return next(iter(_fields(pid)), "")
