"""A convolution and then maxima once more: the convolution by a sum for each place, the maxima by each window."""

from typing import Any

import torch.nn.functional as F
from pooling.references.windows import Reference, by_window
from torch import Tensor, nn

from poolbench.pooling import ConvMaxPool2d

maxima = by_window(lambda operator, values, places: values.max(-1).values)


def convolution_and_maximum(operator: Any, x: Tensor) -> Tensor:
    high, wide = operator.kernel_size
    before = ((high - 1) // 2, (wide - 1) // 2)
    around = F.pad(x, (before[1], wide - 1 - before[1], before[0], high - 1 - before[0]))
    convolved = x.new_empty(x.shape)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            seen = around[:, :, row : row + high, column : column + wide].flatten(1)
            convolved[:, :, row, column] = seen @ operator.conv.weight.flatten(1).T + operator.conv.bias
    return maxima(operator, convolved if operator.activation is None else convolved.clamp(min=0))


REFERENCES: dict[type[nn.Module], Reference] = {ConvMaxPool2d: convolution_and_maximum}
