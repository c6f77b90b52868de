"""One place in a network where a window operator goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from poolbench.backbones.pooled_conv import PooledConv2d
from poolbench.backbones.subsample import Subsample2d
from poolbench.errors import ConfigurationError
from poolbench.pooling import pair

GEOMETRY = ("kernel_size", "stride", "padding", "ceil_mode")


@dataclass(frozen=True)
class Site:
    """The geometry that every operator gets at this place.

    Args:
        name: qualified name of the module.
        channels: channels of the map that the operator sees.
        kernel_size: height and width of the window.
        stride: likewise.
        padding: likewise.
        ceil_mode: whether a window may hang over the end.
        strided: whether the network itself reduces here by a strided convolution or by subsampling. The operator
            then follows the convolution at stride 1, its window as large as the stride; with ceil_mode that always
            gives the strided convolution's shape, ⌈n/stride⌉ of n.
    """

    name: str
    channels: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    ceil_mode: bool
    strided: bool

    def geometry(self, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the geometry as the audit shows it, `own` being what the variant asks for itself."""
        own = own or {}
        values = {key: own.get(key, getattr(self, key)) for key in GEOMETRY}
        if "kernel_size" in own and "stride" not in own:
            values["stride"] = self.stride
        return {key: list(pair(key, v, least=0)) if key != "ceil_mode" else v for key, v in values.items()}

    def context(self) -> dict[str, Any]:
        """Return what an operator's constructor may ask for."""
        return {key: getattr(self, key) for key in (*GEOMETRY, "channels")}

    def with_operator(self, module: nn.Module, operator: nn.Module) -> nn.Module:
        """Return what stands at the site once `operator` is put there."""
        return PooledConv2d(module, operator) if isinstance(module, nn.Conv2d) else operator


def site_of(name: str, module: nn.Module, into: tuple[int, ...], out: tuple[int, ...]) -> Site:
    """Return the site at `module`, which takes a map `into` (C, H, W) to `out`."""
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return Site(
            name,
            into[0],
            pair("kernel_size", module.kernel_size),
            pair("stride", module.stride),
            pair("padding", module.padding, least=0),
            bool(module.ceil_mode),
            strided=False,
        )
    if isinstance(module, nn.Conv2d | Subsample2d):
        stride = pair("stride", module.stride)
        return Site(name, out[0], stride, stride, (0, 0), ceil_mode=True, strided=True)
    raise ConfigurationError(
        f"`backbone`: site {name!r} must be a max or average pooling, a strided convolution or a Subsample2d, "
        f"got {type(module).__name__}"
    )
