"""Detail-preserving pooling at the ends of its parameters."""

import pytest
import torch
from torch import nn

from poolbench.pooling import DetailPreservingPool2d


@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize(("log_alpha", "log_power", "expected"), [(1000.0, 0.0, 1.0), (-1000.0, 1000.0, 4.0)])
def test_the_ends_are_the_mean_and_the_value_furthest_from_it(
    log_alpha: float, log_power: float, expected: float, implementation: str
) -> None:
    pool = DetailPreservingPool2d(2, implementation=implementation)
    nn.init.constant_(pool.log_alpha, log_alpha)
    nn.init.constant_(pool.log_power, log_power)
    for scale in (1.0, 1e30):
        x = torch.tensor([[[[0.0, 0.0], [0.0, 4.0]]]]) * scale
        x.requires_grad_()
        y = pool(x)
        assert y.item() == pytest.approx(expected * scale, rel=1e-4)
        gradients = torch.autograd.grad(y / scale, [x, *pool.parameters()])
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
