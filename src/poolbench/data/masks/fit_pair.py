"""The one rule by which an image and its mask get the size that the network sees, together."""

import math

import numpy as np
from PIL import Image


def fit_pair(image: np.ndarray, classes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a uint8 image (H, W, C) and its classes (H, W), uint8, at the height and width `size`.

    A pair of that size stays as it is. Any other is resized, proportions kept, so that it just covers the size: the
    image bilinear with antialiasing, of the classes the nearest one, so that none is made up; then both are cropped at
    the centre.

    >>> image, classes = fit_pair(np.zeros((10, 20, 3), np.uint8), np.zeros((10, 20), np.uint8), (5, 8))
    >>> image.shape, classes.shape
    ((5, 8, 3), (5, 8))
    """
    if classes.shape == size:
        return image, classes
    scale = max(new / old for new, old in zip(size, classes.shape, strict=True))
    height, width = (max(new, math.floor(old * scale + 0.5)) for new, old in zip(size, classes.shape, strict=True))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    window = slice(top, top + size[0]), slice(left, left + size[1])
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)
    nearest = np.asarray(Image.fromarray(classes).resize((width, height), Image.Resampling.NEAREST))
    return resized[window], nearest[window]
