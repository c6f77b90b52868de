"""Programs by their digest: an unknown one is an error that says what to do."""

import pytest
import torch

from poolbench.kernels.program import program
from poolbench.kernels.programs import Programs
from poolbench.pooling import LpPool2d


def test_a_program_is_found_by_its_digest() -> None:
    programs, second = Programs(), program("second", 2, 0, lambda window: window.values[1])
    programs.add(second)
    assert programs.of(second.digest) is second


def test_an_unknown_program_is_named() -> None:
    pool, x = LpPool2d(2), torch.full((1, 1, 2, 2), 3.0)
    geometry = [2, 2, 2, 2, 0, 0, 1, 1, 1, 1]
    assert torch.ops.poolbench.window(x, None, None, pool.program.digest, geometry).item() == 3.0
    with pytest.raises(RuntimeError, match=r"got 'absent': construct the pooling operator first"):
        torch.ops.poolbench.window(x, None, None, "absent", geometry)
