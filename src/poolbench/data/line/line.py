"""Steering by a line: camera frames of a line on a floor, how far to steer for a target."""

from collections.abc import Sequence

import numpy as np
import torch

from poolbench.checks import whole_number
from poolbench.data.images import LoadedImages, Strata
from poolbench.data.in_memory import held, loaded
from poolbench.data.line.frames import Frames, render
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError
from poolbench.streams import stream

LEAST_SIZE = 16
# Edges of the strata: where the line lies at the distance that is steered for.
EDGES = (-0.5, -0.15, 0.15, 0.5)
PLACES = ("far left", "left", "middle", "right", "far right")


class Line:
    """How far to steer, from −1 (left) to 1 (right), so as to follow a line.

    `poolbench.data.line.frames` says how frames are rendered. What is drawn comes from a stream that no seed changes:
    the set is the same on every machine, but for the last level where its arithmetic rounds otherwise.

    Args:
        name: what tables call it.
        channels: 1.
        image_size: rows and columns of a frame, at least 16.
        num_classes: 1, the number of a target.
        train_frames: how many there are for training and validation.
        test_frames: how many for the test.

    Raises:
        ConfigurationError: an argument is out of range.

    >>> images = Line(train_frames=20, test_frames=10).load()
    >>> images.train.shape, tuple(images.train.labels.shape), images.class_names
    ((1, 32, 32), (20, 1), ('steering',))
    """

    task = "regression"
    channels = 1
    num_classes = 1

    def __init__(
        self,
        *,
        name: str = "line",
        image_size: int | Sequence[int] = 32,
        train_frames: int = 2000,
        test_frames: int = 1000,
    ) -> None:
        sizes = sizes_of(image_size)
        if len(sizes) != 2 or len(set(sizes)) != 1 or sizes[0] < LEAST_SIZE:
            raise ConfigurationError(
                f"`dataset.image_size` must be a whole number of at least {LEAST_SIZE}, the side of a frame, got "
                f"{image_size!r}"
            )
        for argument, value in (("train_frames", train_frames), ("test_frames", test_frames)):
            whole_number(f"dataset.{argument}", value, least=10)
        self.name = name
        self.image_size = sizes[0]
        self.train_frames = train_frames
        self.test_frames = test_frames

    def fingerprint(self) -> str:
        """Return the name of the generator, its version and what it is asked for."""
        return f"line/1/{self.image_size}/{self.train_frames}/{self.test_frames}"

    def frames(self, part: str) -> Frames:
        """Return the frames of `train` or `test`."""
        count = self.train_frames if part == "train" else self.test_frames
        return render(count, self.image_size, stream(0, "line", part))

    def load(self) -> LoadedImages:
        """Return the frames, steering as targets."""
        train, test = self.frames("train"), self.frames("test")
        places = np.searchsorted(EDGES, test.places, side="right")
        return loaded(
            held("train", train.images, train.steering),
            held("test", test.images, test.steering),
            ("steering",),
            test_strata=Strata(PLACES, torch.from_numpy(places)),
        )
