"""The steepness of AutoPool: its gradient where values lie far from 0, and maps of the largest numbers."""

import pytest
import torch
from torch import nn

from poolbench.pooling import AutoPool2d


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (10.0, 0.1), (100.0, 0.1), (1000.0, 0.1)])
def test_the_gradient_of_the_steepness_is_a_variance_wherever_the_values_lie(
    mean: float, std: float, alpha: float
) -> None:
    x = torch.randn(4, 2, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * std + mean
    found = []
    for dtype, implementation in ((torch.float32, "fast"), (torch.float64, "torch")):
        pool = AutoPool2d(2, per="layer", implementation=implementation).to(dtype)
        nn.init.constant_(pool.alpha, alpha)
        pool(x.to(dtype)).sum().backward()
        assert pool.alpha.grad is not None
        found.append(pool.alpha.grad.item())
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_a_border_is_no_value_beside_numbers_beyond_those_of_float32() -> None:
    pool = AutoPool2d(2, 2, 1, per="layer").double()
    nn.init.ones_(pool.alpha)
    x = torch.full((1, 1, 2, 2), -1e39, dtype=torch.float64)
    assert torch.equal(pool(x), x)
