"""The evaluation of stochastic spatial sampling once more, block by block."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.pooling.windows.s3pool import S3Pool1d, S3Pool2d


def maximum_at(operator: Any, x: Tensor, row: int, column: int) -> Tensor | None:
    """Return the largest value of the window that begins at a place of the padded map; None where it has none."""
    values = []
    for down in range(operator.kernel_size[0]):
        for across in range(operator.kernel_size[1]):
            at = row - operator.padding[0] + down * operator.dilation[0]
            to = column - operator.padding[1] + across * operator.dilation[1]
            if 0 <= at < x.shape[2] and 0 <= to < x.shape[3]:
                values.append(x[:, :, at, to])
    return torch.stack(values).max(0).values if values else None


def s3pool(operator: Any, x: Tensor) -> Tensor:
    """The mean over each block of stride x stride windows, of those that have a value."""
    shape = operator.output_shape(*x.shape[2:])
    result = x.new_zeros(*x.shape[:2], *shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            maxima = [
                maximum_at(operator, x, row * operator.stride[0] + down, column * operator.stride[1] + across)
                for down in range(operator.stride[0])
                for across in range(operator.stride[1])
            ]
            kept = [value for value in maxima if value is not None]
            result[:, :, row, column] = sum(kept) / len(kept)
    return result


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {S3Pool2d: s3pool, S3Pool1d: s3pool}
