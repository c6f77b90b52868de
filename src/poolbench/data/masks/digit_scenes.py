"""Real digits on textured canvases, with the class of every pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from poolbench.checks import whole_number
from poolbench.data.digits import CLASS_NAMES as DIGITS
from poolbench.data.digits import TRAIN_IMAGES, originals
from poolbench.data.images import LoadedImages, Strata
from poolbench.data.in_memory import held, loaded
from poolbench.data.masks.enlarge import enlarged
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError
from poolbench.streams import stream

CLASS_NAMES = ("canvas", *DIGITS)
# Of a digit's box in pixels: all digits of a scene have one size, so that scenes can be grouped by it.
SIZES = (14, 18, 24)
SIZE_NAMES = ("small digits", "middle digits", "large digits")
DIGITS_A_SCENE = 3
# A pixel belongs to the digit where at least so much of it is ink, in levels of 255.
INK = 128
# Side of the canvas: four boxes of the largest digit.
LEAST_SIZE = 2 * SIZES[-1]
# Bright and dark levels of canvases, of ink; coarse grid and grain of the texture.
GROUND, SWING, GRAIN = (40, 120), 50, 12
BRIGHTER = (100, 150)
GRID = 6


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes with what was drawn for them.

    Args:
        images: uint8 (N, 1, size, size).
        masks: class of each pixel, uint8 (N, size, size): 0 the canvas, 1 to 10 the digits 0 to 9.
        sizes: of the digits of each scene, as a place in `SIZES`, int64 (N,).
    """

    images: np.ndarray
    masks: np.ndarray
    sizes: np.ndarray


class DigitScenes:
    """Which pixel belongs to which digit: three real digits a scene on a textured canvas.

    Digits are those of `poolbench.data.digits`, enlarged to boxes of 14, 18 or 24 pixels, one size a scene; each lies
    in a quarter of the canvas of its own, anywhere in it. Canvases are smooth clouds with grain, and ink is brighter
    than what lies below it, by an amount that differs from digit to digit. Test scenes hold digits of writers whom the
    training has not. What is drawn comes from a stream that no seed changes, and is computed in whole numbers: the set
    is the same on every machine.

    Args:
        name: what tables call it.
        channels: 1.
        image_size: height and width of a scene, even, at least 48.
        num_classes: 11, the canvas and ten digits.
        train_scenes: how many there are for training and validation.
        test_scenes: how many for the test.

    Raises:
        ConfigurationError: an argument is out of range.

    >>> images = DigitScenes(train_scenes=20, test_scenes=6).load()
    >>> images.train.shape, tuple(images.train.labels.shape), images.test_strata.names
    ((1, 48, 48), (20, 48, 48), ('small digits', 'middle digits', 'large digits'))
    """

    task = "segmentation"
    channels = 1
    num_classes = len(CLASS_NAMES)

    def __init__(
        self,
        *,
        name: str = "digit_scenes",
        image_size: int | Sequence[int] = LEAST_SIZE,
        train_scenes: int = 1000,
        test_scenes: int = 600,
    ) -> None:
        sizes = sizes_of(image_size)
        if len(set(sizes)) != 1 or len(sizes) != 2 or sizes[0] < LEAST_SIZE or sizes[0] % 2:
            raise ConfigurationError(
                f"`dataset.image_size` must be an even number of at least {LEAST_SIZE}, so that the largest digit fits "
                f"a quarter of the canvas, got {image_size!r}"
            )
        for argument, value in (("train_scenes", train_scenes), ("test_scenes", test_scenes)):
            whole_number(f"dataset.{argument}", value, least=2 * len(SIZES))
        self.name = name
        self.image_size = sizes[0]
        self.train_scenes = train_scenes
        self.test_scenes = test_scenes

    def fingerprint(self) -> str:
        """Return the name of the generator, its version and what it is asked for."""
        return f"digit_scenes/1/{self.image_size}/{self.train_scenes}/{self.test_scenes}"

    def scenes(self, part: str) -> Scenes:
        """Return the scenes of `train` or `test`."""
        images, labels = originals(repeat=1)
        own = slice(0, TRAIN_IMAGES) if part == "train" else slice(TRAIN_IMAGES, None)
        count = self.train_scenes if part == "train" else self.test_scenes
        return drawn(images[own, ..., 0], labels[own], count, self.image_size, stream(0, "digit_scenes", part))

    def load(self) -> LoadedImages:
        """Return the scenes, class maps as targets."""
        train, test = self.scenes("train"), self.scenes("test")
        return loaded(
            held("train", train.images, train.masks),
            held("test", test.images, test.masks),
            CLASS_NAMES,
            test_strata=Strata(SIZE_NAMES, torch.from_numpy(test.sizes)),
        )


def drawn(digits: np.ndarray, labels: np.ndarray, count: int, size: int, generator: torch.Generator) -> Scenes:
    """Return `count` scenes of digits (M, 8, 8), uint8, with these labels (M,).

    Sizes take turns, so that they are equally frequent. Each of the three digits lies in a quarter of its own.
    """

    def whole(low: int, high: int, *shape: int) -> np.ndarray:
        """Draw from low to high, both included."""
        return torch.randint(low, high + 1, shape, generator=generator).numpy()

    half = size // 2
    sizes = np.arange(count) % len(SIZES)
    chosen = whole(0, len(digits) - 1, count, DIGITS_A_SCENE)
    quarters = torch.rand(count, 4, generator=generator).argsort(1)[:, :DIGITS_A_SCENE].numpy()
    brighter = whole(*BRIGHTER, count, DIGITS_A_SCENE)
    room = half - np.array(SIZES)[sizes]
    corners = (torch.rand(count, DIGITS_A_SCENE, 2, generator=generator, dtype=torch.float64).numpy()) * (
        room[:, None, None] + 1
    )
    corners = corners.astype(np.int64) + np.stack([quarters // 2, quarters % 2], axis=2) * half
    clouds = enlarged(whole(-SWING, SWING, count, GRID, GRID), size)
    canvas = whole(*GROUND, count)[:, None, None] + clouds + whole(-GRAIN, GRAIN, count, size, size)
    boxes = [enlarged(digits, side) for side in SIZES]
    masks = np.zeros((count, size, size), np.uint8)
    for scene in range(count):
        side = SIZES[sizes[scene]]
        for place in range(DIGITS_A_SCENE):
            digit, (top, left) = chosen[scene, place], corners[scene, place]
            ink = boxes[sizes[scene]][digit]
            canvas[scene, top : top + side, left : left + side] += ink * brighter[scene, place] // 255
            masks[scene, top : top + side, left : left + side][ink >= INK] = 1 + labels[digit]
    return Scenes(canvas.clip(0, 255).astype(np.uint8)[:, None], masks, sizes.astype(np.int64))
