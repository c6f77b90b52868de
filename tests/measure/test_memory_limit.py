"""Running out of memory is an error that says so."""

import sys

import pytest
import torch

from poolbench.measure.memory_limit import is_out_of_memory, memory_kept_free

CPU = torch.device("cpu")
MIB = 2**20


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried ...")])
def test_errors_of_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("Expected more than 1 value"), ValueError("out of memory"), OSError()])
def test_other_errors(error: BaseException) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.skipif(sys.platform != "linux", reason="no limit is set elsewhere")
def test_beyond_the_limit_is_an_error_and_afterwards_none() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_kept_free(CPU, 64 * MIB):
        torch.empty(8 * MIB, dtype=torch.uint8)
        with pytest.raises(RuntimeError) as caught:
            torch.empty(32 * 1024 * MIB, dtype=torch.uint8)  # more than an allocator keeps for itself
    assert is_out_of_memory(caught.value)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    torch.empty(512 * MIB, dtype=torch.uint8)


def test_a_gpus_memory_is_not_the_processs() -> None:
    with memory_kept_free(torch.device("cuda"), 0):
        torch.empty(64 * MIB, dtype=torch.uint8)
