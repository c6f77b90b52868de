"""Blurring poolings once more, one result at a time: every value looked up, every weight multiplied."""

from collections.abc import Callable
from math import factorial
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.pooling.windows.blur import (
    BlurPool1d,
    BlurPool2d,
    BlurredStridedConv1d,
    BlurredStridedConv2d,
    MaxBlurPool1d,
    MaxBlurPool2d,
)


def mirrored(place: int, size: int) -> int:
    """Walk to a place beyond the values by turning round at the first and at the last one."""
    if size == 1:
        return 0
    while not 0 <= place < size:
        place = -place if place < 0 else 2 * (size - 1) - place
    return place


def weights(count: int) -> list[float]:
    numbers = [factorial(count - 1) // factorial(at) // factorial(count - 1 - at) for at in range(count)]
    return [number / sum(numbers) for number in numbers]


def sides(operator: Any) -> tuple[int, int]:
    """Return the filter's height and width: sequences are blurred along themselves only."""
    return (1 if operator.spatial == 1 else operator.blur_size), operator.blur_size


def blurred(operator: Any, z: Tensor, shape: tuple[int, int], first: tuple[int, int]) -> Tensor:
    result = z.new_zeros(*z.shape[:2], *shape)
    filters = [weights(count) for count in sides(operator)]
    for row in range(shape[0]):
        for column in range(shape[1]):
            weighted = []
            for down, high in enumerate(filters[0]):
                for across, wide in enumerate(filters[1]):
                    at = mirrored(row * operator.stride[0] + first[0] + down, z.shape[2])
                    to = mirrored(column * operator.stride[1] + first[1] + across, z.shape[3])
                    weighted.append(high * wide * z[:, :, at, to])
            result[:, :, row, column] = torch.stack(weighted).sum(0)
    return result


def dense(operator: Any, x: Tensor) -> tuple[int, int]:
    """Return how many windows at stride 1: those inside of the padded map, and those that ceil_mode adds."""
    shape = operator.output_shape(*x.shape[2:])
    counts = []
    for axis in (0, 1):
        reach = operator.dilation[axis] * (operator.kernel_size[axis] - 1)
        inside = x.shape[2 + axis] + 2 * operator.padding[axis] - reach
        counts.append(max(inside, (shape[axis] - 1) * operator.stride[axis] + 1))
    return counts[0], counts[1]


def windows(operator: Any, x: Tensor, counts: tuple[int, int], number: Callable[[list[Any]], Tensor]) -> Tensor:
    """Return `number` of the values of each window, None for each that is outside of the map."""
    result = x.new_zeros(*x.shape[:2], *counts)
    for row in range(counts[0]):
        for column in range(counts[1]):
            values: list[Any] = []
            for down in range(operator.kernel_size[0]):
                for across in range(operator.kernel_size[1]):
                    at = row - operator.padding[0] + operator.dilation[0] * down
                    to = column - operator.padding[1] + operator.dilation[1] * across
                    inside = 0 <= at < x.shape[2] and 0 <= to < x.shape[3]
                    values.append(x[:, :, at, to] if inside else None)
            result[:, :, row, column] = number(values)
    return result


def largest(values: list[Any]) -> Tensor:
    return torch.stack([value for value in values if value is not None]).max(0).values


def max_blur(operator: Any, x: Tensor) -> Tensor:
    z = windows(operator, x, dense(operator, x), largest)
    before = [(count - 1) // 2 for count in sides(operator)]
    return blurred(operator, z, operator.output_shape(*x.shape[2:]), (-before[0], -before[1]))


def blur(operator: Any, x: Tensor) -> Tensor:
    """The filter's middle is that of the window, or half a step before it."""
    first = []
    for axis, count in enumerate(sides(operator)):
        begin = (operator.kernel_size[axis] - count) / 2 - operator.padding[axis]
        first.append(int(begin) if begin == int(begin) else int(begin - 0.5))
    return blurred(operator, x, operator.output_shape(*x.shape[2:]), (first[0], first[1]))


def blurred_convolution(operator: Any, x: Tensor) -> Tensor:
    weight, bias = operator.conv.weight.flatten(2), operator.conv.bias

    def convolution(values: list[Any]) -> Tensor:
        inside = [place for place, value in enumerate(values) if value is not None]
        filters = torch.cat([weight[:, :, place] for place in inside], 1)
        total = torch.cat([values[place] for place in inside], 1) @ filters.T + bias
        return total if operator.activation is None else total.clamp(min=0)

    z = windows(operator, x, dense(operator, x), convolution)
    before = [(count - 1) // 2 for count in sides(operator)]
    return blurred(operator, z, operator.output_shape(*x.shape[2:]), (-before[0], -before[1]))


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    MaxBlurPool2d: max_blur,
    MaxBlurPool1d: max_blur,
    BlurPool2d: blur,
    BlurPool1d: blur,
    BlurredStridedConv2d: blurred_convolution,
    BlurredStridedConv1d: blurred_convolution,
}
