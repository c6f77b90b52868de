"""Maxima at every place and their blur, in one formula: no map of maxima is ever written."""

import math
from collections.abc import Sequence

from torch import Tensor

from poolbench.pooling.binomial import binomial, is_mirrored_within, mirrored
from poolbench.pooling.kernels.geometry import Geometry
from poolbench.pooling.kernels.graph import Value, Window, spread_nan, where
from poolbench.pooling.mean import maximum_of, weighted
from poolbench.pooling.tap import TapPool2d

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
            return spread_nan(weighted(maxima, weights), window)
        down_ok, across_ok = self.whole(window.valid, 0), self.whole(window.valid, 1)
        weights_there = [a * b for a in mirrored(down_ok) for b in mirrored(across_ok)]
        there = [a & b for a in down_ok for b in across_ok]
        kept = [where(ok, value, 0.0) for ok, value in zip(there, maxima, strict=True)]
        return spread_nan(weighted(kept, weights_there), window)

    def maxima(self, window: Window) -> list[Value]:
        """Return the maximum of each inner window: first along the rows, and of these along the columns."""
        values, valid = window.filled(-math.inf), window.valid
        lines: list[list[Value]] = []
        inside: list[list[Value]] = []
        for row in range(self.kernel_size[0]):
            there = None if valid is None else self.along(valid, row)
            lines.append(_first_largest(self.along(values, row), there))
            if valid is not None:
                inside.append([valid[row * self.kernel_size[1] + self.middle(1)]] * self.filter[1])
        return _first_largest(self.across(lines), None if valid is None else self.across(inside))

    def along(self, values: Sequence[Value], row: int) -> list[Sequence[Value]]:
        """Return what each inner window has of a row."""
        first = row * self.kernel_size[1]
        return [values[first + at : first + at + self.inner[1]] for at in range(self.filter[1])]

    def across(self, lines: Sequence[Sequence[Value]]) -> list[list[Value]]:
        """Return what each inner window has of its rows' maxima."""
        rows, columns = self.filter
        return [[line[c] for line in lines[r : r + self.inner[0]]] for r in range(rows) for c in range(columns)]

    def middle(self, axis: int) -> int:
        """Return a row or column of the middle window that always lies in the map."""
        return (self.filter[axis] - 1) // 2 + self.around[axis]

    def whole(self, valid: Sequence[Value], axis: int) -> list[Value]:
        """Return which of the inner windows along an axis lie in the padded map.

        Padding is less than half a window, so that its first and its last value that must be in the map tell. Along
        the other axis, a value of the middle window is looked at: that one always lies in it.
        """
        size, around, across = self.inner[axis], self.around[axis], self.kernel_size[1]
        middle = self.middle(1 - axis)

        def is_inside(at: int) -> Value:
            return valid[at * across + middle] if axis == 0 else valid[middle * across + at]

        return [is_inside(at + around) & is_inside(at + size - 1 - around) for at in range(self.filter[axis])]

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


def _first_largest(windows: Sequence[Sequence[Value]], valid: Sequence[Sequence[Value]] | None) -> list[Value]:
    """Return the largest value of each window, the first of equal ones that are valid."""
    there = [None] * len(windows) if valid is None else valid
    return [maximum_of(some, ok) for some, ok in zip(windows, there, strict=True)]
