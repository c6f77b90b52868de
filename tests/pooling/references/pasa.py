"""Pixel-adaptive pooling's evaluation once more: the weights of one window after another, group by group."""

from typing import Any

import torch
from pooling.references.haar_wavelet import normalised
from pooling.references.windows import Reference, windows
from torch import Tensor, nn

from poolbench.pooling import PASAPool2d


def adaptive(operator: Any, x: Tensor) -> Tensor:
    pooled = []
    channels = x.shape[1]
    for values, places in windows(operator, x):  # (B, C, n), and where in the window they are
        weight = operator.conv.weight.flatten(2)[:, :, places]
        z = normalised(operator.norm, values.flatten(1) @ weight.flatten(1).T)
        z = z.unflatten(1, (operator.groups, operator.window_size))[:, :, places]
        powers = torch.exp(z)
        sums = powers.sum(2, keepdim=True) if operator.softmax == "group" else powers.sum((1, 2), keepdim=True)
        shares = powers / sums
        parts = [values[:, c] * shares[:, c * operator.groups // channels] for c in range(channels)]
        pooled.append(torch.stack(parts, 1).sum(2))
    return torch.stack(pooled, -1).unflatten(-1, operator.output_shape(*x.shape[-2:]))


REFERENCES: dict[type[nn.Module], Reference] = {PASAPool2d: adaptive}
