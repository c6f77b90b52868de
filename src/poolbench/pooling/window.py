"""What every window operator shares: the window's geometry, checked once, and the shape that follows from it."""

from collections.abc import Sequence
from typing import ClassVar

from torch import nn


def pair(name: str, value: int | Sequence[int], *, least: int = 1) -> tuple[int, int]:
    """Return (height, width) of an argument that is one number or two.

    >>> pair("kernel_size", 3)
    (3, 3)
    """
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else ()
    if len(both) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in both):
        raise ValueError(f"`{name}` must be one or two whole numbers of at least {least}, got {value!r}")
    return both[0], both[1]


def output_size(size: int, kernel_size: int, stride: int, padding: int = 0, ceil_mode: bool = False) -> int:
    """Return the number of windows along one dimension, as `torch.nn.MaxPool2d` counts them.

    With `ceil_mode` a last window may hang over the end, provided it starts inside the map or its left padding.
    A number below 1 means that the map is too small.

    >>> output_size(5, kernel_size=2, stride=2), output_size(5, kernel_size=2, stride=2, ceil_mode=True)
    (2, 3)
    """
    room = size + 2 * padding - kernel_size
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


class WindowPool2d(nn.Module):
    """A pooling over sliding windows: holds and checks the geometry; a subclass brings `forward`.

    Args:
        kernel_size: height and width of the window, or one number for both.
        stride: steps between windows; None means the kernel's size.
        padding: rows and columns added at each side, at most half of the kernel. They hold no value: no operator
            lets them enter its result, `StridedConv2d` excepted, which sees zeros as every convolution does.
        ceil_mode: whether a window may hang over the right and lower end.

    Shapes: (B, C, H, W) → (B, C, H', W') with H' and W' by `output_size`.

    Raises:
        ValueError: an argument breaks its rule.
    """

    kind: ClassVar[str] = "window"
    is_convolution: ClassVar[bool] = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = pair("kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair("stride", stride)
        self.padding = pair("padding", padding, least=0)
        if not isinstance(ceil_mode, bool):
            raise ValueError(f"`ceil_mode` must be true or false, got {ceil_mode!r}")
        self.ceil_mode = ceil_mode
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"`padding` must be at most half of kernel_size={kernel_size}, got {padding}")

    def output_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (H', W') for a map of this size.

        Raises:
            ValueError: the map is smaller than the window.
        """
        shape = tuple(
            output_size(size, kernel, stride, padding, self.ceil_mode)
            for size, kernel, stride, padding in zip(
                (height, width), self.kernel_size, self.stride, self.padding, strict=True
            )
        )
        if min(shape) < 1:
            raise ValueError(
                f"the map must be at least as large as the window {self.kernel_size} with padding {self.padding}, "
                f"got {height}x{width}"
            )
        return shape[0], shape[1]

    def extra_repr(self) -> str:
        """Show the geometry, as torch's own layers do."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, ceil_mode={self.ceil_mode}"
        )
