"""Frames rendered: a bent line on a floor with grain, seen under uneven light, with the noise of a camera."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from poolbench.data.line.camera import Camera

CAMERA_TILT, CAMERA_ANGLE = 0.75, 0.95
# Where the line lies at the robot's own place, which direction it has there, how much it bends: the widest there are.
OFFSET, HEADING, BEND = 0.35, 0.35, 0.3
# The point of the line that is steered for, in heights ahead.
LOOK_AHEAD = 1.5
# How far it lies to the side at most, as drawn above: what a steering of ±1 stands for.
FULL_LOCK = OFFSET + HEADING * LOOK_AHEAD + BEND * LOOK_AHEAD**2 / 2
WIDTH = (0.1, 0.22)
# Rays a pixel and side: edges are grey, not jagged.
RAYS = 2
GRID = 5


@dataclass(frozen=True, eq=False)
class Frames:
    """Rendered frames.

    Args:
        images: uint8 (N, 1, size, size).
        steering: in −1 … 1, right is above 0, float32 (N, 1).
        places: where the line lies at the distance that is steered for, as `steering`, float64 (N,).
    """

    images: np.ndarray
    steering: np.ndarray
    places: np.ndarray


def render(count: int, size: int, generator: torch.Generator) -> Frames:
    """Return `count` frames of square `size`.

    A line lies at y = offset + heading·x + bend·x²/2, x ahead and y to the right in heights of the camera; the three
    are uniform. Steering is where it lies at x = 1.5, over the most that can be (pure pursuit for small angles). The
    line is brighter or darker than the floor, which has grain; light falls off along a random direction, a soft shadow
    lies across, every pixel has noise, and exposure differs.

    >>> frames = render(3, 32, torch.Generator().manual_seed(0))
    >>> frames.images.shape, bool((abs(frames.steering) <= 1).all())
    ((3, 1, 32, 32), True)
    """

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        drawn = torch.rand(*shape, generator=generator, dtype=torch.float64).numpy()
        return low + (high - low) * drawn

    offset, heading, bend = (uniform(-most, most, count)[:, None, None] for most in (OFFSET, HEADING, BEND))
    width = uniform(*WIDTH, count)[:, None, None]
    ahead, right = Camera(size * RAYS, CAMERA_TILT, CAMERA_ANGLE).floor
    middle = offset + heading * ahead + bend * ahead**2 / 2
    slope = heading + bend * ahead
    across = np.abs(right - middle) / np.sqrt(1 + slope**2)
    line = _smaller((across < width / 2).astype(np.float64))

    floor = uniform(0.35, 0.65, count)[:, None, None]
    brighter = uniform(0.15, 0.3, count)[:, None, None] * np.where(uniform(0, 1, count) < 0.5, -1, 1)[:, None, None]
    grain = _enlarged(uniform(-0.06, 0.06, count, GRID, GRID), size) + uniform(-0.04, 0.04, count, size, size)
    light = _light(uniform(0, 2 * math.pi, count), uniform(0, 0.35, count), size)
    light *= 1 - _shadow(uniform(0, 2 * math.pi, count), uniform(-0.6, 0.6, count), uniform(0, 0.35, count), size)
    noise = torch.randn(count, size, size, generator=generator, dtype=torch.float64).numpy() * 0.025
    levels = (floor + brighter * line + grain) * light * uniform(0.75, 1.25, count)[:, None, None] + noise
    places = (offset + heading * LOOK_AHEAD + bend * LOOK_AHEAD**2 / 2).reshape(count) / FULL_LOCK
    images = (levels.clip(0, 1) * 255).round().astype(np.uint8)
    return Frames(images[:, None], places.astype(np.float32)[:, None], places)


def _smaller(rays: np.ndarray) -> np.ndarray:
    """Return the mean over the rays of each pixel."""
    count, size = rays.shape[0], rays.shape[1] // RAYS
    return rays.reshape(count, size, RAYS, size, RAYS).mean((2, 4))


def _enlarged(grid: np.ndarray, size: int) -> np.ndarray:
    """Return coarse grids (N, n, n) at `size`, bilinear, corner to corner."""
    at = np.arange(size) * (grid.shape[1] - 1) / (size - 1)
    first = np.minimum(at.astype(np.int64), grid.shape[1] - 2)
    share = at - first
    rows = grid[:, first] * (1 - share)[:, None] + grid[:, first + 1] * share[:, None]
    return rows[:, :, first] * (1 - share) + rows[:, :, first + 1] * share


def _along(angle: np.ndarray, size: int) -> np.ndarray:
    """Return how far each pixel lies along a direction from the middle, in half sides, (N, size, size)."""
    steps = (2 * np.arange(size) + 1) / size - 1
    return np.cos(angle)[:, None, None] * steps[:, None] + np.sin(angle)[:, None, None] * steps


def _light(angle: np.ndarray, fall: np.ndarray, size: int) -> np.ndarray:
    """Return light that falls by `fall` of its mean towards one side, and rises as much towards the other."""
    return 1 + fall[:, None, None] * _along(angle, size)


def _shadow(angle: np.ndarray, edge: np.ndarray, depth: np.ndarray, size: int) -> np.ndarray:
    """Return how much light a shadow takes behind an edge, soft over a tenth of the frame."""
    beyond = (_along(angle, size) - edge[:, None, None]) / 0.2
    return depth[:, None, None] * (beyond + 0.5).clip(0, 1)
