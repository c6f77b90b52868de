"""The one rule by which an image gets the size that the network sees."""

import numpy as np
from PIL import Image


def fit_size(image: np.ndarray, size: int) -> np.ndarray:
    """Return a uint8 image (H, W, C) at (size, size, C).

    An image of that size stays as it is. Any other is resized so that its shorter side is `size` (bilinear with
    antialiasing, proportions kept), then cropped at the centre.

    >>> fit_size(np.zeros((10, 20, 3), np.uint8), 5).shape
    (5, 5, 3)
    """
    height, width, channels = image.shape
    if (height, width) == (size, size):
        return image
    scale = size / min(height, width)
    new_height, new_width = max(size, round(height * scale)), max(size, round(width * scale))
    # Pillow's bilinear filter widens with the reduction, which is the antialiasing.
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if channels == 1 else image))
    resized = np.asarray(picture.resize((new_width, new_height), Image.Resampling.BILINEAR))
    top, left = (new_height - size) // 2, (new_width - size) // 2
    return resized.reshape(new_height, new_width, channels)[top : top + size, left : left + size]
