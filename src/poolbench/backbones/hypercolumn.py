"""Hypercolumns: at every place what all levels have there, side by side."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones.encoder import Encoder, sizes
from poolbench.backbones.mask_network import MaskNetwork


class Hypercolumn(MaskNetwork):
    """Hypercolumns (Hariharan et al. 2015, https://arxiv.org/abs/1411.5752): maps of all levels, then classes.

    Down: see `Encoder`. The map of every level at the image's size (bilinear), side by side, is classified by a 1x1
    convolution, ReLU and another one; there is no way up with layers of its own. Padded and cropped as `unet`.

    Args:
        in_channels: channels of an image.
        num_classes: classes of a place.
        image_size: height and width of an image.
        width: channels of the first level; each further one has twice as many.
        levels: how many poolings there are.
        hidden: channels between the two 1x1 convolutions.
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
        hidden: int = 32,
        inter_map: int = 1,
        pyramid_context: Sequence[int] = (),
    ) -> None:
        super().__init__("hypercolumn", image_size, Encoder(in_channels, width, levels, inter_map, pyramid_context))
        self.narrow = nn.Conv2d(sum(self.encoder.channels), hidden, 1)
        self.classify = nn.Conv2d(hidden, num_classes, 1)

    def logits(self, maps: list[Tensor]) -> Tensor:
        """Return logits at the size of the first map, from the map of every level, the largest first."""
        size = sizes(maps[0])
        columns = [maps[0], *(F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps[1:])]
        hidden = torch.relu(self.narrow(torch.cat(columns, dim=1)))
        return cast(Tensor, self.classify(hidden))
