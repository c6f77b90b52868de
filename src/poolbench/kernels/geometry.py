"""Where windows lie in a map: the form in which kernels and the plain path receive it."""

from dataclasses import dataclass

# Bytes. The memory of a new tensor begins at a whole one.
CACHE_LINE = 64


@dataclass(frozen=True)
class Geometry:
    """A window's sizes, each (height, width), and the number of windows it gives.

    Args:
        kernel_size: values of the window.
        stride: steps between windows.
        padding: rows and columns before the map.
        dilation: steps between the values of a window.
        shape: rows and columns of windows.
        hangs_over: whether a window may have values beyond the map and its padding, of a map whose size is not known
            yet; None: its size says so.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    shape: tuple[int, int]
    hangs_over: bool | None = None

    @classmethod
    def from_list(cls, numbers: list[int]) -> "Geometry":
        """Return the geometry of `as_list`."""
        a, b, c, d, e, f, g, h, i, j = numbers
        return cls((a, b), (c, d), (e, f), (g, h), (i, j))

    def as_list(self) -> list[int]:
        """Return all its numbers, for an operator that takes only those."""
        return [*self.kernel_size, *self.stride, *self.padding, *self.dilation, *self.shape]

    def reach(self, axis: int) -> int:
        """Return how many rows or columns of the padded map the windows cover."""
        return (self.shape[axis] - 1) * self.stride[axis] + (self.kernel_size[axis] - 1) * self.dilation[axis] + 1

    def has_border(self, size: tuple[int, int]) -> bool:
        """Whether a window of a map of this size has values outside it, or may have if the size is not known."""
        if self.hangs_over is not None:
            return self.hangs_over or any(self.padding)
        return any(self.padding[a] > 0 or self.reach(a) > size[a] for a in (0, 1))

    def outside(self, size: tuple[int, int]) -> tuple[frozenset[int], frozenset[int]]:
        """Return which rows and which columns of a window lie outside a map of this size, of one window or another."""
        rows, columns = (
            frozenset(
                tap
                for tap in range(self.kernel_size[a])
                if tap * self.dilation[a] < self.padding[a]
                or (self.shape[a] - 1) * self.stride[a] - self.padding[a] + tap * self.dilation[a] >= size[a]
            )
            for a in (0, 1)
        )
        return rows, columns

    @property
    def is_disjoint(self) -> bool:
        """Whether no value of the map belongs to two windows."""
        return all(self.stride[a] >= (self.kernel_size[a] - 1) * self.dilation[a] + 1 for a in (0, 1))

    def covers(self, size: tuple[int, int]) -> bool:
        """Whether every value of a map of this size belongs to a window."""
        return all(
            self.stride[a] <= self.kernel_size[a]
            and self.dilation[a] == 1
            and self.reach(a) >= size[a] + self.padding[a]
            for a in (0, 1)
        )
