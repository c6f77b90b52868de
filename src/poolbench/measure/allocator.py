"""The C library's allocator. It must be set before torch takes its first memory, so this imports no torch."""

import ctypes
import os

from poolbench.errors import unknown_name

ALLOCATORS = ("keep", "system")
# malloc.h of the GNU C library
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


class Allocator:
    """How the C library's allocator of this process is set.

    Attributes:
        in_force: `keep`, or `system` where nothing was set.
    """

    def __init__(self) -> None:
        self.in_force = "system"

    def set(self, setting: str) -> str:
        """Set it, and return what is in force.

        `keep` lets glibc keep freed memory for the next step (`M_MMAP_MAX=0`, `M_TRIM_THRESHOLD=-1`). A training step
        frees and takes the same large buffers again and again; by default they go back to the system each time, and
        each page of the next step's is a page fault. The process then holds its peak of memory until it ends.
        Elsewhere than with glibc nothing can be set, and `system` is in force; a process that keeps cannot go back.

        Raises:
            ConfigurationError: `setting` is neither `keep` nor `system`.
        """
        if setting not in ALLOCATORS:
            raise unknown_name("`allocator`", setting, ALLOCATORS)
        if setting == "keep" and self.in_force != "keep" and _has_glibc():
            libc = ctypes.CDLL(None)
            kept = libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1)
            self.in_force = "keep" if kept else "system"
        return self.in_force


def _has_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False


# There is one in a process.
ALLOCATOR = Allocator()
