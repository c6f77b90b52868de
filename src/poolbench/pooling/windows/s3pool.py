"""Stochastic spatial sampling: of the dense maxima, random rows and columns."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from poolbench.kernels.precision import match_input
from poolbench.kernels.sizes import smaller
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.shared.draws import Draws
from poolbench.pooling.shared.index_select import select_places
from poolbench.pooling.windows.avg import AvgPool2d
from poolbench.pooling.windows.dense_max import DenseMax2d


class S3Pool2d(WindowPool2d):
    """The maximum of each window at stride 1; in training, a random selection of rows and columns of these.

    Step 1: z_t = max of the window that begins at row (column) t. Step 2, along each dimension: z is divided into cells
    of g = `grid_size` positions, of which g / s are kept, in order; all selections without repetition are equally
    likely. One selection is used for all images and channels of a forward pass. In evaluation, a result is the mean of
    each s x s block of z: with g = s, exactly the expectation of training.

    The larger g, the more the map is distorted; with g = s each result comes from its own block.

    At the border: z has s positions for each result (H' · s rows), without those whose windows would contain no value.
    So with kernel_size=2 the last window extends beyond the map, and z is as large as the map, as in the article. The
    last cell may be smaller than g; it contributes as many rows as are still needed. Padding holds no value.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        grid_size: g, rows and columns of a cell, or one number for both; a multiple of the stride. None means the
            stride. More than the map means that rows are chosen from all of it.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Zhai et al., S3Pool: Pooling with Stochastic Spatial Sampling (2017), and the authors' code. There z is one
    row smaller, because no window extends beyond the map, and the blocks of the evaluation lie one position earlier; if
    g does not divide the map, the remainder belongs to the last cell. Their networks for images of 32 x 32 have g = 16
    at the first pooling and 8 at the second.

    >>> S3Pool2d(2).eval()(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item()  # of z = 4
    4.0
    """

    small_maps: ClassVar[str] = "maxima at stride 1, drawing rows and columns, and copying those"
    keeps_range: ClassVar[bool] = False
    is_random: ClassVar[bool] = True

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        grid_size: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.grid_size = self.stride if grid_size is None else self._sizes("grid_size", grid_size)
        if any(grid % step for grid, step in zip(self.grid_size, self.stride, strict=True)):
            raise ValueError(f"`grid_size` must be a multiple of stride={self.stride}, got {grid_size!r}")
        self.maxima = DenseMax2d(self.kernel_size, self.padding, self.dilation, implementation)
        self.mean = AvgPool2d(self.stride, ceil_mode=True, implementation=implementation)
        self.draws = Draws()

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        sizes = x_BCHW.shape[-2:]
        shape = self.output_shape(sizes[0], sizes[1])
        places = self._places(sizes[0], sizes[1])
        z_BCHW = self.maxima(x_BCHW, places)
        if not self.training:
            return match_input(x_BCHW, self.mean(z_BCHW))
        rows, columns = (self._chosen(axis, places[axis], shape[axis], x_BCHW.device) for axis in (0, 1))
        return match_input(x_BCHW, select_places(z_BCHW, rows, columns))

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return k² − 1 comparisons for each maximum at stride 1, and s² operations for each mean of s x s of them."""
        rows, columns = self.output_shape(height, width)
        means = sum(self.mean.operations.values()) * channels * rows * columns
        return self.maxima.operations_on(channels, *self._places(height, width)) + means

    def _places(self, height: int, width: int) -> tuple[int, int]:
        """Return how many rows and columns z has."""
        rows, columns = self.output_shape(height, width)
        below, right = height + self.padding[0], width + self.padding[1]
        return smaller(rows * self.stride[0], below), smaller(columns * self.stride[1], right)

    def _chosen(self, axis: int, places: int, count: int, device: torch.device) -> Tensor:
        """Return `count` rows or columns of `places`, in their order, drawn cell by cell."""
        size = self.grid_size[axis]
        each = size // self.stride[axis]
        cells = (count + each - 1) // each
        drawn = self.draws.numbers(cells * size)
        if isinstance(drawn, list):
            cell_by_cell = (range(first, min(first + size, places)) for first in range(0, cells * size, size))
            orders = [sorted(cell, key=drawn.__getitem__)[:each] for cell in cell_by_cell]
            # Of the last cell, what was drawn first.
            orders[-1] = orders[-1][: count - (cells - 1) * each]
            return torch.tensor([place for order in orders for place in sorted(order)], device=device)
        drawn = drawn.view(cells, size)
        where = torch.arange(cells * size, device=drawn.device).view(cells, size)
        # What is beyond the last place comes last, and of the last cell only what is missing is kept.
        order = torch.where(where < places, drawn, 2.0).argsort(dim=1, stable=True)[:, :each]
        rank = torch.arange(cells * each, device=drawn.device).view(cells, each)
        kept = torch.where(rank < count, order, size).sort(dim=1).values
        return (kept + where[:, :1]).flatten()[:count]

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the maxima and means of this map, and where it is `"torch"` why."""
        return self.mean.implementation_for(x_BCHW)

    def extra_repr(self) -> str:
        """Show the geometry and the cells."""
        return f"{super().extra_repr()}, grid_size={self.grid_size}"


class S3Pool1d(WindowPool1d, S3Pool2d):
    """`S3Pool2d` for sequences.

    >>> S3Pool1d(2).eval()(torch.tensor([[[1.0, 2.0, 3.0, 5.0]]])).tolist()  # of z = 2, 3, 5, 5
    [[[2.5, 5.0]]]
    """
