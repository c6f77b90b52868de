"""Sizes that are not known yet are compared without a branch in Python."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from poolbench.kernels.sizes import larger, smaller


class Between(nn.Module):
    def forward(self, x: Tensor) -> Any:
        """Return the map's height, not under 4 and not over 8."""
        return x.new_zeros(larger(smaller(x.shape[0], 8), 4))


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_comparison_holds_for_every_size(strict: bool) -> None:
    dynamic = {"x": {0: Dim("n", min=2, max=64)}}
    exported = torch.export.export(Between(), (torch.zeros(6),), dynamic_shapes=dynamic, strict=strict).module()
    assert [len(exported(torch.zeros(n))) for n in (2, 6, 20)] == [4, 6, 8]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace:FutureWarning")
def test_a_traced_comparison_holds_for_every_size() -> None:
    traced = torch.jit.trace(Between(), torch.zeros(6))
    assert [len(traced(torch.zeros(n))) for n in (2, 6, 20)] == [4, 6, 8]
