"""A convolution and then max pooling: what a strided convolution is compared with at equal parameters."""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.convolution import convolution, convolved
from poolbench.pooling.windows.max import MaxPool2d


class ConvMaxPool2d(WindowPool2d):
    """A convolution at stride 1 that keeps channels and size, ReLU, and the largest value of each window.

    y = max(z) over the window; z = max(0, Σ w x + b), over all channels in a window around its position. The parameters
    are those of `StridedConv2d`, with the same starting weights: the two differ in how they reduce, not in how many
    parameters they have. They differ in operations: here the convolution is computed at every position.

    At a strided convolution of the network, which then runs at stride 1, no second convolution is added: plain max
    pooling follows it (`behind_convolution`). The same is done in a shortcut that subsamples, where a network with
    `StridedConv2d` has no parameters either.

    Args:
        kernel_size, stride, padding, ceil_mode: the geometry of the maxima, see `WindowPool2d`. Padding holds no value
            for them. The convolution sees zeros around the map, ⌊(k − 1)/2⌋ before it and ⌊k/2⌋ behind, as with torch's
            `padding="same"`.
        channels: number of channels in and out.
        activation: `"relu"` as in the source, or None.
        implementation: of the maxima, see `WindowPool2d`; the convolution is torch's own in any case.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Springenberg et al., Striving for Simplicity: The All Convolutional Net (2015), ConvPool-CNN, the control
    of All-CNN: a convolution before each max pooling, so that neither has more parameters (second-hand).

    >>> import torch
    >>> ConvMaxPool2d(2, channels=3)(torch.zeros(1, 3, 4, 4)).tolist() == torch.zeros(1, 3, 2, 2).tolist()
    True
    """

    small_maps: ClassVar[str] = "a convolution"
    behind_convolution: ClassVar[type[WindowPool2d] | None] = MaxPool2d
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
        # A convolution has as many zeros behind the map as before it; where these differ, they are added beforehand.
        high, wide = (0 if kernel % 2 else kernel // 2 for kernel in self.kernel_size)
        self._beyond = (max(wide - 1, 0), wide, max(high - 1, 0), high) if high or wide else None
        around = [kernel // 2 if kernel % 2 else 0 for kernel in self.kernel_size]
        self.conv = convolution(channels, self.kernel_size, padding=(around[0], around[1]), activation=activation)
        self.max = MaxPool2d(self.kernel_size, self.stride, self.padding, ceil_mode, implementation=implementation)

    def convolved(self, x_BCHW: Tensor) -> Tensor:
        """Return the activated convolution, of which the maxima are taken: (B, C, H, W) → (B, C, H, W)."""
        if self._beyond is not None:
            x_BCHW = F.pad(x_BCHW, self._beyond)
        y_BCHW = convolved(self.conv, x_BCHW)
        return y_BCHW if self.activation is None else F.relu(y_BCHW)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        # Asked first: the convolution has room in maps that are too small for the maxima.
        self.output_shape(x_BCHW.shape[-2], x_BCHW.shape[-1])
        y_BCHW: Tensor = self.max(self.convolved(x_BCHW))
        return y_BCHW

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2C·k² + 1 for each place of the map, 1 for its ReLU, and k² − 1 comparisons for each result."""
        places = channels * height * width
        convolved = of_convolution(channels * self.window_size, places, bias=True)
        activated = 0 if self.activation is None else places
        return convolved + activated + self.max.operations_on(channels, height, width)

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the maxima of this map, and where it is `"torch"` why."""
        return self.max.implementation_for(x_BCHW)

    def extra_repr(self) -> str:
        """Show the geometry and the activation."""
        return f"{super().extra_repr()}, activation={self.activation!r}"


class ConvMaxPool1d(WindowPool1d, ConvMaxPool2d):
    """`ConvMaxPool2d` for sequences.

    >>> import torch
    >>> ConvMaxPool1d(2, channels=3)(torch.zeros(1, 3, 4)).shape
    torch.Size([1, 3, 2])
    """
