"""A kernel run by several threads: torch's own OpenMP team where torch has one, else a pool of Python's threads.

Joining torch's team matters: threads of another one would fight with torch's, which spin for a while after each of its
operations.
"""

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from poolbench.kernels.cpu.library import Kernel

# Fewer values than this for a thread are not worth waking it.
LEAST_WORK = 2**15


@functools.lru_cache(maxsize=1)
def openmp() -> Any | None:
    """Return the OpenMP library that torch uses, None where it is not GNU's."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        library = ctypes.CDLL(str(path))
        if all(hasattr(library, name) for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")):
            library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            library.GOMP_parallel.restype = None
            return library
    return None


@functools.lru_cache(maxsize=1)
def addresses() -> tuple[int, int]:
    """Return where the two functions lie that tell a thread which of how many it is; 0 where there is no OpenMP."""
    library = openmp()
    if library is None:
        return 0, 0
    asked = (library.omp_get_thread_num, library.omp_get_num_threads)
    number, count = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in asked)
    return number, count


@functools.lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="poolbench")


def threads_for(values: int, units: int, most: int) -> int:
    """Return how many of `most` threads a map of so many values, worked on in so many units, is worth."""
    return max(1, min(most, units, values // LEAST_WORK))


def run_by_team(kernel: Kernel, table: bytes, threads: int) -> None:
    """Run a kernel over all its work by several threads; `table` has its arguments, 64 bits each."""
    if (library := openmp()) is not None:
        library.GOMP_parallel(kernel.team, table, threads, 0)
    else:
        pool = _pool(torch.get_num_threads())
        others = [pool.submit(kernel.call_part, table, at, threads) for at in range(1, threads)]
        kernel.call_part(table, 0, threads)
        for other in others:
            other.result()
