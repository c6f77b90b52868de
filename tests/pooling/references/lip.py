"""LIP pooling once more: the logits by a sum for each place, the weighted mean window by window."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.pooling.windows.lip import LIPPool1d, LIPPool2d


def convolved(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with zeros beyond the map, keeping its size."""
    high, wide = weight.shape[2:]
    height, width = x.shape[2:]
    result = x.new_zeros(x.shape[0], weight.shape[0], height, width)
    for row in range(height):
        for column in range(width):
            for down in range(high):
                for across in range(wide):
                    at, to = row + down - high // 2, column + across - wide // 2
                    if 0 <= at < height and 0 <= to < width:
                        result[:, :, row, column] += x[:, :, at, to] @ weight[:, :, down, across].T
    return result


def normalised(y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    result = torch.empty_like(y)
    for image in range(y.shape[0]):
        for channel in range(y.shape[1]):
            values = y[image, channel]
            deviation = (values.var(correction=0) + 1e-5) ** 0.5
            result[image, channel] = (values - values.mean()) / deviation * scale[channel] + shift[channel]
    return result


def logits(operator: Any, x: Tensor) -> Tensor:
    layers = list(operator.logit)
    for number, layer in enumerate(layers):
        x = normalised(convolved(x, layer.conv.weight), layer.scale, layer.shift)
        x = x.clamp(min=0) if number < len(layers) - 1 else operator.coefficient / (1 + torch.exp(-x))
    return x


def lip(operator: Any, x: Tensor) -> Tensor:
    g = logits(operator, x)
    shape = operator.output_shape(*x.shape[2:])
    result = x.new_zeros(*x.shape[:2], *shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            above, below = torch.zeros_like(x[:, :, 0, 0]), torch.zeros_like(x[:, :, 0, 0])
            for down in range(operator.kernel_size[0]):
                for across in range(operator.kernel_size[1]):
                    at = row * operator.stride[0] - operator.padding[0] + down * operator.dilation[0]
                    to = column * operator.stride[1] - operator.padding[1] + across * operator.dilation[1]
                    if 0 <= at < x.shape[2] and 0 <= to < x.shape[3]:
                        above = above + x[:, :, at, to] * torch.exp(g[:, :, at, to])
                        below = below + torch.exp(g[:, :, at, to])
            result[:, :, row, column] = above / below
    return result


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {LIPPool2d: lip, LIPPool1d: lip}
