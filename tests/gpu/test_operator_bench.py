"""The operators' bench on a GPU: kernels are captured as a graph, and timed without what launching them takes."""

import torch
from torch import nn

from poolbench.measure.operators import Shape, operator_speed
from poolbench.pooling import GlobalGeMPool2d

TINY = Shape("tiny", (2, 3, 8, 8), 3, 2, 1)


def test_kernels_are_captured() -> None:
    device = torch.device("cuda")
    for operator in (nn.AvgPool2d(3, 2, 1), GlobalGeMPool2d()):
        row = operator_speed(
            operator, TINY, layout="channels_last", dtype="float16", budget_s=0.05, half_width=0.5, device=device
        )
        assert row["graph_reason"] == ""
        assert 0 < row["backward_graph_ms"] < row["backward_ms"]
