"""What more runs would bring to an arm that is undecided: the chance that a fresh run of so many seeds decides it.

The chance is predictive. Of S seeds with mean m and standard deviation s, flat priors give

    σ² = (S − 1)·s²/χ²[S − 1],    μ = m + σ·z/√S

and a fresh run of n seeds on the same test images has the mean μ + σ·z'/√n and the variance σ²·χ²[n − 1]/(n − 1); z,
z', χ² are drawn. What the images add stays as observed, since the images stay. The run is judged as this one was, at
the level at which Holm's procedure decided the arm. With ever more seeds the mean is μ, and the images' noise is all
that is left: what that leaves undecided no number of seeds decides, only more test images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from poolbench.report.statistics.estimates import Values
from poolbench.report.statistics.paired import Paired

SEEDS = (5, 10, 20)
DRAWS = 2_000


@dataclass(frozen=True)
class Prospect:
    """The chance of a verdict.

    Args:
        chances: with each number of seeds in `SEEDS`; fraction of 1.
        ever: with any number of seeds; fraction of 1.
        images_alone: half the width of the interval that the test images alone leave; fraction of 1.
    """

    chances: tuple[float, ...]
    ever: float
    images_alone: float


def prospect(
    arm: Paired, *, level: float, margin: float, alpha: float, seeds: Sequence[int] = SEEDS
) -> Prospect | None:
    """Return the chance of a verdict on a fresh run; None where nothing says how much seeds vary.

    Args:
        arm: what was found.
        level: confidence level of the interval that calls better or worse.
        margin: of a tie, fraction of 1.
        alpha: of each of the two tests of a tie.
        seeds: of the fresh run, each at least 2.
    """
    if arm.n < 2 or not arm.spreads:
        return None
    draw = np.random.default_rng(0)
    variance = arm.seed_variance * arm.n * (arm.n - 1) / draw.chisquare(arm.n - 1, DRAWS)
    centre = arm.mean + draw.standard_normal(DRAWS) * np.sqrt(variance / arm.n)
    tails = ((1 - level) / 2, alpha)
    images = [0.0 if arm.images is None else arm.image_variance] * 2
    if arm.independent and arm.binary:
        images[1] = max(images[1], sum(one.variance_at(margin) for one in arm.independent))
    df = 0 if arm.images is None else arm.parts[1][1]
    chances = []
    for n in seeds:
        mean = centre + draw.standard_normal(DRAWS) * np.sqrt(variance / n)
        of_seeds = variance * draw.chisquare(n - 1, DRAWS) / (n - 1) / n
        widths = [
            _half_width(of_seeds, n - 1, of_images, df, tail) for of_images, tail in zip(images, tails, strict=True)
        ]
        chances.append(_decided(mean, widths[0], widths[1], margin))
    left = [_images_alone(of_images, df, tail) for of_images, tail in zip(images, tails, strict=True)]
    ever = _decided(centre, np.full(DRAWS, left[0]), np.full(DRAWS, left[1]), margin)
    return Prospect(tuple(chances), ever, left[0])


def _half_width(of_seeds: Values, df_seeds: int, of_images: float, df_images: float, tail: float) -> Values:
    """Return Cochran and Cox's half-widths for many variances of the seeds, as `paired.half_width` has one."""
    t_seeds = -float(stdtrit(df_seeds, tail))
    alone = t_seeds * np.sqrt(of_seeds)
    if not of_images:
        return alone
    t_images = -float(stdtrit(df_images, tail))
    both = (of_seeds * t_seeds + of_images * t_images) / np.sqrt(of_seeds + of_images)
    found: Values = np.maximum(both, alone)
    return found


def _images_alone(of_images: float, df_images: float, tail: float) -> float:
    return -float(stdtrit(df_images, tail)) * math.sqrt(of_images) if of_images else 0.0


def _decided(mean: Values, half: Values, tie_half: Values, margin: float) -> float:
    return float(((np.abs(mean) > half) | (np.abs(mean) + tie_half <= margin)).mean())
