"""A strided convolution once more, one place of the result at a time."""

from typing import Any

import torch
import torch.nn.functional as F
from pooling.references.windows import Reference
from torch import Tensor, nn

from poolbench.pooling import SpaceToDepthConv2d, StridedConv2d


def convolution(operator: Any, x: Tensor) -> Tensor:
    (kernel_h, kernel_w), (stride_h, stride_w), (pad_h, pad_w) = operator.kernel_size, operator.stride, operator.padding
    rows, columns = operator.output_shape(*x.shape[-2:])
    pooled = x.new_empty(*x.shape[:2], rows, columns)
    x = F.pad(x, (pad_w, pad_w + stride_w + kernel_w, pad_h, pad_h + stride_h + kernel_h))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride_h, column * stride_w
            window = x[:, :, top : top + kernel_h, left : left + kernel_w]
            pooled[:, :, row, column] = window.flatten(1) @ operator.conv.weight.flatten(1).T + operator.conv.bias
    return pooled if operator.activation is None else pooled.clamp(min=0)


def space_to_depth(operator: Any, x: Tensor) -> Tensor:
    """Put blocks into channels, one value after another, and convolve the smaller map with its own weights."""
    (down, across), size = operator.stride, operator.weight.shape[3] // operator.stride[1]
    rows, columns = operator.output_shape(*x.shape[-2:])
    starts = [
        -(-(kernel - stride) // 2) - padding
        for kernel, stride, padding in zip(operator.kernel_size, operator.stride, operator.padding, strict=True)
    ]
    high = operator.weight.shape[2] // down  # one row of blocks in a sequence
    pooled = x.new_empty(*x.shape[:2], rows, columns)
    edge = size * max(down, across) + max(abs(start) for start in starts)
    around = F.pad(x, [edge, edge + size * across + columns, edge, edge + size * down + rows])
    for row in range(rows):
        for column in range(columns):
            seen, weights = [], []
            for block_row in range(high):
                for block_column in range(size):
                    for i in range(down):
                        for j in range(across):
                            top = (row + block_row - high // 2) * down + starts[0] + i
                            left = (column + block_column - size // 2) * across + starts[1] + j
                            seen.append(around[:, :, edge + top, edge + left])
                            weights.append(operator.weight[:, :, block_row * down + i, block_column * across + j])
            pooled[:, :, row, column] = torch.cat(seen, 1) @ torch.cat(weights, 1).T + operator.bias
    return pooled if operator.activation is None else pooled.clamp(min=0)


REFERENCES: dict[type[nn.Module], Reference] = {StridedConv2d: convolution, SpaceToDepthConv2d: space_to_depth}
