"""The difference between two arms over seeds and test images: its size, and how well it is known.

Both arms of seed s are tested on the same images, so what was found is a table of d[s, i] = (arm right on image i) −
(reference right on image i), one row a seed, one column an image: seeds and images are crossed, not nested. With

    d[s, i] = δ + A[s] + B[i] + E[s, i]

the variance of the mean over S seeds and N images is σ_A²/S + σ_B²/N + σ_E²/(S·N). Mean squares of the two-way
analysis of variance estimate it without bias in two parts (S. R. Searle, G. Casella, C. E. McCulloch 1992, Variance
Components, ch. 4): MS_A / (S·N) = s²/S from the seeds, which is all that the paired t over seeds has, with S − 1
degrees of freedom; and (MS_B − MS_E) / (S·N) from the images, cut at 0, for which N − 1 is taken. Where images come in
groups (a writer's, a patient's), a group's sum is what varies: with T[s, g] the sum of d − d̄[s] over group g of G,

    (Σ_g T̄[g]² − Σ_s Σ_g (T[s, g] − T̄[g])²/(S·(S − 1)))/(N²·c),    c = 1 − 2·Σm³/(N·Σm²) + Σm²/N²

m being the groups' sizes; c is 1 − 1/G where these are equal, and so with one image a group all is as above (the
linearised variance of a mean over clusters: W. G. Cochran 1977, Sampling Techniques, 3rd ed., 9A; the second sum takes
off what the rest adds to the first). Groups of unequal size count as N²/Σm² of equal size: by their plain number ten of
10 to 150 images covered 84 % where 95 were promised.

An outcome of 0 or 1 seldom differs where both arms are nearly always right, and a variance estimated from none or one
such image is nothing to rely on. So it is at least 2/(N + 2)², that of Bonett and Price's adjusted estimate with no
image that differs (D. G. Bonett, R. M. Price 2012, Adjusted Wald confidence interval for a difference of binomial
proportions based on paired data, JEBS 37:479–488); N counts images, in groups or not. Where no outcome differs at all
the interval is ± (1 − tail^(1/N)):
a larger share of images on which the two differ would have shown itself with a probability of 1 − tail. A tie is
tested with the variance that there is at the margin, as in a score test, where that is the larger one: with the
observed one alone up to 9 % of arms at the margin were called ties where 5 % were promised.

Two variances with so unlike degrees of freedom make no Student's t. The critical value is Cochran and Cox's (W. G.
Cochran, G. M. Cox 1957, Experimental Designs, 2nd ed., 4.14): the two parts' own quantiles, weighted by the variances.
Satterthwaite's approximation is too sure of itself here, since a spread of few seeds that comes out small by chance
also gives it more degrees of freedom: docs/statistics.md has both, measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

# Student's t of scipy.stats, without the half second that its import takes.
from scipy.special import stdtr, stdtrit

from poolbench.report.statistics.estimates import Values, estimate

# Of hits whole numbers, of other scores numbers of floating point.
Differences = NDArray[np.int8] | NDArray[np.int16] | NDArray[np.float64]
Groups = NDArray[np.int64]
# Smaller ones the quantile does not know.
LEAST_TAIL = 1e-100
# Of the logarithm of a tail.
ROUNDING = 1e-6


@dataclass(frozen=True)
class ImageSet:
    """Test images that are drawn together.

    Args:
        units: how many vary independently: images, or groups of them, these counted as so many of equal size.
        weight: of their mean in the mean that is estimated.
        images: how many images they are; None: each unit is one.
    """

    units: float
    weight: float = 1.0
    images: int | None = None

    @property
    def least_variance(self) -> float:
        """What the images add to the variance at least, where outcomes are 0 or 1.

        Images are counted where they come in groups, too: what varies with the groups is estimated from the groups, and
        a floor by their number alone, ± 18 points for twenty patients, would leave nothing to decide.
        """
        return (self.weight * math.sqrt(2) / ((self.images or self.units) + 2)) ** 2

    def variance_at(self, difference: float) -> float:
        """Return what the images add where the arms differ by so much, on every block and with every seed alike.

        A difference of so much between outcomes of 0 or 1 shows on at least that share of the images.
        """
        return self.weight**2 * difference * (1 - difference) / self.units

    def unseen(self, tail: float) -> float:
        """Return how large a difference stays unseen with a probability of `tail`, where outcomes are 0 or 1."""
        return self.weight * -math.expm1(math.log(tail) / self.units)


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
        sets: the test images that vary independently; empty: N of one set.
        binary: whether an outcome is 0 or 1.
        rest_variance: of a single difference, what neither seeds nor images explain; NaN where it is not known.
    """

    n: int
    mean: float
    std: float
    seed_variance: float
    image_variance: float
    images: int | None = None
    equal: bool = False
    sets: tuple[ImageSet, ...] = ()
    binary: bool = True
    rest_variance: float = math.nan

    @property
    def independent(self) -> tuple[ImageSet, ...]:
        """The sets of test images; none where outcomes are not known."""
        return () if self.images is None else self.sets or (ImageSet(self.images),)

    @property
    def spreads(self) -> bool:
        """Whether the seeds vary: where by chance they do not, nothing says how much others would."""
        return self.seed_variance > 0

    @property
    def parts(self) -> tuple[tuple[float, float], ...]:
        """The variances that make up the mean's, each with its degrees of freedom."""
        if self.images is None:
            return ((self.seed_variance, self.n - 1),)
        units = sum(one.units - 1 for one in self.independent)
        return (self.seed_variance, self.n - 1), (self.image_variance, units)

    @property
    def se(self) -> float:
        """Standard error of the mean."""
        return standard_error(self.parts)

    @cached_property
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
            tail = (1 - level) / 2
            half = sum(one.unseen(tail) for one in self.independent) if self.binary else 0.0
            return -half, half
        half = half_width(self.parts, level) if self.spreads else math.nan
        return self.mean - half, self.mean + half

    def tie_interval(self, alpha: float, margin: float) -> tuple[float, float]:
        """Return both ends of the interval of two one-sided tests at level `alpha`: a tie lies within ± `margin`.

        The images' variance is at least the one that they have where the arms differ by the margin, which is what a tie
        is tested against: the few differing images of two arms that are nearly always right give too small a one.
        """
        if self.equal or not (self.binary and self.independent and self.spreads):
            return self.interval(1 - 2 * alpha)
        least = sum(one.variance_at(margin) for one in self.independent)
        (seeds, (of_images, df)) = self.parts
        half = half_width([seeds, (max(of_images, least), df)], 1 - 2 * alpha)
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
    # The tail lies between those of the two parts' own degrees of freedom.
    low, high = sorted(float(stdtr(df, -size)) for _, df in parts)
    if high <= LEAST_TAIL or _critical(parts, LEAST_TAIL) <= size:
        return seeds_alone
    # In the logarithm of the tail, where the critical value is nearly linear; wider by what rounding may take.
    ends = math.log(max(low, LEAST_TAIL)) - ROUNDING, min(math.log(high) + ROUNDING, math.log(0.5))
    both = 2 * math.exp(brentq(lambda tail: _critical(parts, math.exp(tail)) - size, *ends))
    return max(both, seeds_alone)


def _tail_of(mean: float, part: tuple[float, float]) -> float:
    variance, df = part
    return float(2 * stdtr(df, -abs(mean) / math.sqrt(variance)))


def _critical(parts: Parts, tail: float) -> float:
    """Return the quantile beyond which `tail` lies, those of the parts weighted by their variances."""
    total = weighted = 0.0
    for variance, df in parts:
        if variance:
            total += variance
            weighted += variance * float(stdtrit(df, tail))
    return -weighted / total if total else 0.0


@dataclass(frozen=True, eq=False)
class OnImages:
    """What was found on one set of test images.

    Args:
        differences: 1, 0 or −1 for each seed and image, (S, N), or the difference of their scores; where several blocks
            share the images, their sum.
        blocks: how many share them.
        groups: the group of each image, whole numbers (N,); None: each image stands for itself.
    """

    differences: Differences
    blocks: int = 1
    groups: Groups | None = None

    @cached_property
    def place(self) -> Groups:
        """The group of each image, from 0 on without a gap, (N,)."""
        if self.groups is None:
            return np.arange(self.differences.shape[1])
        return np.unique(self.groups, return_inverse=True)[1]

    @cached_property
    def sizes(self) -> Values:
        """How many images each group has."""
        return np.bincount(self.place).astype(float)

    @property
    def number(self) -> int:
        """How many images vary independently, or groups of them."""
        return self.differences.shape[1] if self.groups is None else len(self.sizes)

    @property
    def units(self) -> float:
        """The same, groups counted as so many of equal size, N²/Σm², and no fewer than the two that a spread takes."""
        if self.groups is None:
            return self.differences.shape[1]
        return max(float(self.sizes.sum() ** 2 / (self.sizes**2).sum()), 2.0)


def paired(
    differences: Values, by_image: Differences | None = None, *, groups: Groups | None = None, binary: bool = True
) -> Paired:
    """Return the mean difference and its variance.

    Args:
        differences: of the accuracies, one a seed, (S,), all finite.
        by_image: 1, 0 or −1 for each seed and image, (S, N), rows as in `differences`; None: not known, so that the
            seeds alone count.
        groups: the group of each image, whole numbers (N,); None: each image stands for itself.
        binary: whether an outcome is 0 or 1.

    >>> found = paired(np.array([0.25, 0.75]), np.array([[1, 0, 0, 0], [1, 1, 1, 0]], dtype=np.int8))
    >>> found.mean, round(found.seed_variance, 4), round(found.image_variance, 4)
    (0.5, 0.0625, 0.0556)
    """
    return over_sets(differences, () if by_image is None else (OnImages(by_image, 1, groups),), binary=binary)


def over_sets(differences: Values, sets: Sequence[OnImages], *, binary: bool = True) -> Paired:
    """Return a difference averaged over blocks and its variance; all blocks have the same seeds.

    Images vary independently from set to set; within a set they are carried over its blocks image by image, which is
    without bias whether or not the images of equal number are the same.

    Args:
        differences: the mean over the blocks, one a seed, (S,), all finite.
        sets: the sets of test images with the differences on them; empty: not known, so that the seeds alone count.
        binary: whether an outcome is 0 or 1; other scores have no least variance, and none that follows from a margin.
    """
    seeds = estimate(np.asarray(differences, dtype=float)[None])
    n, mean, std = int(seeds.n[0]), float(seeds.mean[0]), float(seeds.std[0])
    seed_variance = std**2 / n if n else math.nan
    if not sets or n < 2 or any(one.number < 2 for one in sets):
        return Paired(n, mean, std, seed_variance, math.nan)
    blocks = sum(one.blocks for one in sets)
    independent = tuple(ImageSet(one.units, one.blocks / blocks, one.differences.shape[1]) for one in sets)
    variances = [_variances(one) for one in sets]
    image_variance = sum(of_images for of_images, _ in variances) / blocks**2
    if binary:
        image_variance = max(image_variance, sum(one.least_variance for one in independent))
    return Paired(
        *(n, mean, std, seed_variance, image_variance),
        images=sum(one.differences.shape[1] for one in sets),
        equal=not any(one.differences.any() for one in sets),
        sets=independent,
        binary=binary,
        rest_variance=variances[0][1] if blocks == 1 else math.nan,
    )


def _variances(one: OnImages) -> tuple[float, float]:
    """Return the variance of the mean over one set's images, of the sum over its blocks; and of what is left."""
    d, (n, images) = one.differences, one.differences.shape
    exact = np.float64 if np.issubdtype(d.dtype, np.floating) else np.int64
    by_image = d.sum(axis=0, dtype=exact) / n
    by_seed = d.sum(axis=1, dtype=exact) / images
    middle = by_image.mean()
    if one.groups is not None:
        return _group_variance(d, one.place, one.sizes, by_image - middle, by_seed), math.nan
    squares: float
    if exact is np.float64:
        squares = float((d**2).sum())
    else:  # of one block every d is −1, 0 or 1: its square is its size
        squares = int(np.count_nonzero(d)) if one.blocks == 1 else int((d.astype(np.int32) ** 2).sum())
    total = squares - n * images * middle**2
    of_seeds = images * float(((by_seed - middle) ** 2).sum())
    of_images = n * float(((by_image - middle) ** 2).sum())
    ms_images = of_images / (images - 1)
    ms_rest = max(total - of_seeds - of_images, 0.0) / ((n - 1) * (images - 1))
    # The images may seem to add less than nothing, which they cannot.
    return float(max(ms_images - ms_rest, 0.0) / (n * images)), float(ms_rest)


def _group_variance(d: Differences, place: Groups, sizes: Values, centred: Values, by_seed: Values) -> float:
    """Return the same over groups of images, `centred` (N,) being the images' means less the mean of all."""
    n, images = d.shape
    units = len(sizes)
    sums = np.bincount(place, weights=centred, minlength=units)
    rest = 0.0
    for row, mean in zip(d, by_seed, strict=True):
        rest += float(((np.bincount(place, weights=row - mean, minlength=units) - sums) ** 2).sum())
    found = float((sums**2).sum()) - rest / (n * (n - 1))
    squares = (sizes**2).sum()
    # What taking the mean off takes from the squares: of G groups of equal size 1/G.
    kept = 1 - 2 * (sizes**3).sum() / (images * squares) + squares / images**2
    return float(max(found, 0.0) / kept / images**2)
