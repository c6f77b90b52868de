"""A strided convolution instead of a pooling."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.sizes import larger
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.convolution import convolution, convolved


class StridedConv2d(WindowPool2d):
    """A convolution with the window's kernel and stride that keeps the number of channels, then ReLU.

    Every output depends on all channels. A strided convolution of the network is already this operator, so the network
    is left as it is there (`is_convolution`).

    Args:
        kernel_size, stride, padding, ceil_mode: the geometry, see `WindowPool2d`. With `ceil_mode` zeros are added
            at the right and the lower end, as many as the overhanging window needs.
        channels: number of channels in and out.
        activation: `"relu"` as in the source, or None.
        implementation: see `WindowPool2d`; a convolution is torch's own in both cases.

    There is no dilation: the source does not replace poolings by convolutions that skip values.

    Source: Springenberg et al., Striving for Simplicity: The All Convolutional Net (2015), section 2. Weights use He
    initialisation, which keeps the scale of the map as a pooling does; the source does not say.
    """

    small_maps: ClassVar[str] = "a convolution"
    is_convolution: ClassVar[bool] = True
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
        activation: str | None = "relu",
        implementation: str = "fast",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        self.activation = activation
        self.conv = convolution(channels, self.kernel_size, self.stride, self.padding, activation=activation)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        height, width = x_BCHW.shape[-2:]
        rows, columns = self.output_shape(height, width)
        if self.ceil_mode:
            below = (rows - 1) * self.stride[0] + self.kernel_size[0] - height - 2 * self.padding[0]
            right = (columns - 1) * self.stride[1] + self.kernel_size[1] - width - 2 * self.padding[1]
            x_BCHW = F.pad(x_BCHW, (0, larger(right, 0), 0, larger(below, 0)))
        y_BCHW = convolved(self.conv, x_BCHW)
        return y_BCHW if self.activation is None else F.relu(y_BCHW)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2C·k² + 1 for each result, and 1 for its ReLU."""
        results = channels * math.prod(self.output_shape(height, width))
        convolved = of_convolution(channels * self.window_size, results, bias=True)
        return convolved + (0 if self.activation is None else results)

    def extra_repr(self) -> str:
        """Show what the inner convolution does not."""
        return f"ceil_mode={self.ceil_mode}, activation={self.activation!r}"


class StridedConv1d(WindowPool1d, StridedConv2d):
    """`StridedConv2d` for sequences.

    >>> import torch
    >>> StridedConv1d(2, channels=3)(torch.zeros(1, 3, 4)).shape
    torch.Size([1, 3, 2])
    """
