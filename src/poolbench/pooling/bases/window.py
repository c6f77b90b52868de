"""What every window operator shares: the window's geometry, checked once, and the shape that follows from it."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from poolbench.kernels.sizes import are_known, smaller
from poolbench.pooling.bases.arguments import checked_implementation, pair, shown, whole
from poolbench.pooling.bases.maps import MapModule
from poolbench.pooling.bases.work import Work, checked_shape, work_of


def output_size(
    size: int, kernel_size: int, stride: int, padding: int = 0, ceil_mode: bool = False, dilation: int = 1
) -> int:
    """Return the number of windows along one dimension, as `torch.nn.MaxPool2d` counts them.

    With `ceil_mode` a last window may extend beyond the end, provided it starts inside the map or its left padding.
    A number below 1 means that the map is too small.

    >>> output_size(5, kernel_size=2, stride=2), output_size(5, kernel_size=2, stride=2, ceil_mode=True)
    (2, 3)
    """
    room = size + 2 * padding - dilation * (kernel_size - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    # The last one starts inside the map or its left padding.
    return smaller(count, (size + padding - 1) // stride + 1) if ceil_mode else count


def _steps_over(size: int, windows: int, kernel_size: int, stride: int, padding: int, dilation: int) -> bool:
    """Return whether, along one dimension, a window has all its values outside the map."""
    if size >= dilation:
        return False
    starts = (window * stride - padding for window in range(windows))
    return any(all(not 0 <= start + at * dilation < size for at in range(kernel_size)) for start in starts)


def _plain(value: Any) -> Any:
    """Return a size of one of torch's poolings as one number where it is a tuple of one."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


class WindowPool2d(MapModule):
    """A pooling over sliding windows: stores and checks the geometry; a subclass defines `pool` and `operations_on`.

    Args:
        kernel_size: height and width of the window, or one number for both.
        stride: steps between windows; None means the kernel's size.
        padding: rows and columns added at each side, at most half of the kernel. They hold no value: they do not enter
            the result, unless the operator's docstring says so (a convolution sees zeros).
        ceil_mode: whether a window may extend beyond the right and lower end.
        dilation: steps between the values of a window.
        implementation: `"fast"` uses a compiled kernel on the CPU if there is one for the operator and the dtype, and
            torch's own operations otherwise; `"torch"` never uses a kernel. `"triton"` requests kernels on a CUDA GPU.
            `implementation_for` says which it is for a given map.

    Shapes: (B, C, H, W) → (B, C, H', W'), or without B, with H' and W' by `output_size`: those of `nn.MaxPool2d`.
    A one-dimensional operator (`WindowPool1d`) takes (B, C, L) or (C, L).

    Raises:
        ValueError: an argument breaks its rule, or the map is smaller than the window, or a dilated window has no
            value of the map (where torch's max pooling gives −∞).

    Where one of several equal values is selected, it is the first in row-major order, and it gets the gradient; an
    operator that divides the gradient among them says so. The sum of the gradient is preserved.

    Half precision is summed in float32, so a sum of values near the largest bfloat16 (3·10³⁸, as in float32) can
    overflow, as in `nn.AvgPool2d`.

    A random operator draws from its own stream, `draws`, whose seed comes from torch's global generator when the
    operator is built. To repeat its draws, call `torch.manual_seed` before that, or `operator.draws.reseed(seed)` at
    any time.

    Maps are float16, bfloat16, float32 or float64. Integers and booleans are accepted, and stay exact, if every result
    is one of the map's values: in max, min, the median of an odd number of values (if no window extends beyond the
    map), `AvgTopKPool2d` with k = 1, `FractionalMaxPool2d`, `AdaptivePolyphasePool2d` and `RegularizedPool2d`.
    Otherwise they are an error, as complex numbers always are: convert them first, `x.float()`.

    `torch.export` works with dynamic batch, height and width, and `torch.jit.trace` with operators that are not random.
    torch.fx treats an operator as a leaf; `torch.jit.script` is an error. Under `torch.utils.checkpoint` a random
    operator draws as dropout does.

    `torch.compile`, `torch.export`, `torch.func` (grad, vmap, jvp) and forward-mode differentiation work with every
    operator; the last two use torch's own operations, as `implementation_for` says.

    Max, min, their blur and operators that sort distinguish an infinite value from padding: it gets the gradient that a
    finite number in its position would get. Otherwise infinite values follow the formula: a mean with −∞ among its
    values is −∞, and ∞ − ∞ is NaN. The gradient of a weight that was multiplied by an infinite value may be NaN, too.

    Class attributes declare properties of the operator, which the tests check: `keeps_constants` (a constant map gives
    its constant), `keeps_range` (no result leaves the range of its window), `is_equivariant` (a map shifted by the
    stride gives the result shifted by one, away from the border), `is_random` (draws in training), `sees_batch` (batch
    normalisation: in training a result depends on the other images, and evaluation uses running statistics), `domain`
    (the values that the formula is for: `"real"`, `"nonnegative"` or `"positive"`), `geometries` (arguments that it
    supports, None for all) and `onnx` (why it cannot be exported to ONNX; None if it can).

    `behind_convolution` is for operators that contain a convolution: the class that is used instead at a strided
    convolution of the network, or in a shortcut that subsamples, so that there are never two convolutions. None means
    the operator itself.
    """

    kind: ClassVar[str] = "window"
    is_convolution: ClassVar[bool] = False
    behind_convolution: ClassVar["type[WindowPool2d] | None"] = None
    keeps_constants: ClassVar[bool] = True
    keeps_range: ClassVar[bool] = True
    is_equivariant: ClassVar[bool] = True
    is_random: ClassVar[bool] = False
    sees_batch: ClassVar[bool] = False
    domain: ClassVar[str] = "real"
    geometries: ClassVar[tuple[Mapping[str, Any], ...] | None] = None
    onnx: ClassVar[str | None] = None

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
    ) -> None:
        super().__init__()
        self.kernel_size = self._sizes("kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else self._sizes("stride", stride)
        self.padding = self._sizes("padding", padding, least=0)
        self.dilation = self._sizes("dilation", dilation)
        if not isinstance(ceil_mode, bool):
            raise ValueError(f"`ceil_mode` must be true or false, got {ceil_mode!r}")
        self.ceil_mode = ceil_mode
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"`padding` must be at most half of kernel_size={kernel_size}, got {padding}")
        self.implementation = checked_implementation(implementation)

    @classmethod
    def from_pool(cls, pool: nn.Module, **own: Any) -> Self:
        """Return this operator with the geometry of another pooling: the equal site.

        Args:
            pool: an `nn.MaxPool2d`, `nn.AvgPool2d` or `nn.LPPool2d`, or a window operator of this library; their
                one-dimensional forms for an operator that is one-dimensional.
            own: the operator's own arguments. Of `pool`'s, `AvgPool2d` takes over `count_include_pad`, `LpPool2d` the
                exponent, where they are not given.

        Raises:
            ValueError: it is none of these, or does what an operator cannot: `return_indices`, `divisor_override`, or
                a dilation where the operator has none.

        >>> WindowPool2d.from_pool(nn.MaxPool2d(3, stride=2, padding=1))
        WindowPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), ceil_mode=False)
        """
        known = [getattr(nn, f"{kind}Pool{cls.spatial}d") for kind in ("Max", "Avg", "LP")]
        if not isinstance(pool, (*known, WindowPool2d)) or getattr(pool, "spatial", cls.spatial) != cls.spatial:
            names = ", ".join(f"nn.{kind.__name__}" for kind in known)
            raise ValueError(
                f"`pool` must be one of {names} or a window operator in {cls.spatial}-D for {cls.__name__}, "
                f"got {type(pool).__name__}"
            )
        for name in ("return_indices", "divisor_override"):
            if getattr(pool, name, None):
                raise ValueError(f"`pool` must have no `{name}`: {cls.__name__} has none, got {getattr(pool, name)!r}")
        sizes = {name: getattr(pool, name, 0) for name in ("kernel_size", "stride", "padding")}
        geometry = {
            name: _plain(size[-cls.spatial :] if isinstance(size, tuple) else size) for name, size in sizes.items()
        }
        dilation = getattr(pool, "dilation", 1)
        if set(dilation if isinstance(dilation, tuple) else (dilation,)) != {1}:
            if "dilation" not in inspect.signature(cls).parameters:
                raise ValueError(f"`pool` must have no `dilation`: {cls.__name__} has none, got {dilation!r}")
            geometry["dilation"] = _plain(dilation[-cls.spatial :] if isinstance(dilation, tuple) else dilation)
        return cls(**geometry, ceil_mode=bool(pool.ceil_mode), **(cls.taken_over(pool) | own))

    @classmethod
    def taken_over(cls, pool: nn.Module) -> dict[str, Any]:
        """Return the operator's own arguments that `from_pool` takes from a pooling of torch's that has them, too."""
        return {}

    @property
    def window_size(self) -> int:
        """How many values a whole window has."""
        return self.kernel_size[0] * self.kernel_size[1]

    def of_batch(self, x: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W'), or (B, C, L) → (B, C, L')."""
        return self.pool(x.unsqueeze(-2)).squeeze(-2) if self.spatial == 1 else self.pool(x)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W'): what a subclass brings. In one dimension, H = 1."""
        raise NotImplementedError(f"{type(self).__name__} must define `pool`")

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes this map, `"fast"`, `"triton"` or `"torch"`, and for the last why."""
        return "torch", "implementation=torch" if self.implementation == "torch" else "the operator has no kernel"

    def output_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (H', W') for a map of this size.

        Raises:
            ValueError: the map is smaller than the window, or smaller than the dilation so that a window has no value.
        """
        shape = tuple(
            output_size(size, kernel, stride, padding, self.ceil_mode, dilation)
            for size, kernel, stride, padding, dilation in zip(
                (height, width), self.kernel_size, self.stride, self.padding, self.dilation, strict=True
            )
        )
        if not are_known(*shape):
            return shape[0], shape[1]  # it is not known yet whether they are too small: torch's own operations say so
        if min(shape) < 1:
            raise ValueError(
                f"the map must be at least as large as the window {self.kernel_size} with padding {self.padding}, "
                f"got {height}x{width}"
            )
        axes = zip((height, width), shape, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        if any(_steps_over(*axis) for axis in axes):
            raise ValueError(
                f"the map must have a value for each window, got {height}x{width}, which dilation={self.dilation} "
                f"with padding {self.padding} steps over"
            )
        return shape[0], shape[1]

    def work(self, input_shape: Sequence[int], itemsize: int = 4) -> Work:
        """Return what one image costs in evaluation, as `poolbench.pooling.bases.work` counts.

        Args:
            input_shape: of the map without its batch, (C, H, W); (C, L) for a one-dimensional operator.
            itemsize: bytes of a value, 4 for float32.

        Raises:
            ValueError: an argument breaks its rule, or the map is smaller than the window.
        """
        shape = checked_shape(input_shape, "C, H, W" if self.spatial == 2 else "C, L")
        channels, (height, width) = shape[0], (1, *shape[1:])[-2:]
        rows, columns = self.output_shape(height, width)
        return work_of(
            self,
            self.operations_on(channels, height, width),
            values_in=channels * height * width,
            values_out=channels * rows * columns,
            itemsize=itemsize,
        )

    def remark(self, map_size: Sequence[int]) -> str:
        """Return what the audit should say of this operator on a map of (H, W); empty where there is nothing to say."""
        return ""

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the operations of one image: what a subclass brings for `work`. In one dimension, the height is 1."""
        raise NotImplementedError(f"{type(self).__name__} must define `operations_on` to have `work`")

    def extra_repr(self) -> str:
        """Show the geometry, as torch's own layers do."""
        names = ["kernel_size", "stride", "padding"] + ["dilation"] * (self.dilation != (1, 1))
        shown = ", ".join(f"{name}={_plain(getattr(self, name)[-self.spatial :])}" for name in names)
        return f"{shown}, ceil_mode={self.ceil_mode}"

    def _sizes(self, name: str, value: int | Sequence[int], *, least: int = 1) -> tuple[int, int]:
        """Return an argument of the geometry as (height, width); in one dimension the height is that of one row."""
        if self.spatial == 2:
            return pair(name, value, least=least)
        only = whole(value[0] if isinstance(value, Sequence) and len(value) == 1 else value, least)
        if only is None:
            raise ValueError(f"`{name}` must be a whole number of at least {least}, got {shown(value)}")
        return (0 if name == "padding" else 1), only


class WindowPool1d(WindowPool2d):
    """A window operator for sequences (B, C, L) → (B, C, L'): the same definition, on maps of one row.

    Put first among the bases: `class SoftPool1d(WindowPool1d, SoftPool2d)`. Arguments are whole numbers.
    """

    spatial: ClassVar[int] = 1
