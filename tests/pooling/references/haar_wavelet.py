"""Haar's bands one block after another, mixed place by place, with batch normalisation as in evaluation."""

from typing import Any

import torch
from pooling.references.windows import Reference
from torch import Tensor, nn

from poolbench.pooling import HaarWaveletPool1d, HaarWaveletPool2d


def normalised(norm: nn.BatchNorm2d, values: Tensor) -> Tensor:
    """Normalise (B, C) by what is known of each channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return values * scale + (norm.bias - norm.running_mean * scale)


def mixed(operator: Any, x: Tensor) -> Tensor:
    rows, columns = operator.output_shape(*x.shape[-2:])
    pooled = x.new_empty(*x.shape[:2], rows, columns)

    def at(row: int, column: int) -> Tensor:
        return x[:, :, min(row, x.shape[2] - 1), min(column, x.shape[3] - 1)]

    for row in range(rows):
        for column in range(columns):
            if operator.spatial == 1:
                a, b = at(row, 2 * column), at(row, 2 * column + 1)
                bands = [(a + b) / 2**0.5, (a - b) / 2**0.5]
            else:
                a, b = at(2 * row, 2 * column), at(2 * row, 2 * column + 1)
                c, d = at(2 * row + 1, 2 * column), at(2 * row + 1, 2 * column + 1)
                bands = [(a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
            y = torch.cat(bands, 1) @ operator.mix.weight.flatten(1).T
            pooled[:, :, row, column] = normalised(operator.norm, y).clamp(min=0)
    return pooled


REFERENCES: dict[type[nn.Module], Reference] = {HaarWaveletPool2d: mixed, HaarWaveletPool1d: mixed}
