"""The U-net: down by pooling, up again, each level of the way up given the map of the way down."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones.encoder import Encoder, convolved, sizes
from poolbench.backbones.mask_network import MaskNetwork
from poolbench.errors import UnsupportedError, unknown_name
from poolbench.pooling import MaxPool2d, pair

UPS = ("transposed", "interpolated", "unpooled")


class UNet(MaskNetwork):
    """The U-net of Ronneberger, Fischer and Brox (2015, https://arxiv.org/abs/1505.04597), padded and with batch norm.

    Down: see `Encoder`. Up, level by level: the map at twice the size, the map of the way down beside it, and a 3x3
    convolution with batch norm and ReLU. At last a 1x1 convolution to the classes. Images whose sides 2^levels does not
    divide are padded with zeros, equally on both sides, and the logits cropped: see `MaskNetwork`.

    Args:
        in_channels: channels of an image.
        num_classes: classes of a place.
        image_size: height and width of an image.
        width: channels of the first level; each further one has twice as many.
        levels: how many poolings there are.
        up: how a map becomes twice as large: `transposed`, a 2x2 convolution transposed, with stride 2, which halves
            the channels; `interpolated`, bilinear with a 1x1 convolution that halves them; `unpooled`, after such a
            convolution each value to the place from which max pooling took that of the window and channel on the way
            down, zeros elsewhere (SegNet, https://arxiv.org/abs/1511.00561). Only max pooling has such places, of
            windows that do not overlap.
        inter_map: see `Encoder`.
        pyramid_context: see `Encoder`.

    Raises:
        ConfigurationError: an argument is out of range.
        UnsupportedError: images are too small for so many levels; in a pass, a pooling has no indices to unpool by.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: tuple[int, int],
        width: int = 8,
        levels: int = 3,
        up: str = "transposed",
        inter_map: int = 1,
        pyramid_context: Sequence[int] = (),
    ) -> None:
        if up not in UPS:
            raise unknown_name("`backbone.up`", str(up), UPS)
        super().__init__("unet", image_size, Encoder(in_channels, width, levels, inter_map, pyramid_context))
        self.up = up
        channels = self.encoder.channels
        behind = [*channels[:-2], channels[-2]]
        below = [*channels[1:-1], channels[-1]]
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(deep, own, 2, stride=2) if up == "transposed" else nn.Conv2d(deep, own, 1)
            for deep, own in zip(below, behind, strict=True)
        )
        self.join = nn.ModuleList(nn.Sequential(*convolved(2 * own, own)) for own in behind)
        self.classify = nn.Conv2d(channels[0], num_classes, 1)

    def logits(self, maps: list[Tensor]) -> Tensor:
        """Return logits at the size of the first map, from the map of every level, the largest first."""
        *maps, deep_BCHW = maps
        for level in reversed(range(len(maps))):
            raised = self._rise(level, deep_BCHW, maps[level])
            deep_BCHW = self.join[level](torch.cat([maps[level], raised], dim=1))
        return cast(Tensor, self.classify(deep_BCHW))

    def extra_repr(self) -> str:
        """Return what a printed network shows."""
        return f"up={self.up}"

    def _rise(self, level: int, deep_BCHW: Tensor, own_BCHW: Tensor) -> Tensor:
        """Return the map of a deeper level at the size of this one's, with its channels."""
        narrowed = self.rise[level](deep_BCHW)
        if self.up == "transposed":
            return narrowed
        if self.up == "interpolated":
            return F.interpolate(narrowed, size=sizes(own_BCHW), mode="bilinear", align_corners=False)
        pool = self.encoder.pools[level]
        if not isinstance(pool, nn.MaxPool2d | MaxPool2d) or pair("k", pool.kernel_size) != pair("s", pool.stride):
            raise UnsupportedError(
                f"backbone.up=unpooled needs max pooling in windows side by side, which has a place for each of its "
                f"values; encoder.pools.{level} is {type(pool).__name__}(kernel_size={pool.kernel_size}, "
                f"stride={pool.stride}): choose up=transposed or up=interpolated"
            )
        window = pair("kernel_size", pool.kernel_size)
        _, places = F.max_pool2d(own_BCHW.detach(), window, return_indices=True)
        return F.max_unpool2d(narrowed, places, window, output_size=sizes(own_BCHW))
