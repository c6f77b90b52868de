"""A camera above a floor: which point of the floor each pixel of a frame shows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks ahead and down, its horizon level.

    Lengths are those of its height above the floor. Row r of n rows is the view along (r + 1/2)/n of the frame from top
    to bottom; columns likewise from left to right.

    Args:
        size: rows and columns of a frame, square.
        tilt: angle below the horizon at which the middle of the frame looks, radians.
        angle: field of view from top to bottom, radians.

    >>> camera = Camera(4, tilt=0.8, angle=0.9)
    >>> ahead = camera.floor[0]
    >>> bool((np.diff(ahead[:, 0]) < 0).all()), np.allclose(ahead, ahead[:, :1])  # lower rows are nearer
    (True, True)
    """

    size: int
    tilt: float
    angle: float

    @cached_property
    def floor(self) -> np.ndarray:
        """How far ahead and how far to the right each pixel's point lies, (2, size, size), float64."""
        steps = (2 * np.arange(self.size) + 1) / self.size - 1
        down, right = np.meshgrid(steps * np.tan(self.angle / 2), steps * np.tan(self.angle / 2), indexing="ij")
        # The direction of a pixel, turned down by the tilt: ahead, right, below.
        ahead = np.cos(self.tilt) - down * np.sin(self.tilt)
        below = np.sin(self.tilt) + down * np.cos(self.tilt)
        return np.stack([ahead / below, right / below])
