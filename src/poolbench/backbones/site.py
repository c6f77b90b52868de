"""One place in a network where a window operator goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from poolbench.backbones.dimensions import CONVOLUTIONS, WINDOWS
from poolbench.backbones.pooled_conv import PooledConv1d, PooledConv2d
from poolbench.backbones.subsample import ONE_DIMENSIONAL, SUBSAMPLES
from poolbench.backbones.trace import Call
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.pooling import pair
from poolbench.pooling.bases.arguments import whole


@dataclass(frozen=True)
class Geometry:
    """A window: the arguments that every window operator takes.

    Args:
        kernel_size: height and width of the window; of a sequence its length.
        stride: steps between windows.
        padding: rows and columns, or places, added at each side.
        ceil_mode: whether a window may hang over the end.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return them by name, as an operator takes them: in one dimension as whole numbers."""
        return {
            key: value[0] if isinstance(value, tuple) and len(value) == 1 else value
            for key, value in self._values().items()
        }

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def with_own(self, own: Mapping[str, Any]) -> "Geometry":
        """Return the geometry in which `own` arguments stand instead, written as an operator takes them."""
        values = {**self._values(), **own}
        if values["stride"] is None:
            values["stride"] = values["kernel_size"]
        spatial = len(self.kernel_size)
        sides = {key: each(key, values[key], spatial, least=int(key != "padding")) for key in values if key != CEIL}
        return Geometry(**sides, ceil_mode=bool(values[CEIL]))

    def shown(self) -> dict[str, Any]:
        """Return them as the audit holds them."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in self._values().items()}

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.arguments().items())


def usual(spatial: int) -> list[Geometry]:
    """Return the two windows of most networks, which every operator serves: 2 with stride 2, 3 with stride 2 and 1.

    >>> [str(window) for window in usual(1)]
    ['kernel_size=2, stride=2, padding=0, ceil_mode=False', 'kernel_size=3, stride=2, padding=1, ceil_mode=False']
    """
    windows = ((2, 2, 0), (3, 2, 1))
    return [Geometry((k,) * spatial, (s,) * spatial, (p,) * spatial) for k, s, p in windows]


GEOMETRY = tuple(field.name for field in fields(Geometry))
CEIL = "ceil_mode"


def each(name: str, value: Any, spatial: int, *, least: int = 1) -> tuple[int, ...]:
    """Return an argument of a geometry as one number for each dimension; raise `ValueError` for what is none.

    >>> each("stride", 2, 2), each("stride", (2,), 1)
    ((2, 2), (2,))
    """
    if spatial == 2:
        return pair(name, value, least=least)
    only = value[0] if isinstance(value, Sequence) and len(value) == 1 else value
    number = whole(only, least)
    if number is None:
        raise ValueError(f"`{name}` must be a whole number of at least {least} in 1-D, got {value!r}")
    return (number,)


@dataclass(frozen=True)
class Site:
    """What the network itself has at this place, and what an operator gets there.

    Args:
        name: qualified name of the module.
        module: what the network has there.
        calls: shapes that it takes and gives.
        channels: channels of the map that the operator sees.
        geometry: the geometry that every operator gets.
        native: the geometry of the module itself.
    """

    name: str
    module: nn.Module
    calls: Sequence[Call]
    channels: int
    geometry: Geometry
    native: Geometry

    @property
    def spatial(self) -> int:
        """For maps of how many dimensions it is: 2, or 1 of sequences."""
        return len(self.geometry.kernel_size)

    @property
    def strided(self) -> bool:
        """Whether the network itself reduces here by a strided convolution or by subsampling."""
        return is_strided(self.module)

    def with_operator(self, operator: nn.Module) -> nn.Module:
        """Return what stands at the site once `operator` is put there."""
        if not isinstance(self.module, CONVOLUTIONS):
            return operator
        if type(self.module) not in CONVOLUTIONS:
            raise UnsupportedError(
                f"site {self.name} is a {type(self.module).__name__}: only of a plain torch.nn.Conv{self.spatial}d can "
                "the stride be taken out and given to a pooling"
            )
        if isinstance(self.module, nn.Conv1d):
            return PooledConv1d(self.module, operator)
        return PooledConv2d(self.module, operator)


def is_strided(module: nn.Module) -> bool:
    """Whether a module reduces by a stride of its own: a convolution, or subsampling."""
    return isinstance(module, (*CONVOLUTIONS, *SUBSAMPLES))


def site_of(name: str, module: nn.Module, calls: Sequence[Call]) -> Site:
    """Return the site at `module`.

    At a strided convolution, and where a shortcut subsamples, the operator's window is as large as the stride. With
    ceil_mode that always gives the shape of the strided form, ⌈n/stride⌉ of n, after the convolution at stride 1.

    Raises:
        ConfigurationError: the module is of no kind that an operator can stand for.
    """
    spatial = 1 if isinstance(module, ONE_DIMENSIONAL) else 2
    if isinstance(module, WINDOWS):
        own = Geometry(
            each("kernel_size", module.kernel_size, spatial),
            each("stride", module.stride, spatial),
            each("padding", module.padding, spatial, least=0),
            bool(module.ceil_mode),
        )
        return Site(name, module, calls, calls[0].into[0], own, own)
    none = (0,) * spatial
    if isinstance(module, (*CONVOLUTIONS, *SUBSAMPLES)):
        stride = each("stride", module.stride, spatial)
        if isinstance(module, SUBSAMPLES):
            native = Geometry((1,) * spatial, stride, none)
        else:
            # The only word that torch allows beside a stride is "valid".
            padding = none if isinstance(module.padding, str) else each("padding", module.padding, spatial, least=0)
            native = Geometry(each("kernel_size", module.kernel_size, spatial), stride, padding)
        return Site(name, module, calls, calls[0].out[0], Geometry(stride, stride, none, ceil_mode=True), native)
    raise ConfigurationError(
        f"`backbone`: site {name!r} must be a max or average pooling, a strided convolution or a Subsample2d, in 1-D "
        f"or 2-D, got {type(module).__name__}"
    )
