"""One place in a network where a window operator goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from poolbench.backbones.pooled_conv import PooledConv2d
from poolbench.backbones.subsample import Subsample2d
from poolbench.backbones.trace import Call
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.pooling import pair


@dataclass(frozen=True)
class Geometry:
    """A window: the arguments that every window operator takes.

    Args:
        kernel_size: height and width of the window.
        stride: steps between windows.
        padding: rows and columns added at each side.
        ceil_mode: whether a window may hang over the end.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    ceil_mode: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return them by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def with_own(self, own: Mapping[str, Any]) -> "Geometry":
        """Return the geometry in which `own` arguments stand instead, written as an operator takes them."""
        values = {**self.arguments(), **own}
        if values["stride"] is None:
            values["stride"] = values["kernel_size"]
        pairs = {key: pair(key, values[key], least=int(key != "padding")) for key in values if key != "ceil_mode"}
        return Geometry(**pairs, ceil_mode=bool(values["ceil_mode"]))

    def shown(self) -> dict[str, Any]:
        """Return them as the audit holds them."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in self.arguments().items()}

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.arguments().items())


GEOMETRY = tuple(field.name for field in fields(Geometry))


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
    def strided(self) -> bool:
        """Whether the network itself reduces here by a strided convolution or by subsampling."""
        return is_strided(self.module)

    def with_operator(self, operator: nn.Module) -> nn.Module:
        """Return what stands at the site once `operator` is put there."""
        if not isinstance(self.module, nn.Conv2d):
            return operator
        if type(self.module) is not nn.Conv2d:
            raise UnsupportedError(
                f"site {self.name} is a {type(self.module).__name__}: only of a plain torch.nn.Conv2d can the stride "
                "be taken out and given to a pooling"
            )
        return PooledConv2d(self.module, operator)


def is_strided(module: nn.Module) -> bool:
    """Whether a module reduces by a stride of its own: a convolution, or subsampling."""
    return isinstance(module, nn.Conv2d | Subsample2d)


def site_of(name: str, module: nn.Module, calls: Sequence[Call]) -> Site:
    """Return the site at `module`.

    At a strided convolution, and where a shortcut subsamples, the operator's window is as large as the stride. With
    ceil_mode that always gives the shape of the strided form, ⌈n/stride⌉ of n, after the convolution at stride 1.

    Raises:
        ConfigurationError: the module is of no kind that an operator can stand for.
    """
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        own = Geometry(
            pair("kernel_size", module.kernel_size),
            pair("stride", module.stride),
            pair("padding", module.padding, least=0),
            bool(module.ceil_mode),
        )
        return Site(name, module, calls, calls[0].into[0], own, own)
    if isinstance(module, nn.Conv2d | Subsample2d):
        stride = pair("stride", module.stride)
        if isinstance(module, Subsample2d):
            native = Geometry((1, 1), stride)
        else:
            padding = _padding(module)
            native = Geometry(pair("kernel_size", module.kernel_size), stride, padding)
        return Site(name, module, calls, calls[0].out[0], Geometry(stride, stride, ceil_mode=True), native)
    raise ConfigurationError(
        f"`backbone`: site {name!r} must be a max or average pooling, a strided convolution or a Subsample2d, "
        f"got {type(module).__name__}"
    )


def _padding(conv: nn.Conv2d) -> tuple[int, int]:
    # The only word that torch allows beside a stride is "valid".
    return (0, 0) if isinstance(conv.padding, str) else pair("padding", conv.padding, least=0)
