"""What the values of an arm over its seeds say: mean, spread, interval, and the paired comparison with another arm.

Every function takes matrices with a row for each arm and a column for each seed, NaN where a cell is absent, and works
on all rows at once, so that thousands of records take no longer than reading them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The quantile of Student's t that `scipy.stats.t.ppf` calls as well; importing scipy.stats takes half a second more.
from scipy.special import stdtrit

Values = NDArray[np.float64]
# Each of two numbers is rounded, and their difference; a mean over blocks has some more of these.
ROUNDED_BITS = 8


@dataclass(frozen=True)
class Estimate:
    """The statistics of each row: `n` values, their `mean`, sample `std` and 95 % interval; NaN where undefined."""

    n: NDArray[np.int64]
    mean: Values
    std: Values
    ci95_low: Values
    ci95_high: Values


def estimate(values: Values) -> Estimate:
    """Return count, mean, sample standard deviation (n − 1) and Student's t interval of each row's finite values.

    A row with one value has neither deviation nor interval; one with none has no mean either.

    >>> e = estimate(np.array([[0.90, 0.92, 0.94]]))
    >>> [round(float(x[0]), 4) for x in (e.mean, e.std, e.ci95_low, e.ci95_high)]  # t = 4.3027
    [0.92, 0.02, 0.8703, 0.9697]
    """
    present = np.isfinite(values)
    n = present.sum(axis=1)
    filled = np.where(present, values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = filled.sum(axis=1) / n
        squares = np.where(present, values - mean[:, None], 0.0) ** 2
        std = np.sqrt(squares.sum(axis=1) / (n - 1))
    # Rounding must not give equal values a spread.
    constant, value = _constant(values, present)
    mean = np.where(constant, value, mean)
    std = np.where(n < 2, np.nan, np.where(constant, 0.0, std))
    half = np.full(len(n), np.nan)
    several = n >= 2
    half[several] = stdtrit(n[several] - 1.0, 0.975) * std[several] / np.sqrt(n[several])
    return Estimate(n=n, mean=mean, std=std, ci95_low=mean - half, ci95_high=mean + half)


def equal_but_for_rounding(differences: Values, size: float) -> Values:
    """Return differences (S,), all the same where they are equal up to what subtraction rounds off.

    The accuracies 552/600 − 540/600 and 562/600 − 550/600 differ in their last bit, and that is no spread of seeds.

    Args:
        differences: of pairs of numbers, finite.
        size: of the largest of these numbers.

    >>> equal_but_for_rounding(np.array([0.9 - 0.8, 0.6 - 0.5]), 0.9).std()
    np.float64(0.0)
    """
    if len(differences) == 0 or np.ptp(differences) > ROUNDED_BITS * np.finfo(float).eps * size:
        return differences
    return np.full_like(differences, differences.min())


def correlation(values: Values, others: Values) -> Values:
    """Return Pearson's correlation of each row with the same row of `others`, over the seeds that both have.

    NaN with fewer than 3 such seeds, or where one of the two does not vary.

    >>> correlation(np.array([[1.0, 2.0, 3.0]]), np.array([[2.0, 4.0, 6.0]])).round(6).tolist()
    [1.0]
    """
    both = np.isfinite(values) & np.isfinite(others)
    n = both.sum(axis=1)
    defined = (n >= 3) & ~_constant(values, both)[0] & ~_constant(others, both)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        a = _centred(values, both, n)
        b = _centred(others, both, n)
        r = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(defined, np.clip(r, -1.0, 1.0), np.nan)


def _centred(values: Values, mask: NDArray[np.bool_], n: NDArray[np.int64]) -> Values:
    mean = np.where(mask, values, 0.0).sum(axis=1) / n
    return np.where(mask, values - mean[:, None], 0.0)


def _constant(values: Values, mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Values]:
    """Return for each row whether its masked values are all equal, and the least of them."""
    least = np.where(mask, values, np.inf).min(axis=1, initial=np.inf)
    most = np.where(mask, values, -np.inf).max(axis=1, initial=-np.inf)
    return least == most, least
