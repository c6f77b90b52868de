"""Maxima of neighbouring windows that share what they have in common."""

import itertools
import math

import pytest
import torch

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.graph import Window
from poolbench.kernels.operator import pooled
from poolbench.kernels.program import program
from poolbench.pooling.windows.blurred_max import sliding_maxima

COUNT = 5
LINES = torch.tensor([*itertools.product((-math.inf, 0.0, 1.0), repeat=COUNT)], dtype=torch.float64)


@pytest.mark.quick(4)
@pytest.mark.parametrize("size", range(1, COUNT + 1))
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_each_window_has_its_largest_value_and_the_first_of_these_the_gradient(size: int, padding: int) -> None:
    for at in range(COUNT - size + 1):
        sliding = program(
            "sliding", COUNT, 0, lambda w, at=at: sliding_maxima(w.masked_fill(-math.inf), size, w.valid)[at]
        )
        x = LINES.view(-1, 1, 1, COUNT).clone().requires_grad_()
        geometry = Geometry((1, COUNT), (1, 1), (0, padding), (1, 1), (1, 2 * padding + 1))
        for window in range(2 * padding + 1):
            first, last = window - padding + at, window - padding + at + size
            inside = LINES[:, max(first, 0) : max(last, 0)]
            if inside.shape[1] == 0:
                continue  # the blur leaves such a window out
            y = pooled(x, None, None, sliding, geometry)[..., window]
            (gradient,) = torch.autograd.grad(y.sum(), x)
            assert torch.equal(y.flatten(), inside.amax(1))
            expected = torch.zeros_like(LINES)
            largest = inside == inside.amax(1, keepdim=True)
            expected[torch.arange(len(LINES)), max(first, 0) + largest.int().argmax(1)] = 1.0
            assert torch.equal(gradient.view_as(LINES), expected)


@pytest.mark.parametrize(("count", "size", "comparisons"), [(4, 2, 3), (5, 3, 5), (6, 4, 6), (7, 3, 8)])
def test_neighbours_share_comparisons(count: int, size: int, comparisons: int) -> None:
    window = Window.of(count, masked=False)
    sliding_maxima(window.values, size)
    assert sum(value.op == "gt" for value in window.graph.values) == comparisons
