"""Contiguous windows that do not overlap and hang over the border: the columns of a window are in two wide vectors."""

from typing import Any

import pytest
import torch

from poolbench.pooling import MaxPool2d, SoftPool2d, TapPool2d


@pytest.mark.quick(8)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": 2, "padding": 1},
        {"kernel_size": 2, "stride": 3, "padding": 1},
        {"kernel_size": (2, 4), "padding": (1, 2), "ceil_mode": True},
        {"kernel_size": (1, 2), "stride": (1, 4), "padding": (0, 1), "dilation": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [MaxPool2d, SoftPool2d], ids=["max", "soft"])
def test_each_value_gets_its_own_gradient(kind: Any, geometry: dict[str, Any], dtype: torch.dtype) -> None:
    pool: TapPool2d = kind(**geometry)
    for width in (48, 96):
        x = torch.randn(2, 3, 7, width, generator=torch.Generator().manual_seed(width), dtype=torch.float64).to(dtype)
        found = []
        for implementation in ("fast", "torch"):
            pool.implementation = implementation
            leaf = x.clone().requires_grad_()
            y = pool(leaf)
            gradient = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).to(dtype).view(y.shape)
            found.append((y.detach(), *torch.autograd.grad(y, leaf, gradient)))
        tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2}[dtype]
        torch.testing.assert_close(*found, rtol=tolerance, atol=tolerance)
