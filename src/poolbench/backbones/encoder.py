"""The way down of a network for masks: convolutions and a pooling at every level, and what may stand beside them."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.checks import is_whole, whole_number
from poolbench.errors import ConfigurationError, UnsupportedError


class InterMap(nn.Module):
    """The largest value over each group of so many channels that follow one another, at every place.

    Inter-map pooling (Lee et al. 2016); of all channels together it is maxout (Goodfellow et al. 2013,
    https://arxiv.org/abs/1302.4389).

    Args:
        group: channels taken together; 1 changes nothing.

    Attributes:
        channel_multiple: a network made wider keeps its channels a multiple of it.

    >>> InterMap(2)(torch.tensor([1.0, 4.0, 3.0, 2.0]).view(1, 4, 1, 1)).flatten().tolist()
    [4.0, 3.0]
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group
        self.channel_multiple = group

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Take (B, C, H, W) to (B, C / group, H, W)."""
        if self.group == 1:
            return x_BCHW
        if x_BCHW.shape[1] % self.group:
            raise UnsupportedError(
                f"backbone.inter_map={self.group} needs a multiple of {self.group} channels, got {x_BCHW.shape[1]}"
            )
        return x_BCHW.unflatten(1, (-1, self.group)).amax(2)

    def extra_repr(self) -> str:
        """Return what a printed network shows."""
        return f"group={self.group}"


class PyramidContext(nn.Module):
    """A map beside its means over windows of several sizes around each place, side by side in channels.

    After per-pixel pyramid pooling (Park and Lee 2017): every pool has stride 1, so that the map stays as large.
    Windows are cut off at the map's edge: a mean is over the places that there are.

    Args:
        windows: side of each window, odd; none changes nothing.

    >>> PyramidContext([3])(torch.tensor([[[[0.0, 0.0, 9.0]]]]))[:, 1].tolist()
    [[[0.0, 3.0, 4.5]]]
    """

    def __init__(self, windows: Sequence[int]) -> None:
        super().__init__()
        self.windows = tuple(windows)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Take (B, C, H, W) to (B, C·(1 + windows), H, W)."""
        around = [F.avg_pool2d(x_BCHW, side, 1, side // 2, count_include_pad=False) for side in self.windows]
        return torch.cat([x_BCHW, *around], dim=1) if around else x_BCHW

    def extra_repr(self) -> str:
        """Return what a printed network shows."""
        return f"windows={list(self.windows)}"


class Encoder(nn.Module):
    """Levels of two 3x3 convolutions with batch norm and ReLU, a 2x2 max pooling between one level and the next.

    Args:
        in_channels: channels of an image.
        width: channels of the first level; each further one has twice as many.
        levels: how many poolings there are; there is one more map than that.
        inter_map: channels that are taken together behind each level's convolutions, see `InterMap`; they give so many
            times more, so that the maps keep their channels.
        pyramid_context: windows beside the last map, see `PyramidContext`.

    Attributes:
        channels: of each level's map, the largest first.
        stride: of the last map: sides that it divides need no padding.
    """

    def __init__(
        self, in_channels: int, width: int, levels: int, inter_map: int = 1, pyramid_context: Sequence[int] = ()
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("levels", levels), ("inter_map", inter_map)):
            whole_number(f"backbone.{name}", value)
        listed = isinstance(pyramid_context, Sequence) and not isinstance(pyramid_context, str)
        if not listed or not all(is_whole(side) and side > 1 and side % 2 for side in pyramid_context):
            raise ConfigurationError(
                "`backbone.pyramid_context` must be a list of odd whole numbers above 1, the sides of windows, or [], "
                f"got {pyramid_context!r}"
            )
        self.channels = [width * 2**level for level in range(levels + 1)]
        self.stride = 2**levels
        before = [in_channels, *self.channels[:-1]]
        self.blocks = nn.ModuleList(
            _block(own, made, inter_map) for own, made in zip(before, self.channels, strict=True)
        )
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in range(levels))
        self.context = PyramidContext(pyramid_context)
        self.channels[-1] *= 1 + len(pyramid_context)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        """Return the map of every level, the largest first, of images whose sides `stride` divides."""
        maps = []
        for block, pool in zip(self.blocks, self.pools, strict=False):
            x_BCHW = block(x_BCHW)
            maps.append(x_BCHW)
            x_BCHW = pool(x_BCHW)
        return [*maps, self.context(self.blocks[-1](x_BCHW))]

    def sites(self, name: str) -> tuple[str, ...]:
        """Return the names of the poolings in a network that has the encoder under this name."""
        return tuple(f"{name}.pools.{level}" for level in range(len(self.pools)))


def _block(in_channels: int, channels: int, inter_map: int) -> nn.Sequential:
    first = nn.Sequential(*convolved(in_channels, channels))
    return nn.Sequential(*first, *convolved(channels, channels * inter_map), InterMap(inter_map))


def convolved(in_channels: int, channels: int) -> list[nn.Module]:
    """Return a 3x3 convolution with batch norm and ReLU."""
    conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


def sizes(x_BCHW: Tensor) -> tuple[int, int]:
    """Return height and width of a map."""
    return cast(tuple[int, int], tuple(x_BCHW.shape[-2:]))
