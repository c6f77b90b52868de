"""Polyphase pooling that keeps the component of the largest learned score."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.precision import match_input, upcast
from poolbench.pooling.bases.arguments import positive_number, whole_number
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.bases.work import ABSOLUTE, of_convolution
from poolbench.pooling.shared.draws import Draws
from poolbench.pooling.shared.pad import pad
from poolbench.pooling.windows.polyphase import PolyphasePool2d, holds_channels_last

DRAWS = ("gumbel", "softmax")


class LearnedPolyphasePool2d(PolyphasePool2d):
    """Every s-th maximum in each direction, with the offset of the largest learned score: learned polyphase sampling.

    The components are those of `AdaptivePolyphasePool2d`. The score of a component is the mean, over channels and
    positions, of conv(ReLU(conv(component))), two 3 x 3 convolutions with `hidden` channels, the same for all
    components. In evaluation the result is the component with the largest score, the first of equal ones; each image
    has one. In training it is the sum of all components, weighted by the softmax of scores / temperature; with
    `draw="gumbel"`, of scores plus Gumbel noise, divided by the temperature, with noise drawn for every image and
    component. Only training has a gradient for the weights. A NaN makes all results of its image NaN.

    In evaluation, circular shifts behave as in `AdaptivePolyphasePool2d`; the convolutions also use `padding_mode`.

    Args:
        kernel_size, stride, padding, ceil_mode, maximum, padding_mode, implementation: see `AdaptivePolyphasePool2d`.
        channels: number of channels.
        hidden: channels of the convolutions; None means as many as the map has.
        draw: `"gumbel"` or `"softmax"`, which draws nothing.
        temperature: above 0; the smaller, the nearer training comes to one component.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Rojas-Gomez et al., Learnable Polyphase Sampling for Shift Invariant and Equivariant Convolutional Networks
    (2022), and the authors' code, which has strides of 2, hidden channels set for each network, and lowers the
    temperature during training; here it is fixed. The second convolution has no bias here: it would be the same for all
    components. Weights are initialised as in `nn.Conv2d`.

    >>> LearnedPolyphasePool2d(2, channels=1).eval()(torch.ones(1, 1, 4, 4)).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    small_maps: ClassVar[str] = "two convolutions of all components"
    is_random: ClassVar[bool] = True

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        channels: int,
        implementation: str = "fast",
        maximum: bool = True,
        hidden: int | None = None,
        draw: str = "gumbel",
        temperature: float = 1.0,
        padding_mode: str = "circular",
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            ceil_mode,
            implementation=implementation,
            maximum=maximum,
            padding_mode=padding_mode,
        )
        count = whole_number("channels", channels)
        width = count if hidden is None else whole_number("hidden", hidden)
        if draw not in DRAWS:
            raise ValueError(f"`draw` must be 'gumbel' or 'softmax', got {draw!r}")
        self.draw, self.temperature = draw, positive_number("temperature", temperature)
        size = (1 if self.spatial == 1 else 3, 3)
        self.first = nn.Conv2d(count, width, size)
        self.second = nn.Conv2d(width, width, size, bias=False)
        self.draws = Draws()

    def scores(self, parts_BCHIWJ: Tensor) -> Tensor:
        """Return the learned score of each component, (B, s · s), in at least float32."""
        parts, phases = upcast(parts_BCHIWJ), self.stride[0] * self.stride[1]
        # The components as so many images, in the memory layout of the map.
        if holds_channels_last(parts):
            stacked = parts.permute(0, 3, 5, 2, 4, 1).flatten(0, 2).permute(0, 3, 1, 2)
        else:
            stacked = parts.permute(0, 3, 5, 1, 2, 4).flatten(0, 2)
        # Scaled with its bias, a convolution is scaled, and so is ReLU: thus the largest numbers do not overflow.
        scale_B = parts.detach().abs().amax((1, 2, 3, 4, 5)).clamp(min=1).reciprocal()
        scale_N111 = scale_B.repeat_interleave(phases).view(-1, 1, 1, 1)
        assert self.first.bias is not None
        bias_C11 = self.first.bias.to(parts.dtype).view(-1, 1, 1)
        hidden = F.relu(self._convolved(stacked * scale_N111, self.first.weight) + bias_C11 * scale_N111)
        # The mean of a convolution's channels is the convolution with the mean of their filters, at a fraction of it.
        last = upcast(self._convolved(hidden, self.second.weight.mean(0, keepdim=True)))
        return last.mean((1, 2, 3)).view(-1, phases) / scale_B.view(-1, 1)

    def choosing(self, channels: int, height: int, width: int) -> int:
        """Return the operations of the scores: of both convolutions, of their scale, and the comparison.

        With h hidden channels and m = 9, or 3 in one dimension: 2·C·m·h for each place, 2·h for bias and ReLU, and
        2·h·m for the second convolution, which is one with the mean of its filters; 4 for each value to find the
        largest size and divide by it; 1 for each place for the mean; for each component 2, and h to scale the bias.
        """
        places, hidden = height * width, self.first.out_channels
        first = of_convolution(self.first.weight[0].numel(), hidden * places, bias=True) + hidden * places
        second = of_convolution(self.second.weight[0].numel(), places, bias=False)
        scale = (ABSOLUTE + 2) * channels * places
        return scale + first + second + places + (2 + hidden) * self.stride[0] * self.stride[1]

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return a convolution of the same size, with what lies beyond the border by `padding_mode`."""
        sides = [(size // 2, size // 2) for size in weight.shape[2:]]
        return F.conv2d(pad(x, sides[0], sides[1], self.padding_mode), weight.to(x.dtype))

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        parts_BCHIWJ = self.components(x_BCHW)
        score_BP = self.scores(parts_BCHIWJ)
        if not self.training:
            # Of components that are circular shifts of each other, rounding in float64 does not choose.
            return match_input(x_BCHW, self.component(parts_BCHIWJ, score_BP.detach().to(torch.float32)))
        if self.draw == "gumbel":
            # The drawn numbers are multiples of 2^−24 below 1: half a step away from 0 and from 1.
            uniform_BP = self.draws.uniform(*score_BP.shape).to(torch.float64) + 2.0**-25
            score_BP = score_BP - (-uniform_BP.log()).log().to(score_BP.dtype)
        weight_BP = (score_BP / self.temperature).softmax(1)
        weight_B11I1J = weight_BP.view(-1, 1, 1, self.stride[0], 1, self.stride[1])
        return match_input(x_BCHW, (upcast(parts_BCHIWJ) * weight_B11I1J).sum((3, 5)))

    def extra_repr(self) -> str:
        """Show the geometry and how training chooses."""
        return f"{super().extra_repr()}, draw={self.draw!r}, temperature={self.temperature}"


class LearnedPolyphasePool1d(WindowPool1d, LearnedPolyphasePool2d):
    """`LearnedPolyphasePool2d` for sequences; its convolutions run along them.

    >>> LearnedPolyphasePool1d(2, channels=1).eval()(torch.ones(1, 1, 4)).tolist()
    [[[1.0, 1.0]]]
    """
