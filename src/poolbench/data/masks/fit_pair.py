"""How an image and its mask get the size that the network sees, together."""

import numpy as np
from PIL import Image

from poolbench.data.fit_size import fit_of, fit_size


def fit_pair(image: np.ndarray, classes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a uint8 image (H, W, C) and its classes (H, W), uint8, at the height and width `size`.

    The image is fitted as any (`poolbench.data.fit_size`); the classes are resized and cropped as it is, each place
    to the nearest one, so that none is made up.

    >>> image, classes = fit_pair(np.zeros((10, 20, 3), np.uint8), np.zeros((10, 20), np.uint8), (5, 8))
    >>> image.shape, classes.shape
    ((5, 8, 3), (5, 8))
    """
    if classes.shape == size:
        return image, classes
    fit = fit_of(classes.shape, size)
    nearest = Image.fromarray(classes).resize((fit.width, fit.height), Image.Resampling.NEAREST)
    return fit_size(image, size), np.asarray(nearest)[fit.crop]
