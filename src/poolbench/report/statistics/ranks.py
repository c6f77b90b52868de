"""Which arms differ over several data sets, by their ranks and by the signs of their differences.

Every function takes a matrix with a row for each data set and a column for each arm, higher being better, without gaps.

Sources: J. Demšar 2006, Statistical comparisons of classifiers over multiple data sets, JMLR 7:1–30 (ranks, Friedman,
Iman–Davenport, Nemenyi, Wilcoxon); M. Friedman 1937, JASA 32:675–701, whose test is a permutation test to begin with;
A. Benavoli, G. Corani and F. Mangili 2016, Should we really use post-hoc tests based on mean-ranks?, JMLR 17(5):1–10
(why Wilcoxon's test stands beside Nemenyi's: mean ranks make a pair depend on which other arms were run).

`scipy.stats` takes half a second to import, so it is imported where there are data sets enough to need it.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

# What `scipy.stats.rankdata` would do costs that import; the quantiles below come from scipy.special alone.
from scipy.special import chdtrc, fdtrc

from poolbench.report.statistics.estimates import Values
from poolbench.report.statistics.verdicts import ALPHA

# With two arms there is one pair, and Wilcoxon's test is for that.
LEAST_ARMS = 3
# The smallest p that 3 arms can reach is 1/3! with 2 data sets and 1/3!² = 0.028 with 3.
LEAST_DATASETS = 3
# Up to so many arrangements of the ranks are gone through one by one; beyond, so many less one are drawn.
MOST_ARRANGEMENTS = 50_000
DRAWS = 9_999
DRAWS_AT_ONCE = 500
# 2¹³ signs are gone through in a moment; the exact distribution without ties goes to 50, as in scipy.
MOST_SIGNED = 13
MOST_EXACT = 50
# Means of equal figures, summed in another order, must tie.
DIGITS = 12


@dataclass(frozen=True)
class Friedman:
    """Whether any of the arms differ: Friedman's χ², Iman and Davenport's F, and p by permutation.

    Args:
        chi2: Friedman's statistic, not corrected for ties.
        p_chi2: by the χ² distribution, which needs many data sets and arms.
        f: Iman and Davenport's statistic; infinite where all data sets rank the arms alike.
        p_f: by the F distribution; 0 where f is infinite, whatever the number of data sets.
        df: the F distribution's two degrees of freedom; the first is also the χ² distribution's.
        p: by rearranging the ranks within each data set; right for any number of them, and what the verdict follows.
        exact: whether p is over all arrangements, not a sample of them.
    """

    chi2: float
    p_chi2: float
    f: float
    p_f: float
    df: tuple[int, int]
    p: float
    exact: bool

    @property
    def rejects(self) -> bool:
        """Whether the arms differ: p is below α."""
        return self.p < ALPHA


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test: rank sums of positive and negative differences, two-sided p, whether it is exact."""

    positive: float
    negative: float
    p: float
    exact: bool

    @property
    def statistic(self) -> float:
        """The smaller of the two rank sums."""
        return min(self.positive, self.negative)


def ranks(accuracy: Values) -> Values:
    """Return each arm's rank in each data set: 1 for the best, the mean of their places for equal ones.

    >>> ranks(np.array([[0.9, 0.7, 0.8], [0.5, 0.5, 0.6]])).tolist()
    [[1.0, 3.0, 2.0], [2.5, 2.5, 1.0]]
    """
    rounded = np.round(accuracy, DIGITS)
    above = (rounded[:, None, :] > rounded[:, :, None]).sum(axis=2)
    equal = (rounded[:, None, :] == rounded[:, :, None]).sum(axis=2)
    return above + (equal + 1) / 2


def friedman(accuracy: Values) -> Friedman:
    """Return Friedman's test and Iman and Davenport's (Demšar 2006, section 3.2.2), with p by permutation as well.

    With N data sets, k arms and average ranks R: χ² = 12N/(k(k+1))·(ΣR² − k(k+1)²/4) with k − 1 degrees of freedom,
    F = (N−1)χ²/(N(k−1) − χ²) with k − 1 and (k−1)(N−1). As in the source, ties are not corrected for: with ties both
    are a little small, hence cautious. The permutation p is the share of arrangements of each data set's ranks whose
    ΣR² is at least the observed one; ties are kept, so it needs no correction.

    Raises `ValueError` with fewer than 3 arms or 2 data sets.
    """
    n, k = accuracy.shape
    if k < LEAST_ARMS or n < 2:
        raise ValueError(f"`accuracy` must have at least 2 rows and {LEAST_ARMS} columns, got {n} × {k}")
    found = ranks(accuracy)
    mean = found.mean(axis=0)
    chi2 = max(12 * n / (k * (k + 1)) * (float((mean**2).sum()) - k * (k + 1) ** 2 / 4), 0.0)
    df = (k - 1, (k - 1) * (n - 1))
    left = n * (k - 1) - chi2
    f = (n - 1) * chi2 / left if left > 1e-9 else math.inf
    p, exact = _permuted(found)
    return Friedman(
        chi2=chi2,
        p_chi2=float(chdtrc(df[0], chi2)),
        f=f,
        p_f=float(fdtrc(*df, f)) if math.isfinite(f) else 0.0,
        df=df,
        p=p,
        exact=exact,
    )


def _permuted(found: Values) -> tuple[float, bool]:
    """Return Friedman's p by permutation, and whether all arrangements were gone through."""
    n, k = found.shape
    # Rounding must not make an arrangement as extreme as the observed one look less so.
    observed = float((found.sum(axis=0) ** 2).sum()) - 1e-6
    # The first row may stay: it names the arms, and the statistic does not depend on names.
    if math.factorial(k) ** (n - 1) <= MOST_ARRANGEMENTS:
        sums = found[:1]
        for row in found[1:]:
            orders = np.array(list(itertools.permutations(row)))
            sums = (sums[:, None, :] + orders[None, :, :]).reshape(-1, k)
        return float(((sums**2).sum(axis=1) >= observed).mean()), True
    rng = np.random.default_rng(0)
    extreme = 0
    for start in range(0, DRAWS, DRAWS_AT_ONCE):
        drawn = np.broadcast_to(found, (min(DRAWS_AT_ONCE, DRAWS - start), n, k))
        sums = rng.permuted(drawn, axis=2).sum(axis=1)
        extreme += int(((sums**2).sum(axis=1) >= observed).sum())
    # The observed arrangement is one of those that chance could have given.
    return (extreme + 1) / (DRAWS + 1), False


def critical_difference(n_arms: int, n_datasets: int, alpha: float = ALPHA) -> float:
    """Return Nemenyi's critical difference CD = q·√(k(k+1)/(6N)): average ranks this far apart differ at level α.

    q is the 1 − α quantile of the studentized range of k arms and infinitely many degrees of freedom, divided by √2
    (Demšar 2006, table 5a).

    >>> round(critical_difference(4, 14), 2), round(critical_difference(4, 14, alpha=0.10), 2)
    (1.25, 1.12)
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, n_arms, np.inf)) / math.sqrt(2)
    return q * math.sqrt(n_arms * (n_arms + 1) / (6 * n_datasets))


def nemenyi(mean_ranks: Values, n_datasets: int) -> Values:
    """Return p of each pair's difference in average rank, corrected for the number of arms; 1 on the diagonal."""
    from scipy.stats import studentized_range

    k = len(mean_ranks)
    q = np.abs(mean_ranks[:, None] - mean_ranks[None, :]) / math.sqrt(k * (k + 1) / (6 * n_datasets))
    p = np.clip(studentized_range.sf(q * math.sqrt(2), k, np.inf), 0.0, 1.0)
    np.fill_diagonal(p, 1.0)
    return p


def cliques(mean_ranks: Values, difference: float) -> tuple[tuple[int, ...], ...]:
    """Return the largest groups of arms within less than a critical difference, as columns, best rank first.

    A group that lies in another is left out, and so is an arm alone.

    >>> cliques(np.array([3.143, 2.000, 2.893, 1.964]), 1.12)
    ((3, 1, 2), (2, 0))
    """
    order = sorted(range(len(mean_ranks)), key=lambda column: (mean_ranks[column], column))
    found: list[tuple[int, ...]] = []
    end = 0
    for start, first in enumerate(order):
        group = [c for c in order[start:] if mean_ranks[c] - mean_ranks[first] < difference - 1e-9]
        if len(group) > 1 and start + len(group) > end:
            found.append(tuple(group))
            end = start + len(group)
    return tuple(found)


def wilcoxon(differences: Values) -> SignedRank:
    """Return Wilcoxon's signed-rank test of paired differences, one a data set (Demšar 2006, section 3.1.3).

    A difference of zero keeps its rank, half of it on either side, as in the source. p is exact, over all signs that
    the differences that are not zero could have had, with up to 13 data sets, and without ties and zeros with up to 50;
    beyond, it is the normal approximation's, without correction for continuity. With zeros alone p is 1.

    >>> wilcoxon(np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06]))  # all of one sign: p = 2/2⁶
    SignedRank(positive=21.0, negative=0.0, p=0.03125, exact=True)
    """
    from scipy import stats

    d = np.round(differences, DIGITS)
    size = ranks(-np.abs(d)[None, :])[0]
    of_zeros = float(size[d == 0].sum()) / 2
    sums = (float(size[d > 0].sum()) + of_zeros, float(size[d < 0].sum()) + of_zeros)
    if not d.any():
        return SignedRank(*sums, 1.0, exact=True)
    tied = len(set(np.abs(d))) < len(d) or not d.all()
    if not tied and len(d) <= MOST_EXACT:
        return SignedRank(*sums, float(stats.wilcoxon(d, method="exact").pvalue), exact=True)
    if len(d) <= MOST_SIGNED:
        signed = np.sign(d) * size
        found = stats.permutation_test(
            (signed,),
            lambda sample, axis: sample.sum(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=np.inf,
        )
        return SignedRank(*sums, float(found.pvalue), exact=True)
    return SignedRank(*sums, float(stats.wilcoxon(d, zero_method="zsplit").pvalue), exact=False)


def smallest_p(n_datasets: int, n_pairs: int) -> float:
    """Return the smallest p that Wilcoxon's test can give after Holm's correction: n_pairs · 2/2ⁿ, at most 1.

    >>> smallest_p(6, 1), smallest_p(8, 6)
    (0.03125, 0.046875)
    """
    return min(n_pairs * 2.0 / 2.0**n_datasets, 1.0)
