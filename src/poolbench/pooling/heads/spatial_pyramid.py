"""Pools over grids from coarse to fine, side by side."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.arguments import is_whole
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.work import of_cells
from poolbench.pooling.heads.adaptive import largest_of_cells


class SpatialPyramidPool2d(HeadPool2d):
    """The map pooled to n x n cells for each level n, all flattened and concatenated.

    Cell i of n along a side of length s reaches from ⌊i·s/n⌋ to ⌈(i + 1)·s/n⌉: cells overlap if n does not divide s.

    Args:
        levels: how many cells each level has along a side.
        mode: `"max"` as in the source, or `"avg"`.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C · Σ n²), ordered by level, then by channel, then in row-major order.

    Raises:
        ValueError: an argument breaks its rule, or the map is smaller than a level (found at the first forward).

    Source: He, Zhang, Ren and Sun, Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition
    (2014), section 2.2; cells by its appendix A (second-hand: a transcript).

    >>> SpatialPyramidPool2d(levels=(1, 2))(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[6.0, 1.0, 2.0, 3.0, 6.0]]
    """

    permutes = False

    def __init__(self, levels: Sequence[int] = (1, 2, 4), mode: str = "max", *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        many = isinstance(levels, Sequence) and not isinstance(levels, str) and len(levels) > 0
        if not many or not all(is_whole(n) and n >= 1 for n in levels):
            raise ValueError(f"`levels` must be a list of whole numbers of at least 1, got {levels!r}")
        if mode not in ("max", "avg"):
            raise ValueError(f"`mode` must be 'max' or 'avg', got {mode!r}")
        self.levels, self.mode = tuple(map(int, levels)), mode

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C · Σ n²)."""
        sizes = x_BCHW.shape[-self.spatial :]
        if max(self.levels) > min(sizes):
            raise ValueError(f"`levels` must be at most the map's size {'x'.join(map(str, sizes))}, got {self.levels}")
        if self.mode == "max":
            return torch.cat([largest_of_cells(x_BCHW, *grid).flatten(1) for grid in self._grids()], dim=1)
        x = upcast(x_BCHW)
        return torch.cat([F.adaptive_avg_pool2d(x, grid).flatten(1) for grid in self._grids()], dim=1).to(x_BCHW.dtype)

    def _grids(self) -> list[tuple[int, int]]:
        """Return rows and columns of each level; in one dimension they have one row."""
        return [(n if self.spatial == 2 else 1, n) for n in self.levels]

    def selects(self, height: int, width: int) -> bool:
        """Return whether each feature is the largest value of a cell."""
        return self.mode == "max"

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return as many as all cells have values, for maxima one less for each cell."""
        return channels * of_cells(height, width, self._grids(), maximum=self.mode == "max")

    def features_of(self, channels: int) -> int:
        """Return C · Σ n², in one dimension C · Σ n."""
        return channels * sum(rows * columns for rows, columns in self._grids())

    def extra_repr(self) -> str:
        """Show levels and mode."""
        return f"levels={self.levels}, mode={self.mode!r}"


class SpatialPyramidPool1d(HeadPool1d, SpatialPyramidPool2d):
    """A sequence pooled to n cells for each level n, all flattened and put side by side: (B, C, L) → (B, C · Σ n).

    >>> SpatialPyramidPool1d(levels=(1, 2))(torch.tensor([[[1.0, 2.0, 3.0, 6.0]]])).tolist()
    [[6.0, 2.0, 6.0]]
    """
