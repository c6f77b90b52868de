"""Max pooling over regions of random sizes."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor

from poolbench.kernels.precision import is_channels_last, match_input
from poolbench.kernels.sizes import are_known, are_surely_equal
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.shared.draws import Draws
from poolbench.pooling.shared.index_select import index_select, select_places
from poolbench.pooling.windows.max import MaxPool2d

SEQUENCES = ("random", "pseudorandom")


class FractionalMaxPool2d(WindowPool2d):
    """The largest value of each of H' x W' regions, whose edges are drawn in training.

    Along a dimension of n values with n' results there are edges 0 = e_0 < e_1 < … < e_n', at distances of ⌊α⌋ or ⌈α⌉.
    Overlapping regions [e_i, e_(i+1)] have their edges in common, and e_n' = n − 1; disjoint ones [e_i, e_(i+1) − 1] do
    not, and e_n' = n; α = e_n' / n'. So every value belongs to a region. Edges are drawn

    - `"random"`: a random order of the distances, with as many long ones as are needed, every order equally likely;
    - `"pseudorandom"`: e_i = ⌊(e_n' · i + j) / n'⌋ with j drawn from 0, …, n' − 1.

    One draw is used for all images and channels of a forward pass. In evaluation the edges are those of j = ⌊n'/2⌋ in
    both cases: i·α, rounded. If α is a whole number nothing is random, and disjoint regions are adjacent windows of α x
    α: at a stride of 2 and an even map, 2 x 2 max pooling. Overlapping regions then have 3 values, except one,
    anywhere, that has 2. If n' = n, every value is a region.

    kernel_size, stride, padding and ceil_mode only determine the number of results, as in `nn.MaxPool2d`: no region
    contains padding. So α is close to the stride, a whole number, as for any other pooling at the same site. With
    `output_ratio` it is 1 / ratio, whatever they are: the fractional ratio of the name. The gradient goes to the first
    of equal values, in row-major order.

    Args:
        kernel_size, padding, ceil_mode, implementation: see `WindowPool2d`.
        stride: see `WindowPool2d`; at least 2 wherever the window is larger than 1, so that there are fewer results
            than values.
        sequence: `"random"` or `"pseudorandom"`.
        overlapping: whether neighbouring regions share a row or a column.
        output_ratio: results for each value along a dimension, one number or (height, width), above 0 and below 1:
            ⌊ratio·n⌋ results, in the source often 1/√2. None: the number of results follows from the geometry.

    Raises:
        ValueError: an argument breaks its rule, or there are more results than values (one value with a padding of 2).

    Source: Graham, Fractional Max-Pooling (2014), section 2 (second-hand: summaries of it); there α is between 1 and 2.
    Its formula for pseudorandom edges is ⌈α(i + u)⌉, which has n' different forms; here each is equally likely. Its
    results are means over several draws; the evaluation here uses one. The author's later code and
    `torch.nn.FractionalMaxPool2d` have windows of a fixed size and draw only their positions, the latter for each image
    and channel, and in evaluation as well; with a whole α and disjoint regions they are the same.

    >>> x = torch.tensor([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]])
    >>> FractionalMaxPool2d((1, 2), (1, 2), ceil_mode=True).eval()(x).tolist()  # edges at 0, 1, 3, 4
    [[[[2.0, 4.0, 5.0]]]]
    >>> FractionalMaxPool2d(2, output_ratio=0.7)(torch.zeros(1, 1, 20, 10)).shape
    torch.Size([1, 1, 14, 7])
    """

    small_maps: ClassVar[str] = "drawing the edges, and copying each region before its maximum is taken"
    keeps_range: ClassVar[bool] = False
    is_equivariant: ClassVar[bool] = False
    is_random: ClassVar[bool] = True
    geometries: ClassVar[tuple[Mapping[str, Any], ...] | None] = (
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 2, "stride": 2, "ceil_mode": True},
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": 3, "stride": 3},
    )

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        implementation: str = "fast",
        sequence: str = "random",
        overlapping: bool = True,
        output_ratio: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        self.output_ratio = self._ratio(output_ratio)
        if any(kernel > 1 and step == 1 for kernel, step in zip(self.kernel_size, self.stride, strict=True)):
            raise ValueError(
                f"`stride` must be at least 2 where kernel_size={kernel_size} is larger than 1, got {stride!r}"
            )
        if sequence not in SEQUENCES:
            raise ValueError(f"`sequence` must be 'random' or 'pseudorandom', got {sequence!r}")
        if not isinstance(overlapping, bool):
            raise ValueError(f"`overlapping` must be true or false, got {overlapping!r}")
        self.sequence, self.overlapping = sequence, overlapping
        self.draws = Draws()
        # Held as it is, no part of the module: it has no parameters, and is made anew for regions of another size.
        self._of_regions: list[MaxPool2d] = []

    def _ratio(self, ratio: float | Sequence[float] | None) -> tuple[float, float] | None:
        """Return the ratio of each dimension; in one dimension, that of the height is 1."""
        if ratio is None:
            return None
        given = tuple(ratio) if isinstance(ratio, Sequence) else (ratio,) * self.spatial
        numbers = all(isinstance(each, int | float) and not isinstance(each, bool) and 0 < each < 1 for each in given)
        if len(given) != self.spatial or not numbers:
            raise ValueError(f"`output_ratio` must be above 0 and below 1, one number or two, got {ratio!r}")
        return (1.0, float(given[0])) if self.spatial == 1 else (float(given[0]), float(given[1]))

    def output_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (H', W') for a map of this size.

        Raises:
            ValueError: the map is smaller than the window, or no result is left of it by `output_ratio`.
        """
        if self.output_ratio is None:
            return super().output_shape(height, width)
        shape = torch.sym_int(height * self.output_ratio[0]), torch.sym_int(width * self.output_ratio[1])
        if are_known(*shape) and min(shape) < 1:
            raise ValueError(f"the map must have a result by output_ratio={self.output_ratio}, got {height}x{width}")
        return shape

    def selects(self, height: int, width: int) -> bool:
        """Return True: every result is a value of the map."""
        return True

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        height, width = x_BCHW.shape[-2:]
        shape = self.output_shape(height, width)
        known = are_known(height, width)
        if known and (shape[0] > height or shape[1] > width):
            raise ValueError(f"the map must be at least {shape[0]}x{shape[1]}, as many results, got {height}x{width}")
        if not known or torch.compiler.is_compiling():
            return self._by_axes(x_BCHW, shape)
        # Columns are drawn first.
        columns, rows = (self._places(x_BCHW.shape[2 + axis], shape[axis], x_BCHW.device) for axis in (1, 0))
        if rows is None and columns is None:
            return x_BCHW
        down, across = (
            torch.arange(n, device=x_BCHW.device).unsqueeze(1) if p is None else p
            for n, p in ((height, rows), (width, columns))
        )
        # The values of each region side by side, and of these the largest.
        y_BCHW = select_places(x_BCHW, down.flatten(), across.flatten())
        most = (down.shape[1], across.shape[1])
        return self._maximum(most).pool(y_BCHW)

    def _by_axes(self, x_BCHW: Tensor, shape: tuple[int, int]) -> Tensor:
        """Pool a map of any size, axis by axis."""
        # In the order of memory, so that the gradient keeps the layout as well.
        last = is_channels_last(x_BCHW)
        y = x_BCHW.permute(0, 2, 3, 1) if last else x_BCHW
        # Columns first: of equal values, the first of a row, and then the first row, is the first in reading.
        for axis in (1, 0):
            if not are_surely_equal(shape[axis], x_BCHW.shape[2 + axis]):
                y = self._along(y, axis, axis + (1 if last else 2), shape[axis])
        return match_input(x_BCHW, y.permute(0, 3, 1, 2) if last else y)

    def _maximum(self, most: tuple[int, int]) -> MaxPool2d:
        """Return the maximum of regions of this size side by side; of the size before it is still there."""
        if not self._of_regions or self._of_regions[0].kernel_size != most:
            self._of_regions = [MaxPool2d(most, implementation=self.implementation)]
        return self._of_regions[0]

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the maxima of this map's regions, `"fast"` or `"torch"`, and for the latter why."""
        sizes = x_BCHW.shape[-2:]
        shape = self.output_shape(sizes[0], sizes[1])
        if not are_known(*sizes) or torch.compiler.is_compiling():
            return "torch", "of a size that is not known, regions are taken axis by axis"
        most = (self._largest(sizes[0], shape[0]), self._largest(sizes[1], shape[1]))
        return self._maximum(most).implementation_for(x_BCHW)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the comparisons of all regions, C·H'·W'·(r_h·r_w − 1).

        r is the size of the largest region along a dimension; smaller ones take as many.
        """
        rows, columns = self.output_shape(height, width)
        return channels * rows * columns * (self._largest(height, rows) * self._largest(width, columns) - 1)

    def _largest(self, size: int, count: int) -> int:
        """Return how many of `size` places the largest of `count` regions has."""
        shared = int(self.overlapping)
        return 1 if count >= size else -(-(size - shared) // count) + shared

    def _most(self, axis: int) -> int:
        """Return a number of steps that no region of an axis exceeds, whatever the map's size."""
        if self.output_ratio is not None:
            return ceil(2 / self.output_ratio[axis])
        return self.stride[axis] + max(self.kernel_size[axis] - 2 * self.padding[axis], 0)

    def _along(self, x: Tensor, axis: int, dim: int, count: int) -> Tensor:
        """Return the maxima of `count` regions along one axis, which is dimension `dim` of x."""
        shared = int(self.overlapping)
        span = x.shape[dim] - shared
        edges = self._edges(span, count, x.device)
        if isinstance(edges, list):
            edges = torch.tensor(edges, device=x.device)
        first, last = edges[:-1], edges[1:] - 1 + shared
        result = index_select(x, dim, first)
        # Where a region has ended, its last value stands in: it changes nothing.
        most = -(-span // count) if are_known(span, count) else self._most(axis)
        for step in range(1, most + shared):
            other = index_select(x, dim, torch.minimum(first + step, last))
            result = torch.where((other > result) | other.isnan(), other, result)
        return result

    def _places(self, size: int, count: int, device: torch.device) -> Tensor | None:
        """Return which of `size` rows or columns each of `count` regions has, (count, most); None: one each.

        Where a region has ended, its last value stands in: it changes nothing.
        """
        if count >= size:
            return None
        shared = int(self.overlapping)
        most = self._largest(size, count)
        edges = self._edges(size - shared, count, device)
        if isinstance(edges, list):
            ends = pairwise(edges)
            places = [[min(first + step, after - 1 + shared) for step in range(most)] for first, after in ends]
            return torch.tensor(places, device=device)
        last = edges[1:] - 1 + shared
        return torch.minimum(edges[:-1].unsqueeze(1) + torch.arange(most, device=device), last.unsqueeze(1))

    def _edges(self, span: int, count: int, device: torch.device) -> Tensor | list[int]:
        """Return e_0, …, e_count, with e_count = span; as Python's numbers where these are drawn so."""
        if self.training and self.sequence == "random":
            drawn = self.draws.numbers(count)
            if isinstance(drawn, list):
                longer = set(sorted(range(count), key=drawn.__getitem__)[: span % count])
                return list(accumulate((span // count + (at in longer) for at in range(count)), initial=0))
            rank = drawn.argsort(stable=True).argsort(stable=True)
            steps = span // count + (rank < span % count).to(torch.int64)
            return torch.cat([steps.new_zeros(1), steps.cumsum(0)])
        # The product may round to `count` itself.
        phase = (self.draws.uniform(1) * count).to(torch.int64).clamp(max=count - 1) if self.training else count // 2
        return (torch.arange(count + 1, device=device) * span + phase) // count

    def extra_repr(self) -> str:
        """Show the geometry and how regions are drawn."""
        ratio = "" if self.output_ratio is None else f", output_ratio={self.output_ratio[-self.spatial :]}"
        return f"{super().extra_repr()}, sequence={self.sequence!r}, overlapping={self.overlapping}{ratio}"


class FractionalMaxPool1d(WindowPool1d, FractionalMaxPool2d):
    """`FractionalMaxPool2d` for sequences.

    >>> FractionalMaxPool1d(2, ceil_mode=True).eval()(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]])).tolist()
    [[[2.0, 4.0, 5.0]]]
    """
