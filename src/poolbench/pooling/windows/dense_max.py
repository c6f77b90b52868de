"""The maximum of a window at every place, of which operators then take or blur some."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.sizes import are_known, are_surely_equal, larger
from poolbench.pooling.bases.maps import lowest
from poolbench.pooling.windows.max import MaxPool2d


class DenseMax2d(nn.Module):
    """The maxima of a window that moves by single steps, as many of them as are asked for.

    Args:
        kernel_size, padding, dilation, implementation: see `WindowPool2d`; pairs, as an operator holds them.

    Shapes: (B, C, H, W) → (B, C, rows, columns). Windows may extend beyond the right and lower end; their maximum is
    that of the values that they have, −∞ where they have none.

    >>> import torch
    >>> DenseMax2d((1, 2))(torch.tensor([[[[1.0, 3.0, 2.0]]]]), (1, 3)).tolist()
    [[[[3.0, 3.0, 2.0]]]]
    """

    def __init__(
        self,
        kernel_size: Sequence[int],
        padding: Sequence[int] = (0, 0),
        dilation: Sequence[int] = (1, 1),
        implementation: str = "fast",
    ) -> None:
        super().__init__()
        self.max = MaxPool2d(kernel_size, 1, padding, dilation=dilation, implementation=implementation)

    def whole(self, height: int, width: int) -> tuple[int, int]:
        """Return how many rows and columns of windows lie within the padding, 0 or less on a map below one."""
        axes = zip((height, width), self.max.kernel_size, self.max.padding, self.max.dilation, strict=True)
        rows, columns = (size + 2 * padding - (kernel - 1) * dilation for size, kernel, padding, dilation in axes)
        return rows, columns

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the maxima of this map, and where it is `"torch"` why."""
        if self.max.window_size == 1 and self.max.implementation != "torch":
            return "torch", "a window of one value needs no kernel"
        return self.max.implementation_for(x_BCHW)

    def operations_on(self, channels: int, rows: int, columns: int) -> int:
        """Return the comparisons of `rows` x `columns` windows: one less than a whole window has values, for each."""
        return sum(self.max.operations.values()) * channels * rows * columns

    def forward(self, x_BCHW: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return the maxima of the first `shape` windows, counted from the first of the padded map."""
        known = are_known(*x_BCHW.shape[-2:], *shape)
        if known and self.implementation_for(x_BCHW)[0] != "torch":  # a kernel needs no padding beyond the map
            maximum = self.max
            return maximum.by_kernel(
                x_BCHW, Geometry(maximum.kernel_size, (1, 1), maximum.padding, maximum.dilation, shape)
            )
        rows, columns = self.whole(x_BCHW.shape[-2], x_BCHW.shape[-1])
        below, right = larger(shape[0] - rows, 0), larger(shape[1] - columns, 0)
        if not are_surely_equal(below, 0) or not are_surely_equal(right, 0):
            x_BCHW = F.pad(x_BCHW, (0, right, 0, below), value=lowest(x_BCHW.dtype))
        if self.max.window_size > 1:
            x_BCHW = self.max(x_BCHW)
        for dim, size in ((-2, shape[0]), (-1, shape[1])):
            if not are_surely_equal(x_BCHW.shape[dim], size):
                known = are_known(size, *x_BCHW.shape[-2:])
                first = None if known else torch.arange(size, device=x_BCHW.device)
                x_BCHW = x_BCHW.narrow(dim, 0, size) if first is None else x_BCHW.index_select(dim, first)
        return x_BCHW
