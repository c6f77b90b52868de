"""The one rule by which an image gets the size that the network sees."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image


class Fit(NamedTuple):
    """How an image of one size is brought to another: resized, proportions kept, then cropped at the centre."""

    height: int
    width: int
    crop: tuple[slice, slice]


def fit_of(old: tuple[int, int], new: tuple[int, int]) -> Fit:
    """Return what an image of `old` height and width is resized to, just covering the `new` size, and the crop of it.

    >>> fit_of((10, 20), (5, 8))
    Fit(height=5, width=10, crop=(slice(0, 5, None), slice(1, 9, None)))
    """
    scale = max(after / before for before, after in zip(old, new, strict=True))
    height, width = (max(after, round(before * scale)) for before, after in zip(old, new, strict=True))
    top, left = (height - new[0]) // 2, (width - new[1]) // 2
    return Fit(height, width, (slice(top, top + new[0]), slice(left, left + new[1])))


def fit_size(image: np.ndarray, size: int | Sequence[int]) -> np.ndarray:
    """Return a uint8 image (H, W, C) at (size, size, C), or at (rows, columns, C) of a size of two numbers.

    An image of that size stays as it is. Any other is resized so that it just covers it (bilinear with antialiasing,
    proportions kept), then cropped at the centre.

    >>> fit_size(np.zeros((10, 20, 3), np.uint8), 5).shape, fit_size(np.zeros((10, 20, 3), np.uint8), (5, 8)).shape
    ((5, 5, 3), (5, 8, 3))
    """
    rows, columns = (size, size) if isinstance(size, int) else size
    height, width, channels = image.shape
    if (height, width) == (rows, columns):
        return image
    fit = fit_of((height, width), (rows, columns))
    # Pillow's bilinear filter widens with the reduction, which is the antialiasing.
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if channels == 1 else image))
    resized = np.asarray(picture.resize((fit.width, fit.height), Image.Resampling.BILINEAR))
    return resized.reshape(fit.height, fit.width, channels)[fit.crop]
