"""Means weighted by a learned importance."""

from collections.abc import Sequence
from math import ceil, log
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.precision import match_input, upcast
from poolbench.pooling.bases.arguments import is_number, whole_number
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import SIGMOID, of_convolution
from poolbench.pooling.windows.avg import AvgPool2d

LOGITS = ("projection", "bottleneck")
LOGIT_SIZE, WIDTH = 3, 128
LARGEST = 20.0
EPS = 1e-5


class LIPPool2d(WindowPool2d):
    """A mean of each window, weighted by a learned importance of every value: Σ x·e^G(x) / Σ e^G(x).

    G is a small convolutional network that turns the whole map into a map of the same shape: G = c·sigmoid(N(conv(h))),
    where N normalises each channel of each image to mean 0 and variance 1 over the map and applies a learned scale and
    shift. h is the map itself (`"projection"`), or two convolutions of it, 1 x 1 then 3 x 3, with `width` channels,
    each followed by N and ReLU (`"bottleneck"`). No convolution has a bias. The last one is initialised to 0, so that G
    is the same everywhere and training starts from average pooling. The other convolutions use He initialisation,
    scales are 1, shifts 0.

    Because N normalises over the whole map, a result depends on more than its window, and a NaN spreads to all results.
    Padding holds no value; the 3 x 3 convolutions see zeros there. In float32 values up to 10³⁵ do not overflow.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        channels: number of channels.
        logit: `"projection"` or `"bottleneck"`.
        logit_size: side of the projection's convolution, an odd number: 3 as in the authors' code, 1 for each place by
            itself. With a bottleneck it stays 3.
        width: channels of the bottleneck; 128 as in the authors' code, which is for maps of 64 to 512 channels. With a
            projection it stays 128.
        coefficient: c, above 0 and at most 20. A value weighs at most e^c times another.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Gao, Wang and Wu, LIP: Local Importance-based Pooling (2019), and the authors' code, where some networks
    compute the first part of the bottleneck once for two poolings; here each pooling has its own.

    >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> LIPPool2d(2, channels=1)(x).item()  # before learning
    2.5
    """

    small_maps: ClassVar[str] = "convolutions"
    is_equivariant: ClassVar[bool] = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        channels: int,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        logit: str = "projection",
        logit_size: int = LOGIT_SIZE,
        width: int = WIDTH,
        coefficient: float = 12.0,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        channels, width = whole_number("channels", channels), whole_number("width", width)
        logit_size = whole_number("logit_size", logit_size)
        if logit_size % 2 == 0:
            raise ValueError(f"`logit_size` must be odd, got {logit_size!r}")
        if logit not in LOGITS:
            raise ValueError(f"`logit` must be 'projection' or 'bottleneck', got {logit!r}")
        for name, value, unused, where in (
            ("width", width, WIDTH, "projection"),
            ("logit_size", logit_size, LOGIT_SIZE, "bottleneck"),
        ):
            if logit == where and value != unused:
                other = LOGITS[1 - LOGITS.index(where)]
                raise ValueError(
                    f"`{name}` does nothing for logit={where!r}, it is the {other}'s; leave it at {unused}"
                )
        if not is_number(coefficient) or not 0 < coefficient <= LARGEST:
            raise ValueError(f"`coefficient` must be a number above 0 and at most {LARGEST}, got {coefficient!r}")
        self.logit_form, self.coefficient = logit, float(coefficient)
        # A power of two that no weight exceeds, so that scaling by it is exact.
        self.range = 2.0 ** ceil(self.coefficient / log(2))
        flat = self.spatial == 1
        if logit == "projection":
            layers = [ConvNorm2d(channels, channels, logit_size, flat=flat)]
        else:
            layers = [
                ConvNorm2d(channels, width, 1, flat=flat),
                ConvNorm2d(width, width, 3, flat=flat),
                ConvNorm2d(width, channels, 1, flat=flat),
            ]
        nn.init.zeros_(layers[-1].conv.weight)
        self.logit = nn.ModuleList(layers)
        self.mean = AvgPool2d(
            self.kernel_size,
            self.stride,
            self.padding,
            ceil_mode,
            dilation=self.dilation,
            implementation=implementation,
        )

    def importance(self, x_BCHW: Tensor) -> Tensor:
        """Return G, between 0 and `coefficient`, in at least float32: (B, C, H, W) → (B, C, H, W)."""
        h = upcast(x_BCHW)
        for layer in self.logit[:-1]:
            h = F.relu(layer(h))
        return self.coefficient * self.logit[-1](h).sigmoid()

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        self.output_shape(
            x_BCHW.shape[-2], x_BCHW.shape[-1]
        )  # raises for a map that is too small, before G is computed
        weight_BCHW = self.importance(x_BCHW).exp()
        # No weight is below 1, and x is small enough for the largest one: neither the sums nor their derivatives
        # overflow. Both means are over the same number of values, which the ratio is rid of.
        share_BCHW = self.mean(upcast(x_BCHW) / self.range * weight_BCHW) / self.mean(weight_BCHW)
        return match_input(x_BCHW, share_BCHW * self.range)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the operations of G, and for each result those of two means and their ratio.

        G: its layers, 1 for each ReLU, 5 for each value's c·sigmoid. Then 3 for each value, e^G and x·e^G of the
        scaled map, and 2 for each result beside its two means, the ratio and the scale.
        """
        places = height * width
        layers: list[Any] = list(self.logit)
        logits = sum(layer.operations_on(height, width) for layer in layers)
        logits += sum(layer.conv.out_channels for layer in layers[:-1]) * places
        rows, columns = self.output_shape(height, width)
        means = 2 * self.mean.operations_on(channels, height, width)
        return logits + (1 + SIGMOID + 3) * channels * places + means + 2 * channels * rows * columns

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the means of this map, and where it is `"torch"` why."""
        return self.mean.implementation_for(upcast(x_BCHW))

    def extra_repr(self) -> str:
        """Show the geometry and the form of G."""
        return f"{super().extra_repr()}, logit={self.logit_form!r}, coefficient={self.coefficient}"


class LIPPool1d(WindowPool1d, LIPPool2d):
    """`LIPPool2d` for sequences; its convolutions run along them.

    >>> LIPPool1d(2, channels=1)(torch.tensor([[[1.0, 2.0, 4.0, 8.0]]])).tolist()
    [[[1.5, 6.0]]]
    """


class ConvNorm2d(nn.Module):
    """A convolution that keeps the size, then mean 0 and variance 1 of each image's channels, scaled and shifted.

    Args:
        channels: number of channels in.
        out: number of channels out.
        size: side of the filter, an odd number.
        flat: whether the filter has one row.

    Shapes: (B, channels, H, W) → (B, out, H, W), in at least float32. With one place, all is the shift.
    """

    def __init__(self, channels: int, out: int, size: int, *, flat: bool) -> None:
        super().__init__()
        sizes = (1 if flat else size, size)
        self.conv = nn.Conv2d(channels, out, sizes, padding=(sizes[0] // 2, sizes[1] // 2), bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.scale = nn.Parameter(torch.ones(out))
        self.shift = nn.Parameter(torch.zeros(out))

    def operations_on(self, height: int, width: int) -> int:
        """Return 2·k²·channels for each result of the convolution, 10 for each to normalise it, 8 for each channel.

        The 10: 3 for the largest size, 1 to scale, 1 for the mean, 1 to take it off, 2 for the variance, 2 to scale
        and shift.
        """
        out, places = self.conv.out_channels, height * width
        return of_convolution(self.conv.weight[0].numel(), out * places, bias=False) + out * (10 * places + 8)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve and normalise."""
        y = upcast(F.conv2d(x_BCHW, self.conv.weight.to(x_BCHW.dtype), padding=self.conv.padding))
        scale, shift = (p.to(y.dtype).view(-1, 1, 1) for p in (self.scale, self.shift))
        # Made small first, because squares of the largest numbers have no place in float32; this changes no result.
        small = y.detach().abs().amax((2, 3), keepdim=True).clamp(min=1).reciprocal()
        z = y * small
        centred = z - z.mean((2, 3), keepdim=True)
        # What rounding leaves of equal values is not made large, and nothing is divided by nothing.
        least = (EPS * small.square()).clamp(min=torch.finfo(y.dtype).eps ** 2)
        deviation = (centred.square().mean((2, 3), keepdim=True) + least).rsqrt()
        return torch.addcmul(shift, centred, scale * deviation)
