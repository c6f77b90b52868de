"""What a dataset holds before it is loaded, and how arrays are read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from poolbench.data.fit_size import fit_size
from poolbench.data.images import Reader
from poolbench.data.sizes import sizes_of


@dataclass(frozen=True)
class Content:
    """Both parts of a dataset, not yet decoded.

    Args:
        train: reads training images.
        train_labels: int64 (N,).
        test: reads test images.
        test_labels: int64 (M,).
        class_names: a name for each class, in the order of the labels.
        notes: what a reader of the log should know, a line each.
    """

    train: Reader
    train_labels: Tensor
    test: Reader
    test_labels: Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all examples once decoded."""
        itemsize = np.dtype(getattr(self.train, "dtype", np.uint8)).itemsize
        return (len(self.train) + len(self.test)) * math.prod(self.train.shape) * itemsize


class ArrayReader:
    """Images of an array, fitted to a size (`poolbench.data.fit_size`).

    Args:
        images: uint8 (N, H, W, C).
        size: height and width that are read: one number for both, or two.
    """

    def __init__(self, images: np.ndarray, size: int | Sequence[int]) -> None:
        self.images = images
        self.sizes = sizes_of(size, where="size")

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image as read."""
        return self.images.shape[3], *self.sizes

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        """Return image `index` as uint8 (H, W, C)."""
        return fit_size(self.images[index], self.sizes)

    def take(self, rows: Sequence[int]) -> "ArrayReader":
        """Return a reader of the images at `rows` alone."""
        return ArrayReader(self.images[np.asarray(rows)], self.sizes)

    def notes(self) -> tuple[str, ...]:
        """Say from which size images are fitted."""
        height, width = self.images.shape[1:3]
        if (height, width) == self.sizes:
            return ()
        return (f"fitted from {height}×{width} to {'×'.join(map(str, self.sizes))}",)
