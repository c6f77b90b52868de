"""What happens where memory ends: an error of a kind of its own, instead of the end of the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from poolbench.data.memory import available_bytes

# What torch's own allocator and those of its libraries say on a CPU, where the error is a bare RuntimeError.
SAYINGS = ("can't allocate memory", "not enough memory", "out of memory", "could not create a memory", "bad_alloc")
# Of the available memory, what others may take while a measurement runs.
KEPT_FREE = 0.1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory was not enough, on a GPU or on a CPU.

    >>> is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."))
    True
    >>> is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error) for saying in SAYINGS)


@contextmanager
def memory_kept_free(device: torch.device, most_bytes: int | None = None) -> Iterator[None]:
    """Let the process take at most so much more memory; beyond it an allocation is an error.

    Linux promises more memory than there is and ends the process that uses it: a batch too large would take with it
    the figures of the smaller ones. On a GPU, and elsewhere than on Linux, nothing is done.

    Args:
        device: where the work runs.
        most_bytes: more than the process has now; None: what is available, less a tenth.
    """
    taken = _data_bytes() if device.type == "cpu" else None
    if taken is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    more = int((1 - KEPT_FREE) * available_bytes()) if most_bytes is None else most_bytes
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([taken + more, *known]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes(path: Path = Path("/proc/self/status")) -> int | None:
    """Return the size of this process's data, as its limit counts it; None where it is not known."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:")), None)
