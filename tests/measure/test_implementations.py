"""What ran in a network: window operators and heads, asked about a whole batch."""

import pytest
import torch
from torch import nn

from poolbench.measure.implementations import implementations, summary
from poolbench.pooling import AvgPool2d, GlobalAvgPool2d, GlobalGeMPool2d, MaxPool2d


def ran(*modules: nn.Module, batch_size: int = 1, layout: torch.memory_format = torch.contiguous_format) -> str:
    found = implementations(
        nn.Sequential(*modules),
        (3, 32, 32),
        device=torch.device("cpu"),
        dtype=torch.float32,
        memory_format=layout,
        batch_size=batch_size,
    )
    assert len(found) == sum(hasattr(module, "implementation_for") for module in modules)
    assert all((each["reason"] == "") == (each["ran"] == "fast") for each in found.values())
    return summary(found)


def test_a_head_without_a_kernel_is_torch() -> None:
    assert ran(nn.MaxPool2d(2), GlobalAvgPool2d()) == "torch"
    assert ran(MaxPool2d(2), GlobalAvgPool2d()) == "fast + torch"
    assert ran(MaxPool2d(2), AvgPool2d(2), nn.AdaptiveAvgPool2d(1)) == "fast"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_batch_decides_for_a_head(layout: torch.memory_format) -> None:
    head = GlobalGeMPool2d()
    assert ran(head, layout=layout) == "torch"
    assert ran(head, batch_size=128, layout=layout) == "fast"
    assert ran(GlobalGeMPool2d(implementation="torch"), batch_size=128, layout=layout) == "torch"
