"""Maxima at every place and their blur, in one formula: no map of maxima is ever written."""

import math
from collections.abc import Sequence
from functools import reduce

from torch import Tensor

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.graph import Value, Window, maximum, propagate_nan, where
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.shared.binomial import binomial, is_mirrored_within, mirrored
from poolbench.pooling.shared.means import weighted

# A window with more values takes longer than a map of maxima.
MOST_VALUES = 36


class BlurredMax2d(TapPool2d):
    """The formula of max-blur pooling over all values that a result depends on.

    Args:
        kernel_size, stride, padding: of the windows whose maxima are blurred; pairs.
        blur_size: sides of the filter, a pair.
        implementation: see `WindowPool2d`.
    """

    def __init__(
        self,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        blur_size: Sequence[int],
        implementation: str,
    ) -> None:
        sizes = [size + taps - 1 for size, taps in zip(kernel_size, blur_size, strict=True)]
        super().__init__(sizes, stride, implementation=implementation)
        self.inner, self.around, self.filter = tuple(kernel_size), tuple(padding), tuple(blur_size)
        self.trace()

    @staticmethod
    def serves(
        kernel_size: Sequence[int], padding: Sequence[int], dilation: Sequence[int], blur_size: Sequence[int]
    ) -> bool:
        """Whether there is one formula for windows of this kind, and it is the faster way."""
        return (
            math.prod(size + taps - 1 for size, taps in zip(kernel_size, blur_size, strict=True)) <= MOST_VALUES
            and all(2 * padding[a] < kernel_size[a] and dilation[a] == 1 for a in (0, 1))
            and math.prod(kernel_size) > 1
        )

    def formula(self, window: Window) -> Value:
        """Return Σ w·max."""
        rows, columns = self.filter
        maxima = self.maxima(window)
        if window.valid is None:
            weights = [a * b for a in binomial(rows) for b in binomial(columns)]
            return propagate_nan(weighted(maxima, weights), window)
        down_ok, across_ok = self.whole(window.valid, 0), self.whole(window.valid, 1)
        weights_there = [a * b for a in mirrored(down_ok) for b in mirrored(across_ok)]
        there = [a & b for a in down_ok for b in across_ok]
        kept = [where(ok, value, 0.0) for ok, value in zip(there, maxima, strict=True)]
        return propagate_nan(weighted(kept, weights_there), window)

    def maxima(self, window: Window) -> list[Value]:
        """Return the maximum of each inner window: first along the rows, and of these along the columns."""
        values, (rows, columns) = window.masked_fill(-math.inf), self.kernel_size
        down_ok, across_ok = (
            # Without padding no inner window that counts has a value outside the map.
            self.inside(window.valid, axis) if window.valid is not None and self.around[axis] else None
            for axis in (0, 1)
        )
        lines = [
            sliding_maxima(values[row * columns : (row + 1) * columns], self.inner[1], across_ok) for row in range(rows)
        ]
        found = [sliding_maxima(column, self.inner[0], down_ok) for column in zip(*lines, strict=True)]
        return [column[row] for row in range(self.filter[0]) for column in found]

    def inside(self, valid: Sequence[Value], axis: int) -> list[Value]:
        """Return which rows or columns lie in the map: by the values of a middle one, which always does."""
        across, middle = self.kernel_size[1], self.middle(1 - axis)
        return [
            valid[at * across + middle if axis == 0 else middle * across + at] for at in range(self.kernel_size[axis])
        ]

    def middle(self, axis: int) -> int:
        """Return a row or column of the middle window that always lies in the map."""
        return (self.filter[axis] - 1) // 2 + self.around[axis]

    def whole(self, valid: Sequence[Value], axis: int) -> list[Value]:
        """Return which of the inner windows along an axis lie in the padded map.

        Padding is less than half a window, so that its first and its last value that must be in the map tell.
        """
        size, around, inside = self.inner[axis], self.around[axis], self.inside(valid, axis)
        return [inside[at + around] & inside[at + size - 1 - around] for at in range(self.filter[axis])]

    def place(self, size: tuple[int, int], shape: tuple[int, int]) -> Geometry | None:
        """Return where the windows lie in a map of this size; None: not all that is beyond a border can be mirrored."""
        before = [(taps - 1) // 2 for taps in self.filter]
        for a in (0, 1):
            maxima = size[a] + 2 * self.around[a] - self.inner[a] + 1
            if not is_mirrored_within(self.filter[a], self.stride[a], maxima, -before[a], shape[a]):
                return None
        padding = (self.around[0] + before[0], self.around[1] + before[1])
        return Geometry(self.kernel_size, self.stride, padding, (1, 1), shape)

    def at(self, x_BCHW: Tensor, shape: tuple[int, int]) -> Tensor | None:
        """Return `shape` results, None where this formula does not serve the map."""
        if self.implementation_for(x_BCHW)[0] == "torch":
            return None
        geometry = self.place((x_BCHW.shape[-2], x_BCHW.shape[-1]), shape)
        return None if geometry is None else self.by_kernel(x_BCHW, geometry)


def sliding_maxima(values: Sequence[Value], size: int, valid: Sequence[Value] | None = None) -> list[Value]:
    """Return the largest of each `size` neighbouring values, of equal ones the first that is valid.

    Windows share what they have of a block of `size` values: to its end one has the maxima from behind, from its start
    the next has those from before (van Herk, 1992; Gil and Werman, 1993).

    Args:
        values: a line of them, −∞ where they are not valid.
        size: of a window.
        valid: whether each may be the largest; None: all may. Of a window that has none, any is.
    """
    line: list[_Candidate] = [*zip(values, [None] * len(values) if valid is None else valid, strict=True)]
    found = []
    for first in range(len(line) - size + 1):
        edge = (first // size + 1) * size
        before, behind = reversed(line[first:edge]), line[edge : first + size]
        parts = [reduce(lambda later, one: _largest(one, later), before)]
        if behind:
            parts.append(reduce(_largest, behind))
        found.append(reduce(_largest, parts)[0])
    return found


# A value, and whether it is valid; None: it is.
_Candidate = tuple[Value, Value | None]


def _largest(one: _Candidate, later: _Candidate) -> _Candidate:
    """Return the larger of two, the first where they are equal and it is valid."""
    (a, a_ok), (b, b_ok) = one, later
    if a_ok is None or b_ok is None:
        return maximum(a, b), None
    return where((b > a) | ~a_ok, b, a), a_ok | b_ok
