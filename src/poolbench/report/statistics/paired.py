"""The difference between two arms over seeds and test images: its size, and how well it is known.

Both arms of seed s are tested on the same images, so what was found is a table of d[s, i] = (arm right on image i) −
(reference right on image i), one row a seed, one column an image: seeds and images are crossed, not nested. With

    d[s, i] = δ + A[s] + B[i] + E[s, i]

the variance of the mean over S seeds and N images is σ_A²/S + σ_B²/N + σ_E²/(S·N). Mean squares of the two-way
analysis of variance estimate it without bias in two parts (S. R. Searle, G. Casella, C. E. McCulloch 1992, Variance
Components, ch. 4): MS_A / (S·N) = s²/S from the seeds, which is all that the paired t over seeds has, with S − 1
degrees of freedom; and (MS_B − MS_E) / (S·N) from the images, cut at 0, for which N − 1 is taken.

Two variances with so unlike degrees of freedom make no Student's t. The critical value is Cochran and Cox's (W. G.
Cochran, G. M. Cox 1957, Experimental Designs, 2nd ed., 4.14): the two parts' own quantiles, weighted by the variances.
Satterthwaite's approximation is too sure of itself here, since a spread of few seeds that comes out small by chance
also gives it more degrees of freedom: docs/statistics.md has both, measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

# Student's t of scipy.stats, without the half second that its import takes.
from scipy.special import stdtr, stdtrit

from poolbench.report.statistics.estimates import Values, estimate

Differences = NDArray[np.int8]
# Smaller ones the quantile does not know.
LEAST_TAIL = 1e-100


@dataclass(frozen=True)
class Paired:
    """A mean of paired differences with the variance of both of its sources.

    Args:
        n: seeds.
        mean: of the differences.
        std: their sample standard deviation over the seeds; NaN for one seed.
        seed_variance: of the mean, from the seeds; NaN for one seed.
        image_variance: of the mean, from the images that the seeds share; NaN where their outcomes are not known.
        images: N; None where outcomes are not known.
        equal: whether every outcome is known and equal between the two.
    """

    n: int
    mean: float
    std: float
    seed_variance: float
    image_variance: float
    images: int | None = None
    equal: bool = False

    @property
    def spreads(self) -> bool:
        """Whether the seeds vary: where by chance they do not, nothing says how much others would."""
        return self.seed_variance > 0

    @property
    def parts(self) -> tuple[tuple[float, float], ...]:
        """The variances that make up the mean's, each with its degrees of freedom."""
        if self.images is None:
            return ((self.seed_variance, self.n - 1),)
        return (self.seed_variance, self.n - 1), (self.image_variance, self.images - 1)

    @property
    def se(self) -> float:
        """Standard error of the mean."""
        return standard_error(self.parts)

    @property
    def p(self) -> float:
        """Two-sided p of no difference; 1 where every outcome is equal, else NaN where the seeds do not vary."""
        if self.equal:
            return 1.0
        return two_sided(self.mean, self.parts) if self.spreads else math.nan

    @property
    def p_seeds(self) -> float:
        """The same by the paired t over the seeds alone: for these images, not for others like them."""
        return two_sided(self.mean, self.parts[:1])

    def interval(self, level: float) -> tuple[float, float]:
        """Return both ends of the interval at this confidence level; NaN where p is."""
        if self.equal:
            return 0.0, 0.0
        half = half_width(self.parts, level) if self.spreads else math.nan
        return self.mean - half, self.mean + half


Parts = Sequence[tuple[float, float]]


def standard_error(parts: Parts) -> float:
    """Return the root of the variances together."""
    return math.sqrt(sum(variance for variance, _ in parts))


def half_width(parts: Parts, level: float) -> float:
    """Return half the width of the interval at a confidence level; NaN where the variance is unknown."""
    se, tail = standard_error(parts), (1 - level) / 2
    if not se > 0:
        return se
    # A second source of noise makes nothing surer, which far out in the tail the weighting alone would.
    return max(_critical(parts, tail) * se, _critical(parts[:1], tail) * standard_error(parts[:1]))


def two_sided(mean: float, parts: Parts) -> float:
    """Return the p at whose interval 0 is an end; NaN where the variance is 0 or unknown.

    >>> round(two_sided(1.58, [(0.38896**2, 9)]), 4)  # Student 1908, the ten patients
    0.0028
    """
    se = standard_error(parts)
    if not se > 0:
        return math.nan
    seeds_alone = _tail_of(mean, parts[0]) if parts[0][0] else 0.0
    if len(parts) == 1 or not parts[1][0]:
        return seeds_alone
    size = abs(mean) / se
    if size == 0:
        return 1.0
    # In the logarithm of the tail, where the critical value is nearly linear.
    ends = math.log(LEAST_TAIL), math.log(0.5)
    if _critical(parts, math.exp(ends[0])) <= size:
        return seeds_alone
    both = 2 * math.exp(brentq(lambda tail: _critical(parts, math.exp(tail)) - size, *ends))
    return max(both, seeds_alone)


def _tail_of(mean: float, part: tuple[float, float]) -> float:
    variance, df = part
    return float(2 * stdtr(df, -abs(mean) / math.sqrt(variance)))


def _critical(parts: Parts, tail: float) -> float:
    """Return the quantile beyond which `tail` lies, those of the parts weighted by their variances."""
    total = sum(variance for variance, _ in parts)
    if not total:
        return 0.0
    return -sum(variance * float(stdtrit(df, tail)) for variance, df in parts if variance) / total


def paired(differences: Values, by_image: Differences | None = None) -> Paired:
    """Return the mean difference and its variance.

    Args:
        differences: of the accuracies, one a seed, (S,), all finite.
        by_image: 1, 0 or −1 for each seed and image, (S, N), rows as in `differences`; None: not known, so that the
            seeds alone count.

    >>> found = paired(np.array([0.25, 0.75]), np.array([[1, 0, 0, 0], [1, 1, 1, 0]], dtype=np.int8))
    >>> found.mean, round(found.seed_variance, 4), round(found.image_variance, 4)
    (0.5, 0.0625, 0.0208)
    """
    seeds = estimate(np.asarray(differences, dtype=float)[None])
    n, mean, std = int(seeds.n[0]), float(seeds.mean[0]), float(seeds.std[0])
    seed_variance = std**2 / n if n else math.nan
    if by_image is None or n < 2 or by_image.shape[1] < 2:
        return Paired(n, mean, std, seed_variance, math.nan)
    return _two_way(by_image, n, mean, std, seed_variance)


def _two_way(d: Differences, n: int, mean: float, std: float, seed_variance: float) -> Paired:
    images = d.shape[1]
    cells = n * images
    by_image = d.sum(axis=0, dtype=np.int64) / n
    by_seed = d.sum(axis=1, dtype=np.int64) / images
    middle = by_image.mean()
    # Every d is −1, 0 or 1: its square is its size.
    total = np.count_nonzero(d) - cells * middle**2
    of_seeds = images * float(((by_seed - middle) ** 2).sum())
    of_images = n * float(((by_image - middle) ** 2).sum())
    ms_images = of_images / (images - 1)
    ms_rest = max(total - of_seeds - of_images, 0.0) / ((n - 1) * (images - 1))
    # The images may seem to add less than nothing, which they cannot.
    image_variance = float(max(ms_images - ms_rest, 0.0) / cells)
    return Paired(n, mean, std, seed_variance, image_variance, images, equal=not d.any())
