"""What networks for masks share: an encoder, images padded so that its poolings fit, classes for every place."""

import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.encoder import Encoder, sizes
from poolbench.backbones.map_size import two_dimensions
from poolbench.errors import UnsupportedError


class MaskNetwork(nn.Module):
    """An encoder, and what a subclass makes of its maps: `logits`.

    Images are padded with zeros, equally on both sides, so that the encoder's stride divides their sides, and the
    logits are cropped: see `padded`.

    Args:
        name: of the network, for messages.
        image_size: height and width of an image.
        encoder: the way down; its poolings are the sites.

    Raises:
        UnsupportedError: images are too small for so many levels.
    """

    def __init__(self, name: str, image_size: tuple[int, ...], encoder: Encoder) -> None:
        super().__init__()
        _require_images(name, image_size, encoder)
        self.encoder = encoder
        self.anatomy = Anatomy(sites=encoder.sites("encoder"), head=None, classifier=None)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits (B, num_classes, H, W) of images (B, C, H, W)."""
        padded_BCHW, before = padded(x_BCHW, self.encoder.stride)
        return cropped(self.logits(self.encoder(padded_BCHW)), sizes(x_BCHW), before)

    def logits(self, maps: list[Tensor]) -> Tensor:
        """Return logits at the size of the first map, from the map of every level, the largest first."""
        raise NotImplementedError(f"{type(self).__name__} must define `logits`")


def _require_images(network: str, image_size: tuple[int, ...], encoder: Encoder) -> None:
    """Raise `UnsupportedError` for examples that are no images, or so small that the last map would be padding."""
    two_dimensions(network, image_size)
    if min(image_size) < encoder.stride:
        raise UnsupportedError(
            f"{network} cannot take images of {image_size[0]}x{image_size[1]}: {len(encoder.pools)} levels need at "
            f"least {encoder.stride}x{encoder.stride}; lower backbone.levels"
        )


def padded(x_BCHW: Tensor, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """Return images with zeros around them, so that `stride` divides their sides, and how many rows and columns before.

    Zeros are the mean of what was normalised. As many go before as behind, one more behind where their number is odd.

    >>> import torch
    >>> padded(torch.ones(1, 1, 5, 8), 4)[0].shape, padded(torch.ones(1, 1, 5, 8), 4)[1]
    (torch.Size([1, 1, 8, 8]), (1, 0))
    """
    height, width = x_BCHW.shape[-2:]
    missing = -height % stride, -width % stride
    above, left = missing[0] // 2, missing[1] // 2
    if not any(missing):
        return x_BCHW, (0, 0)
    return F.pad(x_BCHW, (left, missing[1] - left, above, missing[0] - above)), (above, left)


def cropped(x_BCHW: Tensor, size: tuple[int, int], before: tuple[int, int]) -> Tensor:
    """Return what `padded` left of the images: `size` rows and columns behind those `before`."""
    (height, width), (above, left) = size, before
    return x_BCHW[..., above : above + height, left : left + width]
