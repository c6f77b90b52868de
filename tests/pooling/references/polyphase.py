"""The evaluation of polyphase poolings once more: each component listed value by value, for each image."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.pooling.windows.adaptive_polyphase import AdaptivePolyphasePool1d, AdaptivePolyphasePool2d
from poolbench.pooling.windows.learned_polyphase import LearnedPolyphasePool1d, LearnedPolyphasePool2d
from poolbench.pooling.windows.tips import TIPSPool1d, TIPSPool2d


def value_at(operator: Any, image: Tensor, row: int, column: int) -> Tensor:
    """Return the values (C,) of a place that may lie beyond the border."""
    if operator.padding_mode == "circular":
        return image[:, row % image.shape[1], column % image.shape[2]]
    return image[:, min(max(row, 0), image.shape[1] - 1), min(max(column, 0), image.shape[2] - 1)]


def dense_at(operator: Any, image: Tensor, row: int, column: int) -> Tensor:
    if operator.maxima is None:
        return value_at(operator, image, row, column)
    values = [
        value_at(operator, image, row - operator.padding[0] + down, column - operator.padding[1] + across)
        for down in range(operator.kernel_size[0])
        for across in range(operator.kernel_size[1])
    ]
    return torch.stack(values).max(0).values


def components(operator: Any, image: Tensor) -> list[Tensor]:
    """Return the components (C, H', W') of one image, in the order of reading of their first values."""
    rows, columns = operator.output_shape(*image.shape[1:])
    found = []
    for down in range(operator.stride[0]):
        for across in range(operator.stride[1]):
            component = image.new_zeros(image.shape[0], rows, columns)
            for i in range(rows):
                for j in range(columns):
                    place = (i * operator.stride[0] + down, j * operator.stride[1] + across)
                    component[:, i, j] = dense_at(operator, image, *place)
            found.append(component)
    return found


def best(operator: Any, x: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    results = []
    for image in x:
        parts = components(operator, image)
        scores = torch.stack([score(part) for part in parts])
        largest = scores.max()
        # Sums of the same numbers in another order are equal.
        equal = (scores - largest).abs() <= largest.abs() * 4e-7
        results.append(parts[equal.tolist().index(True)])
    return torch.stack(results) if results else x.new_zeros(0, x.shape[1], *operator.output_shape(*x.shape[2:]))


def adaptive(operator: Any, x: Tensor) -> Tensor:
    def norm(part: Tensor) -> Tensor:
        sizes = part.flatten().double().abs()
        return sizes.max() if operator.norm == float("inf") else (sizes**operator.norm).sum()

    return best(operator, x, norm)


def convolved(operator: Any, image: Tensor, weight: Tensor, bias: Tensor | float) -> Tensor:
    high, wide = weight.shape[2:]
    result = image.new_zeros(weight.shape[0], *image.shape[1:])
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            result[:, row, column] = bias
            for down in range(high):
                for across in range(wide):
                    values = value_at(operator, image, row + down - high // 2, column + across - wide // 2)
                    result[:, row, column] += weight[:, :, down, across] @ values
    return result


def learned(operator: Any, x: Tensor) -> Tensor:
    def score(part: Tensor) -> Tensor:
        hidden = convolved(operator, part, operator.first.weight, operator.first.bias).clamp(min=0)
        return convolved(operator, hidden, operator.second.weight, 0.0).mean().double()

    return best(operator, x, score)


def mixture(operator: Any, x: Tensor) -> Tensor:
    results = []
    for image in x:
        parts = components(operator, image)
        result = torch.zeros_like(parts[0])
        for channel, values in enumerate(image):
            weight, bias = operator.filter.weight[channel : channel + 1], operator.filter.bias[channel]
            seen = convolved(operator, values.unsqueeze(0), weight, bias).clamp(min=0)[0]
            scores = []
            for row in range(operator.stride[0]):
                for column in range(operator.stride[1]):
                    rows, columns = (
                        slice(at * size // count, math.ceil((at + 1) * size / count))
                        for at, size, count in zip((row, column), seen.shape, operator.stride, strict=True)
                    )
                    scores.append(operator.scale.weight[channel, 0, 0, 0] * seen[rows, columns].mean())
            for share, part in zip(torch.stack(scores).softmax(0), parts, strict=True):
                result[channel] += share * part[channel]
        results.append(result)
    return torch.stack(results) if results else x.new_zeros(0, x.shape[1], *operator.output_shape(*x.shape[2:]))


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    AdaptivePolyphasePool2d: adaptive,
    AdaptivePolyphasePool1d: adaptive,
    LearnedPolyphasePool2d: learned,
    LearnedPolyphasePool1d: learned,
    TIPSPool2d: mixture,
    TIPSPool1d: mixture,
}
