"""An opened image as an array of bytes."""

import numpy as np
from PIL import Image


def pixels_of(image: Image.Image, channels: int) -> np.ndarray:
    """Return an opened image as uint8 (H, W, channels).

    Grey images become colour ones, and colour ones grey (ITU-R 601 luma); transparency is dropped; 16-bit levels keep
    their upper byte.

    >>> pixels_of(Image.new("RGB", (3, 2), (255, 255, 255)), 1).shape
    (2, 3, 1)
    """
    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would cut the levels off at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "P":  # a palette may hold transparency, which a direct conversion warns of
        image = image.convert("RGBA")
    if channels == 1:
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))
