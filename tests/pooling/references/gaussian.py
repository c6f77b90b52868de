"""Gaussian pooling's evaluation once more: each channel's number from its image, then one window after another."""

from typing import Any

import torch
from pooling.references.haar_wavelet import normalised
from pooling.references.windows import Reference, windows
from torch import Tensor, nn

from poolbench.pooling import GaussianPool2d


def deviation(values: Tensor) -> Tensor:
    """Return the standard deviation, 0 with the slope 0 where all values are equal."""
    squares = ((values - values.mean(-1, keepdim=True)) ** 2).mean(-1)
    return torch.where(squares > 0, torch.where(squares > 0, squares, 1.0).sqrt(), 0.0)


def gaussian(operator: Any, x: Tensor) -> Tensor:
    means = x.mean((2, 3))
    hidden = _layer(operator.hidden, means).clamp(min=0)
    number = torch.log(1 + torch.exp(_layer(operator.mu, hidden)))
    pooled = [values.mean(-1) + number * deviation(values) for values, _ in windows(operator, x)]
    return torch.stack(pooled, -1).unflatten(-1, operator.output_shape(*x.shape[-2:]))


def _layer(layer: Any, values: Tensor) -> Tensor:
    """Return the linear layer's numbers, (B, rows), normalised as in evaluation."""
    numbers = values @ layer.linear.weight.T
    return normalised(layer.norm, numbers)


REFERENCES: dict[type[nn.Module], Reference] = {GaussianPool2d: gaussian}
