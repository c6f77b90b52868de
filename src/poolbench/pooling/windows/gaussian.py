"""Mean plus a learned, drawn number of standard deviations."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels import operator as kernels
from poolbench.kernels.graph import Value, Window, sqrt, sum_of, where, with_gradient_of
from poolbench.kernels.plain import pool_plain
from poolbench.kernels.precision import is_channels_last, match_input, upcast, without_autocast
from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.batch_norm import BatchNorm
from poolbench.pooling.shared.draws import Draws
from poolbench.pooling.shared.means import divided, mean
from poolbench.pooling.windows.avg import AvgPool2d

SOFTPLUS = 3


class GaussianPool2d(WindowPool2d):
    """The mean of each window plus a multiple of its standard deviation: y = m + softplus(μ + σε)·s.

    m and s are mean and standard deviation of the window's n values, s = √(Σ (x − m)² / n), which is 0 if all are
    equal, with derivative 0. μ and σ are two numbers for each image and channel, computed from the whole map: with g
    its mean over the positions, h = ReLU(N(W g)) with ⌈C/2⌉ rows, μ = N(V h) and σ = sigmoid(N(U h)), N batch
    normalisation. In training ε is drawn from the standard normal distribution, separately for each result; in
    evaluation it is 0. Results may lie above the largest value of their window; as μ grows with the map in evaluation,
    in float32 values up to 10¹⁹ do not overflow.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        channels: number of channels.

    Parameters: (3·C + 2)·⌈C/2⌉ + 4·C.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Kobayashi, Gaussian-Based Pooling for Convolutional Neural Networks (2019), the form with an inverse
    softplus, iSP-Gaussian, and the authors' code. There ⌊C/2⌋ rows are taken, the linear layers have biases, which
    the normalisation removes, the variance of a window is at least 10⁻⁶, and padding counts as zeros in one of two
    forms, in the other not, as here. Drawing one ε for each channel is an option there. Weights are initialised as in
    `nn.Linear`.

    >>> pool = GaussianPool2d(2, channels=1).eval()
    >>> pool(torch.full((1, 1, 2, 2), 3.0)).item()
    3.0
    """

    small_maps: ClassVar[str] = "the number of deviations, found by linear layers, batch normalisation and a sigmoid"
    keeps_range: ClassVar[bool] = False
    is_equivariant: ClassVar[bool] = False
    is_random: ClassVar[bool] = True
    sees_batch: ClassVar[bool] = True

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
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        count = whole_number("channels", channels)
        self.hidden = _Layer(count, (count + 1) // 2)
        self.mu = _Layer(self.hidden.rows, count)
        self.sigma = _Layer(self.hidden.rows, count)
        geometry = self.kernel_size, self.stride, self.padding, ceil_mode
        self.average = AvgPool2d(*geometry, dilation=self.dilation, implementation=implementation)
        self.deviation = _Deviation(*geometry, dilation=self.dilation, implementation=implementation)
        self.noise = _Uniform(1, implementation=implementation)
        self.draws = Draws()

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        self.output_shape(x_BCHW.shape[-2], x_BCHW.shape[-1])
        x = upcast(x_BCHW)
        average, deviation = self.average(x), self.deviation(x)
        with without_autocast(x):
            hidden = F.relu(self.hidden(_mean_of_map(x)))
            number = self.mu(hidden)
            if self.training:
                spread = self.sigma(hidden).sigmoid() * math.sqrt(2)
                number = torch.addcmul(number, spread, self._drawn(average))
        return match_input(x_BCHW, torch.addcmul(average, F.softplus(number), deviation))

    def _drawn(self, like: Tensor) -> Tensor:
        """Return ε/√2 for each result: the inverse of the error function of a number drawn between −1 and 1."""
        uniform = self.noise.drawn(like.detach(), self.draws.next_key()).to(torch.float32)
        # Of multiples of 2⁻²⁴ below 1: half a step away from −1 and from 1, without rounding.
        return torch.erfinv(uniform * 2 - (1 - 2.0**-24)).to(like.dtype)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the operations of mean and deviation, 2 more for each result, and those of their number.

        Of the number: for each channel its mean over the map, the layers of μ with 2 for each value that is normalised
        and 1 for a ReLU, and the softplus (an exponential, a sum, a logarithm).
        """
        places, rows = height * width, self.hidden.rows
        results = channels * math.prod(self.output_shape(height, width))
        layers = of_convolution(channels, rows, bias=False) + 3 * rows
        layers += of_convolution(rows, channels, bias=False) + 2 * channels
        windows = sum(part.operations_on(channels, height, width) for part in (self.average, self.deviation))
        return windows + 2 * results + layers + channels * (places + SOFTPLUS)

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes means and deviations of this map, and where it is `"torch"` why."""
        return self.deviation.implementation_for(upcast(x_BCHW))


class GaussianPool1d(WindowPool1d, GaussianPool2d):
    """`GaussianPool2d` for sequences.

    >>> GaussianPool1d(2, channels=1)(torch.full((1, 1, 4), 3.0)).tolist()
    [[[3.0, 3.0]]]
    """


class _Deviation(TapPool2d):
    """The standard deviation of each window, 0 with slope 0 where all values are equal."""

    def formula(self, window: Window) -> Value:
        """Return √(Σ (x − m)² / n); where squares have no room, of differences divided by a power of two."""
        average = mean(window)
        apart = window.mask([value - average for value in window.values], 0.0)
        squares = sum_of([value * value for value in apart])
        large, small = squares > 2.0**100, squares < 2.0**-80
        scale = where(large, 2.0**-68, where(small, 2.0**68, 1.0))
        back = where(large, 2.0**68, where(small, 2.0**-68, 1.0))
        # The gradient is the same at any scale: so it does not overflow where what comes from above is large.
        scaled = [with_gradient_of(value * scale, value) for value in apart]
        variance = divided(sum_of([value * value for value in scaled]), window)
        varies = ~(variance <= 0.0)  # true of NaN
        root = where(varies, sqrt(where(varies, variance, 1.0)), 0.0)
        return with_gradient_of(root * back, root)


class _Uniform(TapPool2d):
    """A number in [0, 1) for each place of a map, from a key that is given."""

    is_random: ClassVar[bool] = True

    def __init__(self, kernel_size: int, *, implementation: str) -> None:
        super().__init__(kernel_size, implementation=implementation)
        self.trace()
        del self.draws  # the stream is the owner's

    def formula(self, window: Window) -> Value:
        """Return the drawn number; where nothing is drawn, ½."""
        return window.uniform() if self.training else window.graph.const(0.5)

    def drawn(self, like: Tensor, key: Tensor) -> Tensor:
        """Return numbers of the shape of a map, which holds none of them."""
        geometry = self.geometry(like.shape[-2], like.shape[-1])
        if self.implementation_for(like)[0] == "torch":
            return pool_plain(like, None, key, self.program, geometry)
        return kernels.pooled(like, None, key, self.program, geometry)


class _Layer(nn.Module):
    """A linear layer without a bias, then batch normalisation: (B, C, 1, 1) → (B, rows, 1, 1)."""

    def __init__(self, channels: int, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.linear = nn.Linear(channels, rows, bias=False)
        self.norm = BatchNorm(rows)

    def forward(self, x_BC11: Tensor) -> Tensor:
        """Return the normalised numbers."""
        y_BR = F.linear(x_BC11.flatten(1), self.linear.weight.to(x_BC11.dtype))
        return self.norm(y_BR.unsqueeze(-1).unsqueeze(-1))


def _mean_of_map(x_BCHW: Tensor) -> Tensor:
    """Return the mean over the places, (B, C, 1, 1), in the order of memory, so that the gradient keeps the layout."""
    if is_channels_last(x_BCHW):
        return x_BCHW.permute(0, 2, 3, 1).flatten(1, 2).mean(1).unsqueeze(-1).unsqueeze(-1)
    return x_BCHW.flatten(2).mean(2).unsqueeze(-1).unsqueeze(-1)
