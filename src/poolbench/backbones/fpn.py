"""A feature pyramid, judged for every place."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones.encoder import Encoder, convolved, sizes
from poolbench.backbones.mask_network import MaskNetwork


class FPN(MaskNetwork):
    """A feature pyramid network (Lin et al. 2017, https://arxiv.org/abs/1612.03144) with classes for every place.

    Down: see `Encoder`. From the last map up, each level is its own map through a 1x1 convolution plus the level below
    at twice the size (nearest), and then a 3x3 convolution with batch norm and ReLU. All levels at the image's size
    (bilinear) are summed, as in panoptic feature pyramids (Kirillov et al. 2019, https://arxiv.org/abs/1901.02446,
    without its further convolutions), and a 1x1 convolution gives the classes. Padded and cropped as `unet`.

    Args:
        in_channels: channels of an image.
        num_classes: classes of a place.
        image_size: height and width of an image.
        width: channels of the first level; each further one has twice as many.
        levels: how many poolings there are.
        pyramid: channels of every level of the pyramid.
        inter_map: see `Encoder`.
        pyramid_context: see `Encoder`.

    Raises:
        ConfigurationError: an argument is out of range.
        UnsupportedError: images are too small for so many levels.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: tuple[int, int],
        width: int = 8,
        levels: int = 3,
        pyramid: int = 16,
        inter_map: int = 1,
        pyramid_context: Sequence[int] = (),
    ) -> None:
        super().__init__("fpn", image_size, Encoder(in_channels, width, levels, inter_map, pyramid_context))
        self.lateral = nn.ModuleList(nn.Conv2d(own, pyramid, 1) for own in self.encoder.channels)
        self.smooth = nn.ModuleList(nn.Sequential(*convolved(pyramid, pyramid)) for _ in self.encoder.channels)
        self.classify = nn.Conv2d(pyramid, num_classes, 1)

    def logits(self, maps: list[Tensor]) -> Tensor:
        """Return logits at the size of the first map, from the map of every level, the largest first."""
        below, levels = self.lateral[-1](maps[-1]), list[Tensor]()
        for level in reversed(range(len(maps))):
            if level < len(maps) - 1:
                below = self.lateral[level](maps[level]) + F.interpolate(below, size=sizes(maps[level]), mode="nearest")
            smooth = self.smooth[level](below)
            levels.append(F.interpolate(smooth, size=sizes(maps[0]), mode="bilinear", align_corners=False))
        return cast(Tensor, self.classify(torch.stack(levels).sum(0)))
