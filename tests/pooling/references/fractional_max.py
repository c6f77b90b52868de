"""The evaluation of fractional max pooling once more: regions between rounded edges, one by one."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from poolbench.pooling.windows.fractional_max import FractionalMaxPool1d, FractionalMaxPool2d


def regions(size: int, count: int, overlapping: bool) -> list[slice]:
    """Return the regions whose edges are i·α, rounded to the nearest whole number."""
    if count == size:
        return [slice(at, at + 1) for at in range(size)]
    alpha = Fraction(size - 1 if overlapping else size, count)
    edges = [0]
    for i in range(1, count + 1):
        # The phase is ⌊count/2⌋ of count steps: exactly a half where count is even.
        edge = 0
        while edge + 1 <= i * alpha + Fraction(count // 2, count):
            edge += 1
        edges.append(edge)
    return [slice(a, b + 1 if overlapping else b) for a, b in pairwise(edges)]


def fractional_max(operator: Any, x: Tensor) -> Tensor:
    shape = operator.output_shape(*x.shape[2:])
    rows, columns = (regions(x.shape[2 + axis], shape[axis], operator.overlapping) for axis in (0, 1))
    result = x.new_zeros(*x.shape[:2], *shape)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            result[:, :, i, j] = x[:, :, row, column].flatten(2).max(2).values
    return result


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    FractionalMaxPool2d: fractional_max,
    FractionalMaxPool1d: fractional_max,
}
