"""A mean of each window by learned weights that the map itself decides: pixel-adaptive anti-aliasing."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.plain import inside
from poolbench.kernels.precision import is_channels_last, match_input, upcast
from poolbench.kernels.sizes import are_known, larger
from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution, of_softmax
from poolbench.pooling.shared.batch_norm import BatchNorm
from poolbench.pooling.shared.parameters import group_of_channel

FORMS = ("group", "all")


class PASAPool2d(WindowPool2d):
    """A mean of each window, weights predicted per position and channel group: Σ_q w_q x_q, w = softmax(z).

    z = N(conv(x)), a convolution with the window's kernel and stride from all channels to k² numbers for each of G
    groups of neighbouring channels, N batch normalisation. With `softmax="group"` the softmax is over a group's k²
    numbers, so that its weights sum to 1. With `softmax="all"` it is over the k²·G numbers of all groups together, as
    in the authors' code: the weights of one group then sum to less than 1, and the groups compete. G is `groups`, or
    the number of channels C where that is smaller; channel c is in group ⌊c·G/C⌋.

    Positions outside the map hold no value and have no weight; the convolution sees zeros there.

    Args:
        kernel_size, stride, padding, ceil_mode, implementation: see `WindowPool2d`.
        channels: number of channels.
        groups: at most so many groups of channels.
        softmax: `"group"` or `"all"`.

    Parameters: k²·G·(k²·C + 2).

    Raises:
        ValueError: an argument breaks its rule, or `groups` is 1 with `softmax="all"`, where both forms are the same.

    Source: Zou et al., Delving Deeper into Anti-aliasing in ConvNets (2020), and the authors' code. There the filter is
    always 3 x 3 and precedes the network's own stride; here it is the window, and only every s-th result is computed.
    There a map is reflected at its border, for the convolution and the mean, and the convolution starts by He's rule
    over its outputs; here it is initialised as in `nn.Conv2d`.

    >>> pool = PASAPool2d(2, channels=1).eval()
    >>> _ = nn.init.zeros_(pool.conv.weight)
    >>> pool(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item()  # equal weights
    3.0
    """

    small_maps: ClassVar[str] = "a convolution, and a product of every value with its weight"
    keeps_constants: ClassVar[bool] = False  # only with softmax="group"
    keeps_range: ClassVar[bool] = False  # likewise
    sees_batch: ClassVar[bool] = True

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        channels: int,
        groups: int = 8,
        softmax: str = "group",
        implementation: str = "fast",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        count, most = whole_number("channels", channels), whole_number("groups", groups)
        if softmax not in FORMS:
            raise ValueError(f"`softmax` must be 'group' or 'all', got {softmax!r}")
        self.softmax = softmax
        self.groups = min(most, count)
        if softmax == "all" and most == 1:
            raise ValueError("`groups` must be two or more for `softmax='all'`, which is 'group' with one alone, got 1")
        numbers = self.groups * self.window_size
        self.conv = nn.Conv2d(count, numbers, self.kernel_size, self.stride, bias=False)
        self.norm = BatchNorm(numbers)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        height, width = x_BCHW.shape[-2:]
        shape = self.output_shape(height, width)
        (above, below), (left, right) = (self._beyond(axis, x_BCHW.shape[axis - 2], shape[axis]) for axis in (0, 1))
        around = F.pad(upcast(x_BCHW), (left, right, above, below))
        # In the order of memory, so that the gradient keeps the layout as well.
        last = is_channels_last(x_BCHW)
        values = around.permute(0, 2, 3, 1) if last else around
        taps = [self._every(values, at, shape, 1 if last else 2) for at in range(self.window_size)]
        if are_known(height, width):
            z = F.conv2d(around, self.conv.weight.to(around.dtype), stride=self.stride)
        else:  # a convolution would count its results in a way of its own
            seen_BCQHW = torch.stack([tap.permute(0, 3, 1, 2) if last else tap for tap in taps], 2)
            weight_NM11 = self.conv.weight.to(around.dtype).flatten(1).unsqueeze(-1).unsqueeze(-1)
            z = F.conv2d(seen_BCQHW.flatten(1, 2), weight_NM11)
        weight_BGQHW = self.weights(z, (height, width), shape)
        group_C = group_of_channel(self.groups, self.conv.in_channels, around.device)
        parts = []
        for at, tap in enumerate(taps):
            share_BCHW = weight_BGQHW.select(2, at).index_select(1, group_C)
            parts.append(tap * (share_BCHW.permute(0, 2, 3, 1) if last else share_BCHW))
        total = reduce(torch.add, parts)
        return match_input(x_BCHW, total.permute(0, 3, 1, 2) if last else total)

    def weights(self, z_BNHW: Tensor, size: tuple[int, int], shape: tuple[int, int]) -> Tensor:
        """Return the weights of all windows, (B, G, k², H', W'), from what the convolution gives."""
        z = self.norm(z_BNHW).unflatten(1, (self.groups, self.window_size))
        geometry = Geometry(self.kernel_size, self.stride, self.padding, (1, 1), shape)
        if not are_known(*size) or geometry.has_border(size):
            rows, columns = (inside(axis, size[axis], geometry, z.device) for axis in (0, 1))
            there_HWQ = (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2)
            z = torch.where(there_HWQ.permute(2, 0, 1), z, -torch.inf)
        if self.softmax == "group":
            return z.softmax(2)
        return z.flatten(1, 2).softmax(1).unflatten(1, (self.groups, self.window_size))

    def _beyond(self, axis: int, size: int, count: int) -> tuple[int, int]:
        """Return how many places before the map and behind it windows reach over."""
        reach = (count - 1) * self.stride[axis] + self.kernel_size[axis]
        return self.padding[axis], larger(reach - self.padding[axis] - size, 0)

    def _every(self, values: Tensor, at: int, shape: tuple[int, int], dim: int) -> Tensor:
        """Return value number `at` of every window; rows lie along `dim`, columns along the next."""
        for axis, step in zip((0, 1), divmod(at, self.kernel_size[1]), strict=True):
            stride, count = self.stride[axis], shape[axis]
            if are_known(count):
                place = [slice(None)] * (dim + axis) + [slice(step, step + (count - 1) * stride + 1, stride)]
                values = values[tuple(place)]
            else:  # the ends of a slice depend on what is not known
                values = values.index_select(dim + axis, torch.arange(count, device=values.device) * stride + step)
        return values

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return for each place of the result those of its weights, and 2·k² − 1 for each channel.

        Of the weights: 2·k²·C for each of k²·G numbers, 2 to normalise it, and the softmax.
        """
        places, numbers = math.prod(self.output_shape(height, width)), self.groups * self.window_size
        seen = of_convolution(channels * self.window_size, numbers, bias=False) + 2 * numbers
        shares = self.groups * of_softmax(self.window_size) if self.softmax == "group" else of_softmax(numbers)
        return places * (seen + shares + channels * (2 * self.window_size - 1))

    def extra_repr(self) -> str:
        """Show the geometry, how many groups there are and what the softmax is over."""
        return f"{super().extra_repr()}, groups={self.groups}, softmax={self.softmax!r}"


class PASAPool1d(WindowPool1d, PASAPool2d):
    """`PASAPool2d` for sequences; its convolution runs along them.

    >>> PASAPool1d(2, channels=3)(torch.zeros(1, 3, 4)).shape
    torch.Size([1, 3, 2])
    """
