"""Before the runs: how many seeds and test images a difference of so many points takes.

The difference d[s, i] between two arms has three variances, as in `paired`: of seeds σ_A², of images σ_B², of the rest
σ_E². With S seeds and N images the mean of a run varies by (σ_A² + σ_E²/N)/S over seeds and by σ_B²/N over images, and
these are what its interval is made of, the images' part no less than the report takes. How often the interval at
Holm's first and strictest level, 1 − α/m for m arms, excludes zero on the right side is found by drawing runs, the
seeds' estimated variance being χ² with S − 1 degrees of freedom.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from poolbench.report.statistics.paired import ImageSet, Paired
from poolbench.report.statistics.verdicts import ALPHA, LEAST_SEEDS

DRAWS = 4_000
MOST_SEEDS = 100


@dataclass(frozen=True)
class Variances:
    """What makes the difference of two arms vary, as fractions of 1, squared.

    Args:
        seeds: σ_A², of the arms' true difference from seed to seed.
        images: σ_B², of the difference from image to image, whatever the seed; 0: images do not count.
        rest: σ_E², of single outcomes.
        binary: whether an outcome is 0 or 1: a report then takes a least variance for the images.
        images_a_unit: how many images vary together, more than 1 where they come in groups of a patient or speaker.
    """

    seeds: float
    images: float = 0.0
    rest: float = 0.0
    binary: bool = True
    images_a_unit: float = 1.0

    @classmethod
    def of_pilot(cls, found: Sequence[Paired]) -> "Variances":
        """Return the means over arms that were run.

        Args:
            found: differences with at least 2 seeds that vary. Images count where all of them have outcomes.

        Raises:
            ValueError: there is no such arm.
        """
        usable = [one for one in found if one.n >= 2 and one.spreads]
        if not usable:
            raise ValueError("`found` must hold at least one arm with 2 seeds that vary, got none")
        of_seeds = float(np.mean([one.std**2 for one in usable]))
        if any(one.images is None for one in usable):
            return cls(of_seeds, binary=False)  # as a report of such records, which knows no images
        images = float(np.mean([one.images or 0 for one in usable]))
        of_images = float(np.mean([one.image_variance * (one.images or 0) for one in usable]))
        a_unit = float(np.mean([(one.images or 0) / sum(each.units for each in one.independent) for one in usable]))
        binary = all(one.binary for one in usable)
        # Over groups of images it is not estimated apart, and the seeds keep it whatever the number of images.
        if any(math.isnan(one.rest_variance) for one in usable):
            return cls(of_seeds, of_images, 0.0, binary, a_unit)
        rest = min(float(np.mean([one.rest_variance for one in usable])), of_seeds * images)
        return cls(of_seeds - rest / images, of_images, rest, binary, a_unit)

    @classmethod
    def of_published(cls, std: float, *, correlation: float = 0.0, disagreement: float = 0.0) -> "Variances":
        """Return those of published figures.

        Args:
            std: standard deviation of an arm's accuracy over its runs, fraction of 1.
            correlation: between two arms of equal seeds; 0 where seeds are not shared.
            disagreement: share of the test images on which one arm tends to be right and the other wrong; 0: not known,
                so that images do not count.

        Raises:
            ValueError: a value is outside its range.
        """
        if not (math.isfinite(std) and std > 0):
            raise ValueError(f"`std` must be above 0, got {std!r}")
        if not -1 <= correlation < 1:
            raise ValueError(f"`correlation` must be in −1..1, below 1, got {correlation!r}")
        if not 0 <= disagreement <= 1:
            raise ValueError(f"`disagreement` must be in 0..1, got {disagreement!r}")
        return cls(2 * std**2 * (1 - correlation), disagreement)


def power(
    difference: float, variances: Variances, *, seeds: int, images: int | None, arms: int = 1, alpha: float = ALPHA
) -> float:
    """Return how likely a true difference is called better (or worse, below 0) in a run; fraction of 1.

    Args:
        difference: the true one, fraction of 1.
        variances: of the difference.
        seeds: of the run; fewer than 3 decide nothing.
        images: of the test set, whose outcomes the run will know; None: images do not count.
        arms: beside the reference in the block.
        alpha: of the block.

    Raises:
        ValueError: a number is outside its range.
    """
    if arms < 1:
        raise ValueError(f"`arms` must be at least 1, got {arms!r}")
    if images is not None and images < 2:
        raise ValueError(f"`images` must be at least 2, got {images!r}")
    if seeds < LEAST_SEEDS:
        return 0.0
    tail = alpha / arms / 2
    of_one_seed = variances.seeds + (variances.rest / images if images else 0.0)
    of_images = variances.images / images if images else 0.0
    if not of_one_seed:
        return 0.0  # seeds that do not vary say nothing of others
    draw = np.random.default_rng(0)
    mean = abs(difference) + draw.standard_normal(DRAWS) * math.sqrt(of_one_seed / seeds + of_images)
    units = max(images / variances.images_a_unit, 2.0) if images else 0.0
    if images and variances.binary:  # what is estimated, which is more than there is
        of_images = max(of_images, ImageSet(units, images=images).least_variance)
    estimated = of_one_seed / seeds * draw.chisquare(seeds - 1, DRAWS) / (seeds - 1)
    t_seeds = -float(stdtrit(seeds - 1, tail))
    half = t_seeds * np.sqrt(estimated)
    if of_images and images:
        t_images = -float(stdtrit(units - 1, tail))
        both = (estimated * t_seeds + of_images * t_images) / np.sqrt(estimated + of_images)
        half = np.maximum(half, both)
    return float((mean > half).mean())


def seeds_needed(
    difference: float, variances: Variances, *, images: int | None, arms: int = 1, wanted: float = 0.8
) -> int | None:
    """Return the smallest number of seeds with which a true difference is found as often as wanted; None: over 100."""
    low, high = LEAST_SEEDS, MOST_SEEDS
    if power(difference, variances, seeds=high, images=images, arms=arms) < wanted:
        return None
    while low < high:
        middle = (low + high) // 2
        if power(difference, variances, seeds=middle, images=images, arms=arms) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low
