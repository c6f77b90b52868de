"""What stands beyond the borders of a map: its mirror image, the map again, or its last values."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.precision import is_channels_last
from poolbench.kernels.sizes import are_known, are_surely_equal, larger
from poolbench.kernels.transforms import allows_custom_function
from poolbench.pooling.shared.index_select import index_select


def pad(x_BCHW: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Tensor:
    """Return a map with more rows (above, below) and columns (left, right); a negative number takes as many away.

    Args:
        x_BCHW: the map.
        rows: how many above and below.
        columns: how many to the left and to the right.
        mode: `"reflect"` mirrors the map about its first and last value, which are not repeated; the mirror image is
            mirrored in turn, so that any number can be had of any map, and one row is all there is beyond one row.
            `"circular"` puts the map beside itself. `"replicate"` repeats the first and the last value.

    Shapes: (B, C, H, W) → (B, C, above + H + below, left + W + right), in the memory layout of the map.

    >>> pad(torch.tensor([[[[1.0, 2.0, 3.0]]]]), (0, 0), (3, 1), "reflect").tolist()
    [[[[2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0]]]]
    >>> pad(torch.tensor([[[[1.0, 2.0, 3.0]]]]), (0, 0), (-1, 4), "circular").tolist()
    [[[[2.0, 3.0, 1.0, 2.0, 3.0, 1.0]]]]
    """
    if not are_known(*x_BCHW.shape[-2:], *rows, *columns):
        return _by_places(x_BCHW, rows, columns, mode)
    if not any(rows) and not any(columns):
        return x_BCHW
    if min(*rows, *columns) < 0:
        return _part(_extended(x_BCHW, _more(rows), _more(columns), mode), rows, columns)
    return _extended(x_BCHW, rows, columns, mode)


def _more(sides: tuple[int, int]) -> tuple[int, int]:
    return max(sides[0], 0), max(sides[1], 0)


def _part(x_BCHW: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Return a map without the rows and columns that negative numbers take away."""
    # In the order of memory, so that the gradient keeps the layout as well.
    last = is_channels_last(x_BCHW)
    y = x_BCHW.permute(0, 2, 3, 1) if last else x_BCHW
    for dim, (before, after) in enumerate((rows, columns), start=1 if last else 2):
        y = y.narrow(dim, max(-before, 0), y.shape[dim] + min(before, 0) + min(after, 0))
    return y.permute(0, 3, 1, 2) if last else y


def _extended(x_BCHW: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Tensor:
    if not allows_custom_function(x_BCHW):
        return _made(x_BCHW, rows, columns, mode)
    y: Tensor = _Extended.apply(x_BCHW, rows, columns, mode)
    return y


class _Extended(torch.autograd.Function):
    """Keeps nothing of the map; the derivative is made of differentiable operations."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Tensor:
        ctx.rows, ctx.columns, ctx.mode = rows, columns, mode
        return _made(x_BCHW, rows, columns, mode)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        return _folded(gradient, ctx.rows, ctx.columns, ctx.mode), None, None, None


def _made(x_BCHW: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Tensor:
    """Return the extended map."""
    # The padding of torch, wherever it can: along both dimensions at once. Its circular one loses the memory layout,
    # and whole numbers it does not pad.
    sizes = x_BCHW.shape[-2:]
    if x_BCHW.is_floating_point() and (
        mode == "replicate" or (mode == "reflect" and max(rows) < sizes[0] and max(columns) < sizes[1])
    ):
        return F.pad(x_BCHW, (*columns, *rows), mode=mode)
    return _by_places(x_BCHW, rows, columns, mode)


def _by_places(x_BCHW: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Tensor:
    """Return the extended map by the numbers of its rows and columns, of which there may be fewer as well."""
    last = is_channels_last(x_BCHW)
    y = x_BCHW.permute(0, 2, 3, 1) if last else x_BCHW
    for dim, sides in enumerate((rows, columns), start=1 if last else 2):
        if not all(are_surely_equal(side, 0) for side in sides):
            y = index_select(y, dim, _places(y.shape[dim], sides, mode, y.device))
    return y.permute(0, 3, 1, 2) if last else y


def _folded(gradient: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Tensor:
    """Return the gradient of the map: each value's own, and that of its images beyond the border."""
    last = is_channels_last(gradient)
    y = gradient.permute(0, 2, 3, 1) if last else gradient
    down, across = (1, 2) if last else (2, 3)
    inner, beyond, place = _parted(y, across, columns, mode)
    # What lies beyond the columns is little; of the rest only one copy is made.
    result = _folded_along(inner, down, rows, mode)
    if any(columns):
        result = result.index_add_(across, place, _folded_along(beyond, down, rows, mode))
    return result.permute(0, 3, 1, 2) if last else result


def _folded_along(y: Tensor, dim: int, sides: tuple[int, int], mode: str) -> Tensor:
    """Return a copy in which what lies beyond the border is added to that of which it is the image."""
    inner, beyond, place = _parted(y, dim, sides, mode)
    result = inner.clone(memory_format=torch.contiguous_format)
    return result.index_add_(dim, place, beyond) if any(sides) else result


def _parted(y: Tensor, dim: int, sides: tuple[int, int], mode: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return what lies in the map, what lies beyond it, and the places of which that is the image."""
    size = y.shape[dim] - sum(sides)
    after = sides[0] + size
    place = _places(size, sides, mode, y.device)
    places = torch.cat([place.narrow(0, 0, sides[0]), place.narrow(0, after, sides[1])])
    beyond = torch.cat([y.narrow(dim, 0, sides[0]), y.narrow(dim, after, sides[1])], dim)
    return y.narrow(dim, sides[0], size), beyond, places


def _places(size: int, sides: tuple[int, int], mode: str, device: torch.device) -> Tensor:
    """Return which of `size` values stands at each place, those before the first and after the last included."""
    place = torch.arange(-sides[0], size + sides[1], device=device)
    if mode == "replicate":
        return place.clamp(0, size - 1)
    if mode == "circular":
        return place % size
    # Not by `abs`, whose least and largest value inductor takes for numbers that are not whole.
    there_and_back = larger(2 * size - 2, 1)
    there = place % there_and_back
    return torch.minimum(there, there_and_back - there)
