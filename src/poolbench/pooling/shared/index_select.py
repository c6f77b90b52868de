"""Rows and columns of a map, by number."""

from typing import Any

import torch
from torch import Tensor

from poolbench.kernels.precision import is_channels_last
from poolbench.kernels.transforms import allows_custom_function


def index_select(x: Tensor, dim: int, place: Tensor) -> Tensor:
    """Return the rows (columns, …) of these numbers along one dimension, as `index_select` does.

    >>> index_select(torch.tensor([[1.0, 2.0, 3.0]]), 1, torch.tensor([2, 0])).tolist()
    [[3.0, 1.0]]
    """
    if dim != x.ndim - 1:
        return x.index_select(dim, place)
    if not allows_custom_function(x):
        return _gathered(x, place)
    y: Tensor = _Taken.apply(x, place)
    return y


class _Taken(torch.autograd.Function):
    """Along the last dimension, where `index_select` is slow; unlike `gather` it keeps nothing of the map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, place: Tensor) -> Tensor:
        ctx.size = x.shape
        ctx.save_for_backward(place)
        return _gathered(x, place)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        (place,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.size).index_add(len(ctx.size) - 1, place, gradient), None


def _gathered(x: Tensor, place: Tensor) -> Tensor:
    return x.gather(x.ndim - 1, place.expand(*x.shape[:-1], place.shape[0]))


def select_places(x_BCHW: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return a map at some rows and at some columns of these, in the memory layout of the map, all in one step.

    >>> select_places(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([1, 0]), torch.tensor([1])).tolist()
    [[[[4.0], [2.0]]]]
    """
    place = (rows.unsqueeze(1) * x_BCHW.shape[3] + columns).flatten()
    sizes = rows.shape[0], columns.shape[0]
    if not allows_custom_function(x_BCHW):
        return _at_places(x_BCHW, place, sizes)
    y: Tensor = _AtPlaces.apply(x_BCHW, place, sizes)
    return y


class _AtPlaces(torch.autograd.Function):
    """Keeps nothing of the map; the derivative is made of differentiable operations, in the layout of the gradient."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, place: Tensor, sizes: tuple[int, int]) -> Tensor:
        ctx.size, ctx.last = x_BCHW.shape, is_channels_last(x_BCHW)
        ctx.save_for_backward(place)
        return _at_places(x_BCHW, place, sizes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        (place,) = ctx.saved_tensors
        batch, channels, height, width = ctx.size
        if ctx.last:
            zeros_BNC = gradient.new_zeros(batch, height * width, channels)
            found = zeros_BNC.index_add(1, place, gradient.permute(0, 2, 3, 1).reshape(batch, len(place), channels))
            return found.view(batch, height, width, channels).permute(0, 3, 1, 2), None, None
        zeros_BCN = gradient.new_zeros(batch, channels, height * width)
        return zeros_BCN.index_add(2, place, gradient.reshape(batch, channels, len(place))).view(ctx.size), None, None


def _at_places(x_BCHW: Tensor, place: Tensor, sizes: tuple[int, int]) -> Tensor:
    if is_channels_last(x_BCHW):
        y_BNC = x_BCHW.permute(0, 2, 3, 1).flatten(1, 2).index_select(1, place)
        return y_BNC.unflatten(1, sizes).permute(0, 3, 1, 2)
    return _gathered(x_BCHW.flatten(2), place).unflatten(2, sizes)
