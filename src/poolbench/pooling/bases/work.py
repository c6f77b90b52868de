"""What an operator costs: its own operations, and the bytes that it must read and write.

An operation is one addition, subtraction, multiplication, division, comparison, square root, exponential, logarithm
or power. Each counts as 1: a multiply-add is 2, an absolute value 2 (a comparison and a subtraction), a sigmoid 4, a
reciprocal root 2, a ReLU or another clamp at one side 1. Nothing are choices between values, checks for NaN, address
arithmetic, random numbers, copies and conversions; nor is what depends on no value of the map (a share made of a
learned logit, the matrix of a transform), because it is made once for any number of images.

Counted is one image in evaluation, and the formula as the operator computes it, what guards it against overflow
included; every window counts as a whole one, at a border too. It is a count, not a time: an exponential takes longer
than an addition, and a compiled kernel or torch may find a shorter way to the same numbers.

Bytes are the least that any implementation moves: the map read once, all of it, the parameters read once, the result
written once. Buffers are not counted.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from poolbench.pooling.bases.arguments import is_whole

ABSOLUTE = 2
SIGMOID = 4


@dataclass(frozen=True)
class Work:
    """What one image costs in evaluation; the module says what is counted.

    Args:
        operations: arithmetic operations and comparisons.
        bytes_read: of the map and of the parameters.
        bytes_written: of the result.
    """

    operations: int
    bytes_read: int
    bytes_written: int


def work_of(operator: nn.Module, operations: int, *, values_in: int, values_out: int, itemsize: int) -> Work:
    """Return the work of an operator that takes and gives so many values of `itemsize` bytes.

    Raises:
        ValueError: `itemsize` is no whole number of at least 1.

    >>> work_of(nn.Linear(4, 2), 18, values_in=4, values_out=2, itemsize=4)
    Work(operations=18, bytes_read=56, bytes_written=8)
    """
    if not is_whole(itemsize) or itemsize < 1:
        raise ValueError(f"`itemsize` must be a whole number of at least 1, got {itemsize!r}")
    learned = sum(parameter.numel() for parameter in operator.parameters())
    return Work(operations, (values_in + learned) * itemsize, values_out * itemsize)


def checked_shape(input_shape: Sequence[int], names: str) -> tuple[int, ...]:
    """Return the shape of one image as a tuple.

    Args:
        input_shape: what was given.
        names: of the dimensions, for the message: `"C, H, W"`.

    Raises:
        ValueError: it has another number of dimensions, or one is below 1.

    >>> checked_shape([3, 8, 8], "C, H, W")
    (3, 8, 8)
    """
    shape = tuple(input_shape)
    if len(shape) != names.count(",") + 1 or not all(isinstance(size, int) and size >= 1 for size in shape):
        raise ValueError(f"`input_shape` must be ({names}), whole numbers of at least 1, got {input_shape!r}")
    return shape


def of_convolution(values_in: int, results: int, *, bias: bool) -> int:
    """Return the operations of a convolution or a matrix product.

    Args:
        values_in: how many values each result sees.
        results: how many there are.
        bias: whether a number is added to each.

    >>> of_convolution(9, 2, bias=True)
    38
    """
    return (2 * values_in + bias) * results


def of_softmax(size: int) -> int:
    """Return the operations of a softmax: the largest, differences, exponentials, their sum, divisions.

    >>> of_softmax(2)
    8
    """
    return 5 * size - 2


def of_sort(size: int) -> int:
    """Return the comparisons of a sort: every pair where the numbers are few, else n·⌈log₂ n⌉ as in merging.

    >>> of_sort(4), of_sort(64)
    (6, 384)
    """
    return min(size * (size - 1) // 2, size * math.ceil(math.log2(size)))


def of_cells(height: int, width: int, grids: Iterable[tuple[int, int]], *, maximum: bool) -> int:
    """Return the operations of pooling a map to the cells of grids, cell i of n from ⌊i·s/n⌋ to ⌈(i + 1)·s/n⌉.

    Args:
        height, width: of the map.
        grids: rows and columns of each grid.
        maximum: whether cells give their maximum (a comparison less than they have values) or their mean.

    >>> of_cells(4, 4, [(2, 2)], maximum=False), of_cells(4, 4, [(2, 2)], maximum=True)
    (16, 12)
    """

    def covered(size: int, count: int) -> int:
        return sum(-(-(at + 1) * size // count) - at * size // count for at in range(count))

    return sum(covered(height, rows) * covered(width, columns) - rows * columns * maximum for rows, columns in grids)
