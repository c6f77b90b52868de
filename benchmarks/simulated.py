"""Outcomes with a known truth, image by image: what the simulations of the verdicts draw.

An arm a is right on image i with seed s where

    μ[a] + z[i] + u[a, i] + w[s] + v[a, s] + e[a, s, i] > 0,

all terms normal: how hard the image is, how hard for this arm, how good a seed is for all arms and for this one, and
what is left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from poolbench.report.statistics.paired import Paired, paired


@dataclass(frozen=True)
class Noise:
    """What makes outcomes vary: standard deviations of the latent terms, the rest's being 1."""

    name: str
    images: int
    accuracy: float
    image: float = 1.5
    arm_image: float = 0.0
    seed: float = 0.05
    arm_seed: float = 0.0
    uneven: float = 1.0
    """How many times as much the last arm varies with its seeds as the first."""

    def of_seed(self, arm: int, arms: int) -> float:
        """Standard deviation of an arm's own seeds."""
        return self.arm_seed * self.uneven ** (arm / (arms - 1))

    def total(self, arm: int, arms: int) -> float:
        """Standard deviation of all terms of an arm together."""
        return math.sqrt(1 + self.image**2 + self.arm_image**2 + self.seed**2 + self.of_seed(arm, arms) ** 2)

    def draw(self, seeds: int, purpose: int) -> np.random.Generator:
        """Return random numbers of this noise's own."""
        return np.random.default_rng([seeds, purpose, *self.name.encode()])


# Test sets from 600 images (the quickstart's digits) to 10,000 (CIFAR-10's); from no noise but each outcome's own to
# much of every kind.
NOISES = (
    Noise("600 images, outcomes alone", 600, 0.93),
    Noise("600 images, like digits", 600, 0.93, image=4, arm_image=1.0, arm_seed=0.1),
    Noise("600 images, like translated digits", 600, 0.20, image=3, arm_image=0.8, arm_seed=0.08),
    Noise("600 images, unlike images", 600, 0.80, arm_image=1.0),
    Noise("600 images, unlike seeds", 600, 0.30, arm_image=0.3, arm_seed=0.15),
    Noise("2,000 images, some of all", 2_000, 0.90, arm_image=0.4, arm_seed=0.06),
    Noise("2,000 images, arms unlike", 2_000, 0.90, arm_image=0.4, arm_seed=0.03, uneven=10),
    Noise("10,000 images, like CIFAR-10's", 10_000, 0.90, image=3, arm_image=0.6, arm_seed=0.04),
    Noise("10,000 images, unlike seeds", 10_000, 0.75, arm_image=0.3, arm_seed=0.10),
)


def outcomes(noise: Noise, arms: int, seeds: int, differences: Sequence[float], draw: np.random.Generator) -> NDArray:
    """Return whether each arm with each seed is right on each image, (arms, seeds, images)."""
    normal = draw.standard_normal
    n = noise.images
    # The accuracy over all images, seeds and arms is Φ(μ / total).
    totals = np.array([noise.total(arm, arms) for arm in range(arms)])
    centres = totals * ndtri(noise.accuracy + np.asarray(differences, dtype=float))
    fixed = noise.image * normal(n, dtype=np.float32) + noise.seed * normal((seeds, 1), dtype=np.float32)
    right = np.empty((arms, seeds, n), dtype=np.int8)
    for arm in range(arms):
        latent = normal((seeds, n), dtype=np.float32)
        latent += fixed
        latent += noise.arm_image * normal(n, dtype=np.float32)
        latent += centres[arm] + noise.of_seed(arm, arms) * normal((seeds, 1), dtype=np.float32)
        right[arm] = latent > 0
    return right


def family(right: NDArray) -> list[Paired]:
    """Return each arm's paired difference to the first."""
    return [paired((d := own - right[0]).mean(axis=1), d) for own in right[1:]]
