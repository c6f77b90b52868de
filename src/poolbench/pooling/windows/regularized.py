"""Regularized pooling: the places of the maxima, smoothed over neighbouring windows."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.graph import Value, Window, minimum, propagate_nan, reduce, where
from poolbench.kernels.precision import is_channels_last, match_input, upcast
from poolbench.pooling.bases.arguments import is_whole
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d


class RegularizedPool2d(WindowPool2d):
    """The value of each window at the place where the maxima of the windows around it lie on the average.

    Δ is the displacement of a window's maximum from the window's centre, in rows and in columns, 0 where all values of
    the window are equal. Δ̃ = Σ Δ / w² over the w x w windows around it, 0 for those beyond the border. The result is
    the value at the place of the window that is nearest to centre + Δ̃, of the places inside the map; of two as near
    the upper or the left one. So a single maximum that lies elsewhere than those beside it is passed over, and
    `neighbours=1` is max pooling.

    The choice is no function that could be differentiated: the gradient goes to the value that was taken. In a window
    of equal values that need not be the first. A window with NaN has no place: it gives NaN, as all do whose w x w
    windows have it among them.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        neighbours: w, an odd number.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Otsuzuki, Hayashi, Zheng and Uchida, Regularized Pooling (2020), and the authors' code and figure. There
    windows are of odd size and do not overlap; overlaps, borders and equally near places are settled here. So are
    windows of even size, whose places lie half a step beside the centre here: a branch of that code for them counts
    whole steps that leave out the centre, and takes other values in half of the windows of 2 x 2.
    That code takes a window for one without a maximum where its largest value is the commonest of the whole batch, and
    lies in the first place: here it is one of equal values.

    >>> x = torch.tensor([[[[9.0, 1.0, 2.0, 0.0, 3.0, 0.0, 0.0, 4.0, 0.0]]]])
    >>> RegularizedPool2d((1, 3))(x).tolist()  # Δ̃ = −1/9, −1/9, 0: the middle of each
    [[[[1.0, 3.0, 4.0]]]]
    >>> RegularizedPool2d((1, 3), neighbours=1)(x).tolist()
    [[[[9.0, 3.0, 4.0]]]]
    """

    small_maps: ClassVar[str] = "a kernel for the places, and two dozen operations of torch that smooth and take them"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        neighbours: int = 3,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        if not is_whole(neighbours) or neighbours < 1 or neighbours % 2 == 0:
            raise ValueError(f"`neighbours` must be an odd number of at least 1, got {neighbours!r}")
        self.neighbours = int(neighbours)
        geometry = self.kernel_size, self.stride, self.padding, ceil_mode
        self.places = _PlaceOfMaximum(*geometry, dilation=self.dilation, implementation=implementation)

    def selects(self, height: int, width: int) -> bool:
        """Return True: every result is a value of the map."""
        return True

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        sizes = x_BCHW.shape[-2:]
        shape = self.output_shape(sizes[0], sizes[1])
        place_BCHW = self.places(_ordered(x_BCHW.detach()))
        missing = place_BCHW.isnan()
        # For windows without a place any number will do: they are marked below.
        place_BCHW = torch.where(missing, 0.0, place_BCHW).to(torch.int64)
        parts = []
        for axis in (0, 1):
            twice = self._twice_displacement(axis, place_BCHW.device)[place_BCHW]
            total = self._smoothed(torch.where(missing, torch.nan, twice))
            unknown = total.isnan()
            at = torch.where(unknown, 0.0, total).to(torch.int64)
            lines = self._lines(axis, sizes[axis], shape[axis], at.device) * (sizes[1] if axis == 0 else 1)
            window = torch.arange(shape[axis], device=at.device).view((-1, 1) if axis == 0 else (-1,))
            parts.append(lines[window, at])
        chosen = _at(x_BCHW, parts[0] + parts[1])
        if x_BCHW.is_floating_point():
            chosen = torch.where(unknown, torch.nan, chosen)
        return match_input(x_BCHW, chosen)

    def _twice_displacement(self, axis: int, device: torch.device) -> Tensor:
        """Return 2Δ along an axis for each place of a window, and at the end 0 for a window of equal values."""
        wide = self.kernel_size[1]
        place = torch.arange(self.window_size, device=device)
        step = place // wide if axis == 0 else place % wide
        return F.pad((2 * step - (self.kernel_size[axis] - 1)).to(torch.float32), (0, 1))

    def _smoothed(self, twice_BCHW: Tensor) -> Tensor:
        """Return Σ 2Δ over the windows around each, a whole number; NaN where one is."""
        around = (1 if self.spatial == 1 else self.neighbours, self.neighbours)
        count = around[0] * around[1]
        if count > 1:
            twice_BCHW = F.avg_pool2d(twice_BCHW, around, 1, (around[0] // 2, around[1] // 2))
        return (twice_BCHW * count).round()

    def _lines(self, axis: int, size: int, count: int, device: torch.device) -> Tensor:
        """Return the row (column) of the map for each window and each Σ 2Δ, counted from 0 and then from −1 down."""
        kernel, step = self.kernel_size[axis], self.dilation[axis]
        among = self.neighbours if self.spatial == 1 else self.neighbours**2
        most = (kernel - 1) * among
        total = torch.arange(2 * most + 1, device=device)
        total = torch.where(total > most, total - 2 * most - 1, total)
        # The place nearest to (kernel − 1) / 2 + total / (2 · among), of two as near the first.
        nearest = -((-(total + (kernel - 2) * among)) // (2 * among))
        first = torch.arange(count, device=device) * self.stride[axis] - self.padding[axis]
        least = torch.div(step - 1 - first, step, rounding_mode="floor").clamp(min=0)
        last = torch.div(size - 1 - first, step, rounding_mode="floor").clamp(max=kernel - 1)
        inside = torch.minimum(torch.maximum(nearest, least.unsqueeze(1)), last.unsqueeze(1))
        return first.unsqueeze(1) + inside * step

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the comparisons that find the places, and for each result and axis a mean, a product, and a sum."""
        rows, columns = self.output_shape(height, width)
        around = self.neighbours ** (1 if self.spatial == 1 else 2)
        smoothing = 2 * ((around if around > 1 else 0) + 1) + 1
        return self.places.operations_on(channels, height, width) + smoothing * channels * rows * columns

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what finds the places of this map's maxima, and where it is `"torch"` why."""
        return self.places.implementation_for(upcast(x_BCHW))

    def extra_repr(self) -> str:
        """Show the geometry and how many windows are smoothed over."""
        return f"{super().extra_repr()}, neighbours={self.neighbours}"


class RegularizedPool1d(WindowPool1d, RegularizedPool2d):
    """`RegularizedPool2d` for sequences: Δ̃ = Σ Δ / w over w windows.

    >>> RegularizedPool1d(3)(torch.tensor([[[9.0, 1.0, 2.0, 5.0, 3.0, 0.0]]])).tolist()  # Δ̃ = −2/3 in both
    [[[9.0, 5.0]]]
    """


class _PlaceOfMaximum(TapPool2d):
    """The number of the place that the largest value has in its window, n where all are equal."""

    def formula(self, window: Window) -> Value:
        """Return the number of the first largest value, of the n that a whole window has; NaN where one is."""
        values = window.masked_fill(-torch.inf)
        largest, place = values[0], window.graph.const(0.0)
        for number, value in enumerate(values[1:], start=1):
            is_larger = value > largest
            largest, place = where(is_larger, value, largest), where(is_larger, float(number), place)
        least = reduce(minimum, window.masked_fill(torch.inf))
        return propagate_nan(where(largest > least, place, float(window.size)), window)


def _ordered(x: Tensor) -> Tensor:
    """Return numbers of floating point in the order of the map's, exactly."""
    return upcast(x) if x.is_floating_point() else x.unique(return_inverse=True)[1].to(torch.float64)


def _at(x_BCHW: Tensor, place_BCHW: Tensor) -> Tensor:
    """Return the values at places that are counted in row-major order, in the memory layout of the map."""
    sizes = place_BCHW.shape[-2:]
    if is_channels_last(x_BCHW):
        x_BNC, place_BNC = (each.permute(0, 2, 3, 1).flatten(1, 2) for each in (x_BCHW, place_BCHW))
        return x_BNC.gather(1, place_BNC).unflatten(1, sizes).permute(0, 3, 1, 2)
    return x_BCHW.flatten(2).gather(2, place_BCHW.flatten(2)).unflatten(2, sizes)
