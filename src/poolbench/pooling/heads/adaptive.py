"""Heads that pool the map to a fixed grid, whatever its size, and flatten it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.pooling.bases.arguments import pair, whole_number
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.work import of_cells


def said_of_grid(grid: Sequence[int], map_size: Sequence[int]) -> str:
    """Return what is to be said of a grid finer than the map, whose values then stand in several cells; else "".

    Args:
        grid: its rows and columns.
        map_size: (H, W).
    """
    (rows, columns), (height, width) = grid, map_size
    finer = rows > height or columns > width
    return f"a {rows}x{columns} grid of a {height}x{width} map: values are repeated" if finer else ""


def largest_of_cells(x_BCHW: Tensor, rows: int, columns: int) -> Tensor:
    """Return the largest value of each cell of a grid, (B, C, rows, columns); of whole numbers, too.

    Cell i of n along a side of length s reaches from ⌊i·s/n⌋ to ⌈(i + 1)·s/n⌉.

    >>> import torch
    >>> largest_of_cells(torch.tensor([[[[1, 2, 3]]]]), 1, 2).tolist()
    [[[[2, 3]]]]
    """
    if x_BCHW.is_floating_point():
        return F.adaptive_max_pool2d(x_BCHW, (rows, columns))
    for dim, count in ((-1, columns), (-2, rows)):
        size = x_BCHW.shape[dim]
        ends = [(at * size // count, -(-(at + 1) * size // count)) for at in range(count)]
        cells = [x_BCHW.narrow(dim, first, last - first).amax(dim) for first, last in ends]
        x_BCHW = torch.stack(cells, dim)
    return x_BCHW


class AdaptivePool2dFlatten(HeadPool2d):
    """A pooling to a grid of `output_size` cells, flattened; a subclass says how a cell is pooled.

    Args:
        output_size: rows and columns of the grid, or one number for both.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C · rows · columns). Cells overlap by a row or column if the grid does not divide the
    size. A grid may be finer than the map, as in torch: then values are repeated in several cells, and there are more
    features without more information. `remark` and the audit say so.
    """

    permutes = False

    def __init__(self, output_size: int | Sequence[int] = 2, *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        self.output_size = pair("output_size", output_size)

    def features_of(self, channels: int) -> int:
        """Return C · rows · columns."""
        return channels * self.output_size[0] * self.output_size[1]

    def remark(self, map_size: Sequence[int]) -> str:
        """Say so where the grid is finer than the map.

        >>> AdaptivePool2dFlatten(2).remark((1, 1)), AdaptivePool2dFlatten(2).remark((2, 3))
        ('a 2x2 grid of a 1x1 map: values are repeated', '')
        """
        return said_of_grid(self.output_size, map_size)

    def extra_repr(self) -> str:
        """Show the grid."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2dFlatten(AdaptivePool2dFlatten):
    """The mean of each cell of a grid, flattened.

    >>> import torch
    >>> AdaptiveAvgPool2dFlatten(output_size=(1, 2))(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[2.0, 4.0]]
    """

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C · rows · columns)."""
        return F.adaptive_avg_pool2d(x_BCHW, self.output_size).flatten(1)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return as many as the cells have values: additions and a division."""
        return channels * of_cells(height, width, [self.output_size], maximum=False)


class AdaptiveMaxPool2dFlatten(AdaptivePool2dFlatten):
    """The largest value of each cell of a grid, flattened.

    >>> import torch
    >>> AdaptiveMaxPool2dFlatten(output_size=(1, 2))(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[3.0, 6.0]]
    """

    def selects(self, height: int, width: int) -> bool:
        """Return True: every feature is a value of the map."""
        return True

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C · rows · columns)."""
        return largest_of_cells(x_BCHW, *self.output_size).flatten(1)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return one less than each cell has values."""
        return channels * of_cells(height, width, [self.output_size], maximum=True)


class AdaptivePool1dFlatten(HeadPool1d, AdaptivePool2dFlatten):
    """A pooling of sequences to `output_size` cells, flattened: (B, C, L) → (B, C · cells).

    Args:
        output_size: how many cells.
        implementation: see `HeadPool2d`.
    """

    def __init__(self, output_size: int = 2, *, implementation: str = "fast") -> None:
        super().__init__((1, whole_number("output_size", output_size)), implementation=implementation)

    def extra_repr(self) -> str:
        """Show the number of cells."""
        return f"output_size={self.output_size[1]}"


class AdaptiveAvgPool1dFlatten(AdaptivePool1dFlatten, AdaptiveAvgPool2dFlatten):
    """The mean of each cell of a sequence, flattened.

    >>> import torch
    >>> AdaptiveAvgPool1dFlatten(output_size=2)(torch.tensor([[[1.0, 2.0, 3.0, 6.0]]])).tolist()
    [[1.5, 4.5]]
    """


class AdaptiveMaxPool1dFlatten(AdaptivePool1dFlatten, AdaptiveMaxPool2dFlatten):
    """The largest value of each cell of a sequence, flattened.

    >>> import torch
    >>> AdaptiveMaxPool1dFlatten(output_size=2)(torch.tensor([[[1.0, 2.0, 3.0, 6.0]]])).tolist()
    [[2.0, 6.0]]
    """
