"""Real handwritten digits that come with scikit-learn: no download, seconds of training.

1,797 grey images of 8×8 pixels with 17 levels, the test part of the UCI set 'Optical Recognition of Handwritten
Digits' (E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49). They lie in the order of their recording,
so that neighbours come from one writer: the last 597 are the test set, whose writers the first 1,200 have not.
"""

from collections.abc import Sequence

import numpy as np
import torch

from poolbench.data.content import ArrayReader, Content
from poolbench.data.image_dataset import ImageDataset
from poolbench.errors import ConfigurationError
from poolbench.streams import stream

TRAIN_IMAGES = 1200
NATIVE_SIZE = 8
CLASS_NAMES = tuple(str(digit) for digit in range(10))


def originals(repeat: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all images, uint8 (1797, 8·repeat, 8·repeat, 1), and labels, int64; level 16 becomes 255."""
    from sklearn.datasets import load_digits  # takes a second, for which a sweep with nothing to do should not wait

    bunch = load_digits()
    levels = bunch.images.astype(np.int64)
    images = ((levels * 255 + 8) // 16).astype(np.uint8)[..., None]
    return images.repeat(repeat, axis=1).repeat(repeat, axis=2), bunch.target.astype(np.int64)


class Digits(ImageDataset):
    """scikit-learn's digits: 1,200 training images, 597 of other writers for the test.

    Args:
        image_size: 8 gives the originals, a multiple of 8 repeats each pixel, another size resizes by the rule of
            `poolbench.data.fit_size`.

    >>> loaded = Digits().load()
    >>> len(loaded.train), len(loaded.test), loaded.train.shape
    (1200, 597, (1, 16, 16))
    """

    def __init__(
        self,
        *,
        name: str = "digits",
        channels: int = 1,
        image_size: int | Sequence[int] = 16,
        num_classes: int = 10,
        streaming: bool | str = "auto",
        memory_limit_mib: float | None = None,
        workers: int = 2,
    ) -> None:
        super().__init__(
            name=name,
            channels=channels,
            image_size=image_size,
            num_classes=num_classes,
            streaming=streaming,
            memory_limit_mib=memory_limit_mib,
            workers=workers,
        )
        _require_grey(name, channels, num_classes)

    def fingerprint(self) -> str:
        """Return the name of the generator and its version."""
        return "digits/1"

    def content(self) -> Content:
        """Return the images at `image_size`."""
        height, width = self.sizes
        repeat = height // NATIVE_SIZE if height == width and height % NATIVE_SIZE == 0 else 1
        images, labels = originals(repeat)
        return Content(
            ArrayReader(images[:TRAIN_IMAGES], self.image_size),
            torch.from_numpy(labels[:TRAIN_IMAGES]),
            ArrayReader(images[TRAIN_IMAGES:], self.image_size),
            torch.from_numpy(labels[TRAIN_IMAGES:]),
            CLASS_NAMES,
        )


class TranslatedDigits(ImageDataset):
    """The same digits at 16×16 on a black 32×32 canvas: seen in training near the centre, in the test anywhere.

    A training digit lies within ±1 pixel of the centre, a test digit within ±8 (anywhere on the canvas), each shift
    drawn uniformly, by axis, from a stream that no seed changes: the set is the same on every machine. A network that
    ties its weights to places has not seen most of the test's; what translation invariance buys is the difference.

    Args:
        image_size: 32 is the canvas; another size resizes it by the rule of `poolbench.data.fit_size`.
    """

    canvas = 32
    train_shift = 1
    test_shift = 8

    def __init__(
        self,
        *,
        name: str = "translated_digits",
        channels: int = 1,
        image_size: int | Sequence[int] = 32,
        num_classes: int = 10,
        streaming: bool | str = "auto",
        memory_limit_mib: float | None = None,
        workers: int = 2,
    ) -> None:
        super().__init__(
            name=name,
            channels=channels,
            image_size=image_size,
            num_classes=num_classes,
            streaming=streaming,
            memory_limit_mib=memory_limit_mib,
            workers=workers,
        )
        _require_grey(name, channels, num_classes)

    def fingerprint(self) -> str:
        """Return the name of the generator and its version."""
        return "translated_digits/1"

    def content(self) -> Content:
        """Return the placed digits."""
        images, labels = originals(repeat=2)
        train = self._place(images[:TRAIN_IMAGES], self.train_shift, "train")
        test = self._place(images[TRAIN_IMAGES:], self.test_shift, "test")
        return Content(
            ArrayReader(train, self.image_size),
            torch.from_numpy(labels[:TRAIN_IMAGES]),
            ArrayReader(test, self.image_size),
            torch.from_numpy(labels[TRAIN_IMAGES:]),
            CLASS_NAMES,
        )

    def _place(self, images: np.ndarray, shift: int, part: str) -> np.ndarray:
        count, size = images.shape[:2]
        generator = stream(0, "translated_digits", part)
        drawn = torch.randint(-shift, shift + 1, (count, 2), generator=generator)
        corners = (drawn + (self.canvas - size) // 2).tolist()
        placed = np.zeros((count, self.canvas, self.canvas, 1), np.uint8)
        for canvas, image, (top, left) in zip(placed, images, corners, strict=True):
            canvas[top : top + size, left : left + size] = image
        return placed


def _require_grey(name: str, channels: int, num_classes: int) -> None:
    if channels != 1:
        raise ConfigurationError(f"`dataset.channels` must be 1: the images of {name} are grey, got {channels!r}")
    if num_classes != 10:
        raise ConfigurationError(f"`dataset.num_classes` must be 10: {name} has ten digits, got {num_classes!r}")
