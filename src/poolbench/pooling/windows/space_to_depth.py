"""Every block of the map put into channels, then a learned convolution back to as many as there were."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.convolution import check_activation


class SpaceToDepthConv2d(WindowPool2d):
    """Blocks of s x s positions moved into s²·C channels, then a convolution at stride 1 back to C channels, and ReLU.

    u_(i, j) holds the s²·C values of block (i, j); y = ReLU(W∗u + b), with W a convolution of `size` x `size`. No value
    is lost before the convolution. It is computed as a convolution of the map with side s·`size` and stride s, with W
    rearranged from blocks to positions.

    The geometry determines the number of results; of its kernel only the centre matters: block (0, 0) begins at
    position ⌈(k − s)/2⌉ − padding, so that blocks lie in the middle of max pooling's windows, or half a step behind.
    Beyond the map are zeros, for blocks and for the convolution, also in what `ceil_mode` adds.

    Args:
        kernel_size, stride, padding, ceil_mode: the geometry, see `WindowPool2d`.
        channels: number of channels in and out.
        size: side of the convolution, an odd number.
        activation: `"relu"`, or None.
        implementation: see `WindowPool2d`; a convolution is torch's own in both cases.

    Parameters: s²·`size`²·C² + C.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Sunkara and Luo, No More Strided Convolutions or Pooling: A New CNN Building Block for Low-Resolution
    Images and Small Objects (2022), SPD-Conv, and the authors' code. There the convolution is the network's own, which
    had a stride or followed the pooling, with the network's normalisation and activation after it. Here a convolution
    is added, with its own activation; at a strided convolution of the network it follows that one, which then runs at
    stride 1. So it has more parameters than in the article; `match=params` compares at equal numbers. Weights use He
    initialisation.

    >>> pool = SpaceToDepthConv2d(2, channels=1, size=1)
    >>> _ = nn.init.constant_(pool.weight, 0.25)
    >>> pool(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item()  # before learning anything else, the mean
    3.0
    """

    small_maps: ClassVar[str] = "a convolution"
    keeps_constants: ClassVar[bool] = False
    keeps_range: ClassVar[bool] = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        channels: int,
        size: int = 3,
        activation: str | None = "relu",
        implementation: str = "fast",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        count = whole_number("channels", channels)
        if whole_number("size", size) % 2 == 0:
            raise ValueError(f"`size` must be odd, got {size!r}")
        self.size, self.activation = size, check_activation(activation)
        # Of the places that a result sees: rows and columns of s·size.
        sides = (self.stride[0] * (size if self.spatial == 2 else 1), self.stride[1] * size)
        self.weight = nn.Parameter(torch.empty(count, count, *sides))
        self.bias = nn.Parameter(torch.zeros(count))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear" if activation is None else "relu")

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        shape = self.output_shape(x_BCHW.shape[-2], x_BCHW.shape[-1])
        (above, below), (left, right) = (self.beyond(axis, x_BCHW.shape[axis - 2], shape[axis]) for axis in (0, 1))
        y_BCHW = F.pad(x_BCHW, (left, right, above, below))
        y_BCHW = F.conv2d(y_BCHW, self.weight.to(x_BCHW.dtype), self.bias.to(x_BCHW.dtype), self.stride)
        return y_BCHW if self.activation is None else F.relu(y_BCHW)

    def beyond(self, axis: int, size: int, count: int) -> tuple[int, int]:
        """Return how many places before the map and behind it `count` results see; a negative number is cut off."""
        stride = self.stride[axis]
        first = (self.kernel_size[axis] - stride + 1) // 2 - self.padding[axis]
        reach = self.weight.shape[2 + axis]
        before = (reach - stride) // 2 - first
        return before, (count - 1) * stride + reach - before - size

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2·s²·m²·C + 1 for each result, m being the convolution's side, and 1 for its ReLU."""
        results = channels * math.prod(self.output_shape(height, width))
        convolved = of_convolution(self.weight[0].numel(), results, bias=True)
        return convolved + (0 if self.activation is None else results)

    def extra_repr(self) -> str:
        """Show the geometry, the convolution's side and the activation."""
        return f"{super().extra_repr()}, size={self.size}, activation={self.activation!r}"


class SpaceToDepthConv1d(WindowPool1d, SpaceToDepthConv2d):
    """`SpaceToDepthConv2d` for sequences: blocks of s places, and a convolution along them.

    >>> SpaceToDepthConv1d(2, channels=3)(torch.zeros(1, 3, 4)).shape
    torch.Size([1, 3, 2])
    """
