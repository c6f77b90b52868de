"""Of the s x s ways of taking every s-th value, the one that suits the image."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.precision import is_channels_last, match_input, upcast
from poolbench.kernels.sizes import are_known
from poolbench.kernels.transforms import allows_custom_function, is_transformed
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import ABSOLUTE, of_convolution
from poolbench.pooling.shared.draws import Draws
from poolbench.pooling.shared.pad import pad
from poolbench.pooling.windows.dense_max import DenseMax2d

PADDING_MODES = ("circular", "replicate")
DRAWS = ("gumbel", "softmax")
# Sums that differ by less than a part in a million, by rounding, are equal.
DIGITS = 2.0**20


class PolyphasePool2d(WindowPool2d):
    """What polyphase poolings share: the map's components, of which a subclass chooses.

    Component (i, j) has the values z_(i + s·a, j + s·b) for a < H', b < W', with z the maxima of the windows that
    begin at every place, counted from the first of the padded map, or the map itself. What lies beyond the border is
    the map again (`"circular"`), or its last value (`"replicate"`, with which no window has other values than its own,
    and one beyond the map has the map's last).
    """

    small_maps: ClassVar[str] = "the norms of all components, found by a dozen operations of torch"
    keeps_range: ClassVar[bool] = False
    is_equivariant: ClassVar[bool] = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        implementation: str = "fast",
        maximum: bool = True,
        padding_mode: str = "circular",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        if not isinstance(maximum, bool):
            raise ValueError(f"`maximum` must be true or false, got {maximum!r}")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"`padding_mode` must be 'circular' or 'replicate', got {padding_mode!r}")
        self.padding_mode = padding_mode
        self.maxima = DenseMax2d(self.kernel_size, implementation=implementation) if maximum else None

    def components(self, x_BCHW: Tensor) -> Tensor:
        """Return the components: (B, C, H, W) → (B, C, H', s, W', s), rows then columns."""
        sizes = x_BCHW.shape[-2:]
        shape = self.output_shape(sizes[0], sizes[1])
        places = (shape[0] * self.stride[0], shape[1] * self.stride[1])
        if self.maxima is None:
            more = [(0, places[a] - sizes[a]) for a in (0, 1)]
            z_BCHW = pad(x_BCHW, more[0], more[1], self.padding_mode)
        else:
            more = [(self.padding[a], places[a] + self.kernel_size[a] - 1 - self.padding[a] - sizes[a]) for a in (0, 1)]
            z_BCHW = self.maxima(pad(x_BCHW, more[0], more[1], self.padding_mode), places)
        if not are_known(*sizes):
            return self._components_by_places(z_BCHW, shape)
        phases = (shape[0], self.stride[0]), (shape[1], self.stride[1])
        # In the order of memory, so that the gradient keeps the layout.
        if is_channels_last(z_BCHW):
            return z_BCHW.permute(0, 2, 3, 1).unflatten(2, phases[1]).unflatten(1, phases[0]).permute(0, 5, 1, 2, 3, 4)
        return z_BCHW.unflatten(3, phases[1]).unflatten(2, phases[0])

    def _components_by_places(self, z_BCHW: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return the components of a map whose size is not known: nothing asks whether the stride divides it."""
        first = [torch.arange(shape[a], device=z_BCHW.device) * self.stride[a] for a in (0, 1)]
        lines = [z_BCHW.index_select(2, first[0] + at) for at in range(self.stride[0])]
        parts = [[line.index_select(3, first[1] + at) for at in range(self.stride[1])] for line in lines]
        return torch.stack([torch.stack(part, 4) for part in parts], 3)

    def component(self, parts_BCHIWJ: Tensor, score_BP: Tensor) -> Tensor:
        """Return the component of the largest score, of equal ones the first, all NaN where one is: (B, C, H', W')."""
        best_B = score_BP.argmax(1)
        choose = _Component.apply if allows_custom_function(parts_BCHIWJ) else _component
        chosen_BCHW: Tensor = choose(parts_BCHIWJ, best_B)
        if not chosen_BCHW.is_floating_point():
            return chosen_BCHW
        return torch.where(score_BP.isnan().any(1).view(-1, 1, 1, 1), torch.nan, chosen_BCHW)

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the maxima of this map, and where it is `"torch"` why."""
        return super().implementation_for(x_BCHW) if self.maxima is None else self.maxima.implementation_for(x_BCHW)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the comparisons of the dense maxima, k² − 1 each, and what a subclass needs for its choice."""
        rows, columns = self.output_shape(height, width)
        places = rows * self.stride[0], columns * self.stride[1]
        maxima = 0 if self.maxima is None else self.maxima.operations_on(channels, *places)
        return maxima + self.choosing(channels, *places)

    def choosing(self, channels: int, height: int, width: int) -> int:
        """Return the operations of the choice, the components having height · width places together."""
        raise NotImplementedError(f"{type(self).__name__} must bring `choosing` to have `work`")

    def extra_repr(self) -> str:
        """Show the geometry and what the components are of."""
        mode = f"maximum={self.maxima is not None}, padding_mode={self.padding_mode!r}"
        return f"{super().extra_repr()}, {mode}"


class _Component(torch.autograd.Function):
    """One component of each image; torch's own derivative of that adds numbers up where there is one for each place."""

    @staticmethod
    def forward(ctx: Any, parts_BCHIWJ: Tensor, best_B: Tensor) -> Tensor:
        ctx.size, ctx.last = parts_BCHIWJ.shape, _is_channels_last(parts_BCHIWJ)
        ctx.save_for_backward(best_B)
        return _component(parts_BCHIWJ, best_B)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        batch, channels, rows, high, columns, wide = ctx.size
        (best_B,) = ctx.saved_tensors
        image_B, row_B, column_B = _where(best_B, wide)
        if is_transformed(gradient):  # of a batch of gradients nothing can be written in place
            is_row_BI, is_column_BJ = (
                at_B[:, None] == torch.arange(size, device=at_B.device)
                for at_B, size in ((row_B, high), (column_B, wide))
            )
            chosen_B11I1J = is_row_BI[:, None, None, :, None, None] & is_column_BJ[:, None, None, None, None, :]
            return torch.where(chosen_B11I1J, gradient.unsqueeze(-2).unsqueeze(-1), 0.0), None
        if ctx.last:
            parts_BHIWJC = gradient.new_zeros(batch, rows, high, columns, wide, channels)
            parts_BHIWJC[image_B, :, row_B, :, column_B] = gradient.permute(0, 2, 3, 1)
            return parts_BHIWJC.permute(0, 5, 1, 2, 3, 4), None
        parts_BCHIWJ = gradient.new_zeros(ctx.size)
        parts_BCHIWJ[image_B, :, :, row_B, :, column_B] = gradient
        return parts_BCHIWJ, None


def _component(parts_BCHIWJ: Tensor, best_B: Tensor) -> Tensor:
    """Return one component of each image, in the memory layout of the map: (B, C, H', W')."""
    image_B, row_B, column_B = _where(best_B, parts_BCHIWJ.shape[5])
    if _is_channels_last(parts_BCHIWJ):
        parts_BHIWJC = parts_BCHIWJ.permute(0, 2, 3, 4, 5, 1)
        return parts_BHIWJC[image_B, :, row_B, :, column_B].permute(0, 3, 1, 2)
    return parts_BCHIWJ[image_B, :, :, row_B, :, column_B]


def _where(best_B: Tensor, wide: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return image, row and column of the chosen components."""
    return torch.arange(best_B.shape[0], device=best_B.device), best_B // wide, best_B % wide


def _is_channels_last(parts_BCHIWJ: Tensor) -> bool:
    return parts_BCHIWJ.stride(1) == 1 and parts_BCHIWJ.shape[1] > 1


class AdaptivePolyphasePool2d(PolyphasePool2d):
    """Every s-th maximum in each direction, beginning where they are largest together: adaptive polyphase sampling.

    z_t = max of the window that begins at place t (or z = x); its s x s components are z_(i + s·a, j + s·b). The
    result is the one component whose p-norm over all channels and places, (Σ |z|^p)^(1/p), is largest; one for an
    image. Of those whose Σ |z|^p are equal to six digits, it is the first in the order of reading. With a NaN there is
    no choice: the image's result is NaN.

    Shifted by one place, a periodic map has the same components, shifted or not. So with `padding_mode="circular"` and
    sizes that the stride divides, a circular shift of the map changes the result by a circular shift at most, exactly,
    if no two components have equal norms. In a network that holds only where the convolutions are circular too. A
    shift that brings new values in may change the choice: `is_equivariant` is False.

    Args:
        kernel_size, stride, padding, ceil_mode, implementation: see `WindowPool2d`.
        maximum: whether maxima at stride 1 come first; without them the window's size only counts the results.
        norm: p, a number above 0, or infinity for the largest |z|.
        padding_mode: `"circular"`: the map is taken as periodic, and a window over its border has values of the other
            side. `"replicate"`: such a window has the values that it has in max pooling.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Chaman and Dokmanić, Truly Shift-Invariant Convolutional Neural Networks (2021), and the authors' code,
    which has strides of 2 and p = 1, 2 and ∞, and adds a row of the other side to a map of odd size. Its blur before
    the choice is left out, because `MaxBlurPool2d` has one.

    >>> x = torch.tensor([[[[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 4.0]]]])
    >>> AdaptivePolyphasePool2d(2, maximum=False)(x).tolist()  # 1, 2 or 3, 4
    [[[[3.0, 4.0]]]]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        implementation: str = "fast",
        maximum: bool = True,
        norm: float = 2.0,
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
        if not isinstance(norm, int | float) or isinstance(norm, bool) or not norm > 0:
            raise ValueError(f"`norm` must be a number above 0 or infinity, got {norm!r}")
        self.norm = float(norm)

    def selects(self, height: int, width: int) -> bool:
        """Return True: every result is a value of the map."""
        return True

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        parts_BCHIWJ = self.components(x_BCHW)
        # The choice is no function that could be differentiated.
        return match_input(x_BCHW, self.component(parts_BCHIWJ, self.shares(parts_BCHIWJ.detach())))

    def shares(self, parts_BCHIWJ: Tensor) -> Tensor:
        """Return Σ |z|^p of each component, divided by the largest of them and rounded: (B, s · s)."""
        parts, size = upcast(parts_BCHIWJ), (-1, 1, 1, 1, 1, 1)
        top_B = torch.maximum(parts.amax((1, 2, 3, 4, 5)), -parts.amin((1, 2, 3, 4, 5)))
        # Divided by the largest, no power overflows. What is infinite or 0 stays.
        parts = parts / torch.where((top_B > 0) & (top_B < torch.inf), top_B, 1.0).view(size)
        if self.norm == float("inf"):
            power_BIJ = parts.abs().amax((1, 2, 4)).to(torch.float64)
        else:
            powers = parts.square() if self.norm == 2 else parts.abs() if self.norm == 1 else parts.abs().pow(self.norm)
            # Over the places in float64, where their order makes next to no difference.
            power_BIJ = powers.sum(1).sum((1, 3), dtype=torch.float64)
        power_BP = power_BIJ.flatten(1)
        share_BP = power_BP / power_BP.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        return torch.where(power_BP.isinf(), 1.0, share_BP).mul(DIGITS).round()

    def choosing(self, channels: int, height: int, width: int) -> int:
        """Return 4 for each value besides |z|^p, and 3 for each component.

        The 4: its share in the largest and the smallest value, its division by the larger, its addition (or, of
        p = ∞, its comparison). |z|^p takes 1 of p = 2, 2 of p = 1 and ∞, else 3. A component's: its share of the
        largest sum, which is scaled, and its comparison; 1 is left over.
        """
        power = {2.0: 1, 1.0: ABSOLUTE, float("inf"): ABSOLUTE}.get(self.norm, ABSOLUTE + 1)
        return (4 + power) * channels * height * width + 3 * self.stride[0] * self.stride[1] + 1

    def extra_repr(self) -> str:
        """Show the geometry and the norm."""
        return f"{super().extra_repr()}, norm={self.norm}"


class AdaptivePolyphasePool1d(WindowPool1d, AdaptivePolyphasePool2d):
    """`AdaptivePolyphasePool2d` for sequences.

    >>> AdaptivePolyphasePool1d(2, maximum=False)(torch.tensor([[[1.0, 0.0, 2.0, 5.0]]])).tolist()
    [[[0.0, 5.0]]]
    """


class LearnedPolyphasePool2d(PolyphasePool2d):
    """Every s-th maximum in each direction, beginning where a learned score is largest: learned polyphase sampling.

    Components are those of `AdaptivePolyphasePool2d`. The score of one is the mean, over channels and places, of
    conv(ReLU(conv(component))), two 3 x 3 convolutions with `hidden` channels that all components share. In evaluation
    the result is the component of the largest score, of equal ones the first; one for an image. In training it is
    the sum of all, weighted by the softmax of scores / temperature, with `draw="gumbel"` of (scores + Gumbel's noise) /
    temperature, noise drawn anew for every image and component. Only training has a gradient for the weights. A NaN
    makes all results of its image NaN.

    For circular shifts what `AdaptivePolyphasePool2d` says holds in evaluation; the convolutions' padding is
    `padding_mode`, too.

    Args:
        kernel_size, stride, padding, ceil_mode, maximum, padding_mode, implementation: see `AdaptivePolyphasePool2d`.
        channels: number of channels.
        hidden: channels of the convolutions; None means as many as the map has.
        draw: `"gumbel"` or `"softmax"`, which draws nothing.
        temperature: above 0; the smaller, the nearer training comes to one component.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Rojas-Gomez et al., Learnable Polyphase Sampling for Shift Invariant and Equivariant Convolutional Networks
    (2022), and the authors' code, which has strides of 2, hidden channels set for each network, and lets the
    temperature fall during training; here it is fixed. The second convolution has no bias here: it would be the same
    for all components. Weights start as those of `nn.Conv2d`.

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
        width = channels if hidden is None else hidden
        for name, value in (("channels", channels), ("hidden", width)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"`{name}` must be a whole number of at least 1, got {value!r}")
        if draw not in DRAWS:
            raise ValueError(f"`draw` must be 'gumbel' or 'softmax', got {draw!r}")
        if not isinstance(temperature, int | float) or isinstance(temperature, bool) or not temperature > 0:
            raise ValueError(f"`temperature` must be a number above 0, got {temperature!r}")
        self.draw, self.temperature = draw, float(temperature)
        size = (1 if self.spatial == 1 else 3, 3)
        self.first = nn.Conv2d(channels, width, size)
        self.second = nn.Conv2d(width, width, size, bias=False)
        self.draws = Draws()

    def scores(self, parts_BCHIWJ: Tensor) -> Tensor:
        """Return the learned score of each component, (B, s · s), in at least float32."""
        parts, phases = upcast(parts_BCHIWJ), self.stride[0] * self.stride[1]
        # The components as so many images, in the memory layout of the map.
        if _is_channels_last(parts):
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
