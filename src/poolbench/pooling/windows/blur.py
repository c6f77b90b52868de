"""Poolings that blur before they take every s-th value: of maxima, of the map itself, of a convolution."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.graph import Value, Window
from poolbench.kernels.precision import match_input, upcast, without_autocast
from poolbench.kernels.sizes import larger
from poolbench.pooling.bases.arguments import is_whole
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.binomial import binomial, is_mirrored_within, mirrored
from poolbench.pooling.shared.convolution import convolution
from poolbench.pooling.shared.means import weighted
from poolbench.pooling.shared.pad import pad
from poolbench.pooling.windows.blurred_max import BlurredMax2d
from poolbench.pooling.windows.dense_max import DenseMax2d

LARGEST = 7


class BinomialBlur2d(TapPool2d):
    """Binomially weighted means of windows: the inner part of this module's operators.

    Args:
        kernel_size, stride, implementation: see `WindowPool2d`.

    >>> BinomialBlur2d((1, 3))(torch.tensor([[[[0.0, 4.0, 0.0]]]])).item()
    2.0
    """

    keeps_range: ClassVar[bool] = True

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        *,
        implementation: str = "fast",
    ) -> None:
        super().__init__(kernel_size, stride, implementation=implementation)
        self.taps = [
            down * across for down in binomial(self.kernel_size[0]) for across in binomial(self.kernel_size[1])
        ]
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return Σ w·x; at a border, with what lies beyond it as the mirror image of the window's own values."""
        if window.valid is None:
            return weighted(window.values, self.taps)
        rows, columns = self.kernel_size
        # The middle of a window always lies in the map, see `is_mirrored_within`.
        down = mirrored([window.valid[at * columns + (columns - 1) // 2] for at in range(rows)])
        across = mirrored([window.valid[(rows - 1) // 2 * columns + at] for at in range(columns)])
        return weighted(window.masked_fill(0.0), [a * b for a in down for b in across])

    def at(self, x_BCHW: Tensor, first: tuple[int, int], shape: tuple[int, int]) -> Tensor:
        """Return `shape` results, the first window beginning at place `first`; the map is continued by reflection."""
        size = (x_BCHW.shape[-2], x_BCHW.shape[-1])
        if self.implementation_for(x_BCHW)[0] != "torch" and all(
            is_mirrored_within(self.kernel_size[a], self.stride[a], size[a], first[a], shape[a]) for a in (0, 1)
        ):
            padding = (-first[0], -first[1])
            return self.by_kernel(x_BCHW, Geometry(self.kernel_size, self.stride, padding, (1, 1), shape))
        more = [(-first[a], (shape[a] - 1) * self.stride[a] + first[a] + self.kernel_size[a] - size[a]) for a in (0, 1)]
        y: Tensor = self(pad(x_BCHW, more[0], more[1], "reflect"))
        return y

    def plain(self, x_BCHW: Tensor) -> Tensor:
        """Blur by torch's convolution of each channel."""
        x, channels = upcast(x_BCHW), x_BCHW.shape[1]
        # Filled, not copied from a list: a copy to a GPU would wait for it.
        weight = torch.stack([x.new_full((), tap) for tap in self.taps]).view(1, 1, *self.kernel_size)
        with without_autocast(x):
            y = F.conv2d(x, weight.expand(channels, 1, *self.kernel_size), stride=self.stride, groups=channels)
        return match_input(x_BCHW, y)


class BlurringPool2d(WindowPool2d):
    """What the blurring operators share: the filter, its place, and what it finds beyond the border.

    Result (i, j) is Σ w_a w_b z_(s·i + f + a, s·j + f + b), w being `binomial(blur_size)` and z the values that are
    blurred. Beyond them, z is continued by reflection; where there are fewer values than the filter reaches over, the
    mirror image is mirrored again, and where there is one only, it is what is beyond. So the blur is never left out.
    """

    keeps_range: ClassVar[bool] = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        blur_size: int = 3,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        if not is_whole(blur_size) or not 1 <= blur_size <= LARGEST:
            raise ValueError(f"`blur_size` must be in 1..{LARGEST}, got {blur_size!r}")
        self.blur_size = int(blur_size)
        sizes = (self.blur_size if self.spatial == 2 else 1, self.blur_size)
        self.blur = BinomialBlur2d(sizes, self.stride, implementation=implementation)

    def dense(self, height: int, width: int) -> tuple[int, int]:
        """Return how many windows at stride 1 are blurred: all in the padded map, and up to the last overhanging one.

        Windows that extend beyond the end are only those that `ceil_mode` adds.
        """
        rows, columns = self.output_shape(height, width)
        whole = tuple(
            size + 2 * padding - dilation * (kernel - 1)
            for size, kernel, padding, dilation in zip(
                (height, width), self.kernel_size, self.padding, self.dilation, strict=True
            )
        )
        if not self.ceil_mode:
            return whole[0], whole[1]
        last = (rows - 1) * self.stride[0] + 1, (columns - 1) * self.stride[1] + 1
        return larger(whole[0], last[0]), larger(whole[1], last[1])

    def blurred(self, z_BCHW: Tensor, shape: tuple[int, int], first: tuple[int, int] | None = None) -> Tensor:
        """Return `shape` results, the first filter beginning at place `first` of z, by default centred on place 0.

        Of an even filter the half that is larger lies at the right and the lower side.
        """
        rows, columns = self.blur.kernel_size
        return self.blur.at(z_BCHW, (-((rows - 1) // 2), -((columns - 1) // 2)) if first is None else first, shape)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·H'·W'·(2m² − 1): a product for each number of the filter, and their sum."""
        rows, columns = self.output_shape(height, width)
        return sum(self.blur.operations.values()) * channels * rows * columns

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the blur of this map, and where it is `"torch"` why."""
        return self.blur.implementation_for(x_BCHW)

    def extra_repr(self) -> str:
        """Show the geometry and the filter's size."""
        return f"{super().extra_repr()}, blur_size={self.blur_size}"


class MaxBlurPool2d(BlurringPool2d):
    """The maximum of each window at stride 1, blurred by a binomial filter at stride s.

    z_t = max of the window that begins at t; y_i = Σ_a w_a z_(s·i − ⌊(m − 1)/2⌋ + a), along both dimensions, with w the
    m binomial coefficients of `blur_size` = m divided by their sum: 3 is (¼, ½, ¼). With 1 it is max pooling. Beyond
    the first and the last z, values are reflected (repeatedly if there are too few): the blur is never left out.
    Padding of the windows holds no value. An even filter has no centre position: it is centred half a step of the map
    to the lower right of max pooling's window.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`. With `ceil_mode`, the
            windows that extend beyond the end are among those that are blurred.
        blur_size: m, side of the filter, in 1..7.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Zhang, Making Convolutional Networks Shift-Invariant Again (2019), section 3.2 (second-hand; filters and
    their position as in public reimplementations). There the windows of 3 x 3 in ResNet become 2 x 2 (second-hand);
    here the geometry is not changed.

    >>> x = torch.tensor([[[[0.0, 0.0, 4.0, 0.0, 0.0, 0.0]]]])
    >>> MaxBlurPool2d((1, 2), (1, 2))(x).tolist()  # of the maxima 0, 4, 4, 0, 0
    [[[[2.0, 3.0, 0.0]]]]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        blur_size: int = 3,
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            ceil_mode,
            dilation=dilation,
            implementation=implementation,
            blur_size=blur_size,
        )
        self.maxima = DenseMax2d(self.kernel_size, self.padding, self.dilation, implementation)
        sizes = self.blur.kernel_size
        self.at_once = None
        if BlurredMax2d.serves(self.kernel_size, self.padding, self.dilation, sizes):
            self.at_once = BlurredMax2d(self.kernel_size, self.stride, self.padding, sizes, implementation)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        height, width = x_BCHW.shape[-2:]
        shape = self.output_shape(height, width)
        y_BCHW = None if self.at_once is None else self.at_once.at(x_BCHW, shape)
        if y_BCHW is not None:
            return y_BCHW
        return match_input(x_BCHW, self.blurred(self.maxima(x_BCHW, self.dense(height, width)), shape))

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the operations of both steps: k² − 1 comparisons for each maximum at stride 1, and the blur.

        The formula of both at once shares comparisons among neighbours and is not what is counted.
        """
        maxima = self.maxima.operations_on(channels, *self.dense(height, width))
        return maxima + super().operations_on(channels, height, width)


class MaxBlurPool1d(WindowPool1d, MaxBlurPool2d):
    """`MaxBlurPool2d` for sequences.

    >>> MaxBlurPool1d(2)(torch.tensor([[[0.0, 0.0, 4.0, 0.0, 0.0, 0.0]]])).tolist()
    [[[2.0, 3.0, 0.0]]]
    """


class BlurPool2d(BlurringPool2d):
    """The map blurred by a binomial filter at stride s: average pooling with anti-aliasing.

    y_i = Σ_a w_a x_(s·i + f + a) along both dimensions, w as in `MaxBlurPool2d`, with f = ⌊(k − m)/2⌋ − padding, so
    that the m values of the filter lie in the middle of average pooling's window of k values, or half a step to the
    upper left if one of m and k is even and the other odd. Beyond the map, values are reflected (repeatedly if the map
    is too small): the blur is never left out, and padding holds no value.

    After a convolution at stride 1 this is the anti-aliased form of a strided convolution, except that there
    normalisation and ReLU come in between. It is used in this way at a strided convolution of a network.

    Args:
        kernel_size, stride, padding, ceil_mode: the geometry, see `WindowPool2d`. It sets the number of windows and
            their centres.
        implementation: see `WindowPool2d`.
        blur_size: m, side of the filter, in 1..7. With 1, every s-th value is taken as it is.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Zhang (2019), the article that `MaxBlurPool2d` names, section 3.2 (second-hand). There the filter begins ⌊(m
    − 1)/2⌋ before position s·i; this is the same with windows of 2, and with windows of 3 and a padding of 1 if m is
    odd.

    >>> x = torch.tensor([[[[0.0, 0.0, 4.0, 0.0, 0.0, 0.0]]]])
    >>> BlurPool2d((1, 2), (1, 2))(x).tolist()
    [[[[0.0, 2.0, 0.0]]]]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        implementation: str = "fast",
        blur_size: int = 3,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation, blur_size=blur_size)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        shape = self.output_shape(x_BCHW.shape[-2], x_BCHW.shape[-1])
        sizes = self.blur.kernel_size
        down, across = ((self.kernel_size[a] - sizes[a]) // 2 - self.padding[a] for a in (0, 1))
        return match_input(x_BCHW, self.blurred(x_BCHW, shape, (down, across)))


class BlurPool1d(WindowPool1d, BlurPool2d):
    """`BlurPool2d` for sequences.

    >>> BlurPool1d(2)(torch.tensor([[[0.0, 0.0, 4.0, 0.0, 0.0, 0.0]]])).tolist()
    [[[0.0, 2.0, 0.0]]]
    """


class BlurredStridedConv2d(BlurringPool2d):
    """A convolution at stride 1 that keeps the number of channels, ReLU, and a binomial blur at stride s.

    The blur is that of `MaxBlurPool2d`, with the results of the convolution instead of maxima. It does not count as a
    strided convolution (`is_convolution` is False): at a strided convolution of the network it is placed after that
    convolution like any pooling, because otherwise there would be no blur.

    Args:
        kernel_size, stride, padding, ceil_mode, implementation: see `WindowPool2d`. As in any convolution, padding and
            what `ceil_mode` adds are zeros.
        channels: number of channels in and out.
        activation: `"relu"` as in the source, or None.
        blur_size: m, side of the filter, in 1..7. With 1 this is a strided convolution.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Zhang (2019), the article that `MaxBlurPool2d` names, section 3.2 (second-hand). Weights start by He's
    rule, as those of `StridedConv2d`; the bias starts at 0.

    >>> BlurredStridedConv2d(2, channels=3)(torch.zeros(1, 3, 4, 4)).tolist() == torch.zeros(1, 3, 2, 2).tolist()
    True
    """

    small_maps: ClassVar[str] = "a convolution"
    keeps_constants: ClassVar[bool] = False

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
        blur_size: int = 3,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation, blur_size=blur_size)
        self.activation = activation
        self.conv = convolution(channels, self.kernel_size, padding=self.padding, activation=activation)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        height, width = x_BCHW.shape[-2:]
        shape, dense = self.output_shape(height, width), self.dense(height, width)
        # What `dense` counts beyond these lies beyond the map.
        below = dense[0] - (height + 2 * self.padding[0] - self.kernel_size[0] + 1)
        right = dense[1] - (width + 2 * self.padding[1] - self.kernel_size[1] + 1)
        x = upcast(F.pad(x_BCHW, (0, right, 0, below)) if self.ceil_mode else x_BCHW)
        assert self.conv.bias is not None
        y_BCHW = F.conv2d(x, self.conv.weight.to(x.dtype), self.conv.bias.to(x.dtype), padding=self.padding)
        y_BCHW = y_BCHW if self.activation is None else F.relu(y_BCHW)
        # Autocast makes it narrower than the map, which is then for what follows.
        like = y_BCHW if y_BCHW.element_size() < x_BCHW.element_size() else x_BCHW
        return match_input(like, self.blurred(y_BCHW, shape))

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2C·k² + 1 for each result of the convolution at stride 1, 1 for its ReLU, and the blur."""
        results = channels * math.prod(self.dense(height, width))
        convolved = of_convolution(channels * self.window_size, results, bias=True)
        activated = 0 if self.activation is None else results
        return convolved + activated + super().operations_on(channels, height, width)

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the blur of this map, and where it is `"torch"` why."""
        return self.blur.implementation_for(upcast(x_BCHW))

    def extra_repr(self) -> str:
        """Show the geometry, the filter's size and the activation."""
        return f"{super().extra_repr()}, activation={self.activation!r}"


class BlurredStridedConv1d(WindowPool1d, BlurredStridedConv2d):
    """`BlurredStridedConv2d` for sequences.

    >>> BlurredStridedConv1d(2, channels=3)(torch.zeros(1, 3, 4)).shape
    torch.Size([1, 3, 2])
    """
