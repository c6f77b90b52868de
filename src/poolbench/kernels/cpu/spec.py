"""What a kernel is made for."""

from dataclasses import dataclass

# What stands in the table that a kernel is given, 64 bits each; the first six are addresses.
ARGUMENTS = (
    "x", "out", "gradient", "params", "param_gradients", "scratch", "scratch_bytes", "key",
    "batch", "channels", "height", "width", "rows", "columns", "blocks", "zero_first", "pitch",
    "thread_of", "threads_of",
)  # fmt: skip


@dataclass(frozen=True)
class KernelSpec:
    """What a kernel is made for; everything else it learns when it runs.

    Args:
        derivative: whether it spreads gradients instead of giving results.
        channels_last: the memory layout of all maps.
        dtype: `float32`, `float64` or `bfloat16`.
        kernel_size, stride, padding, dilation: the window.
        lanes: results at a time.
        masked: whether there are windows at a border, or rows that no whole number of vectors fills.
        disjoint: whether no value belongs to two windows.
        streaming: whether gradients are written past the caches, each once.
        in_sums: whether sums are taken of what is computed once for each value, see `kernels.sums`.
        tables: whether the processor finds numbers of a register by their places, see `Lanes`.
        shared: whether each parameter is one number for all channels.
    """

    derivative: bool
    channels_last: bool
    dtype: str
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    lanes: int
    masked: bool
    disjoint: bool
    streaming: bool = False
    in_sums: bool = False
    tables: bool = False
    shared: bool = False

    @property
    def accumulates_apart(self) -> bool:
        """Whether gradients are summed elsewhere, as wide as they are computed, before they are written."""
        return self.derivative and not self.disjoint and (self.channels_last or self.dtype == "bfloat16")

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from a window's first one to its last one."""
        rows, columns = ((size - 1) * step + 1 for size, step in zip(self.kernel_size, self.dilation, strict=True))
        return rows, columns

    @property
    def ring(self) -> int:
        """Rows of a map that are held at once, one place after the other over and over: a power of two.

        Those of a window are there together, and those between it and the next one.
        """
        return 1 << (max(self.reach[0], self.stride[0]) - 1).bit_length()

    def first_come(self, axis: int) -> int:
        """Return how many of a window's last rows or columns no window before it has; 0 where it is not the same many.

        What is added up there begins with this window.
        """
        return min(self.stride[axis], self.kernel_size[axis]) if self.dilation[axis] == 1 else 0

    @property
    def rows_apart(self) -> bool:
        """Whether each row of a map belongs to the windows of one row alone."""
        return self.first_come(0) == self.kernel_size[0]

    def offsets(self, axis: int) -> list[int]:
        """Return where the window's rows or columns lie, from stride · window."""
        return [at * self.dilation[axis] - self.padding[axis] for at in range(self.kernel_size[axis])]

    def groups(self) -> dict[int, dict[int, int]]:
        """Return the columns by the wide vector they are taken from: {its start: {phase in it: column}}."""
        found: dict[int, dict[int, int]] = {}
        for column, offset in enumerate(self.offsets(1)):
            phase = offset % self.stride[1]
            found.setdefault(offset - phase, {})[phase] = column
        return found
