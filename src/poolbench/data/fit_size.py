"""The one rule by which an image gets the size that the network sees."""

from collections.abc import Sequence

import numpy as np
from PIL import Image


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
    scale = max(rows / height, columns / width)
    new_height, new_width = max(rows, round(height * scale)), max(columns, round(width * scale))
    # Pillow's bilinear filter widens with the reduction, which is the antialiasing.
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if channels == 1 else image))
    resized = np.asarray(picture.resize((new_width, new_height), Image.Resampling.BILINEAR))
    top, left = (new_height - rows) // 2, (new_width - columns) // 2
    return resized.reshape(new_height, new_width, channels)[top : top + rows, left : left + columns]
