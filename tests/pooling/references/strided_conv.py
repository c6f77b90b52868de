"""A strided convolution once more, one place of the result at a time."""

from typing import Any

import torch.nn.functional as F
from pooling.references.windows import Reference
from torch import Tensor, nn

from poolbench.pooling import StridedConv2d


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


REFERENCES: dict[type[nn.Module], Reference] = {StridedConv2d: convolution}
