"""How likely a run of an arm is better than a run of its reference.

R. Agarwal, M. Schwarzer, P. S. Castro, A. C. Courville and M. G. Bellemare 2021, Deep reinforcement learning at the
edge of the statistical precipice, NeurIPS 34: P(X > Y) + ½P(X = Y) for independent runs X and Y, Mann and
Whitney's statistic as a share, averaged over tasks.

What differs from the source, because here the arms share their seeds (split, order, starting weights):

- Pairs of equal seeds are left out. X and Y of one seed are not independent, and counting them draws the share away
  from ½: with a correlation of 0.7, a true share of 0.76 and 3 seeds by 0.05. Over unequal seeds the mean is right.
- The bootstrap draws seeds, not runs: a seed that is drawn brings its runs of all arms and of all backbones of its data
  set, which may share its luck. Data sets are strata: each has draws of its own.

The interval tells what other seeds would change, on these data sets; it is not about data sets that were not run. With
few seeds it would be too narrow, so under 10 there is none. Simulated with normal accuracies, 1, 3 and 6 data sets,
correlations of 0 and 0.7 between the arms and true shares of 0.50 and 0.76, the nominal 95 % were 54 to 96 % with 3
seeds, 84 to 99 % with 5, and 90 to 94 % with 10 and 20.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from poolbench.report.statistics.estimates import Values

# With fewer the interval is too narrow: with 3 seeds it covered as little as 54 % where 95 were promised.
LEAST_SEEDS = 10
DRAWS = 2_000

BySeed = Mapping[int, float]
# One backbone on one data set: the arm's accuracy by seed, and the reference's.
Cell = tuple[BySeed, BySeed]


@dataclass(frozen=True)
class Improvement:
    """The probability that a run is better than the reference's; its 95 % interval, NaN with fewer than 10 seeds."""

    probability: float
    low: float = math.nan
    high: float = math.nan


def improvement(datasets: Sequence[Sequence[Cell]]) -> Improvement:
    """Return the probability over data sets, each with its backbones: means over backbones, then over data sets.

    NaN where a backbone has no two runs of unequal seeds. The draws are the same for equal numbers of seeds.

    >>> improvement([[({0: 0.9, 1: 0.8}, {0: 0.7, 1: 0.8})]])  # 0.9 > 0.8, and 0.8 > 0.7
    Improvement(probability=1.0, low=nan, high=nan)
    """
    tables = [_Seeds.of(cells) for cells in datasets]
    once = [table.shares(np.ones((1, table.n))) for table in tables]
    probability = float(np.mean(once)) if once else math.nan
    least = min((min(len(arm), len(reference)) for cells in datasets for arm, reference in cells), default=0)
    if math.isnan(probability) or least < LEAST_SEEDS:
        return Improvement(probability)
    rng = np.random.default_rng(0)
    drawn = np.mean([table.drawn(rng) for table in tables], axis=0)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Improvement(probability, float(low), float(high))


@dataclass(frozen=True)
class _Seeds:
    """One data set: for each backbone and pair of seeds, whether the arm wins (½: a tie) and whether it counts."""

    wins: Values
    counts: Values

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "_Seeds":
        seeds = sorted({seed for cell in cells for runs in cell for seed in runs})
        arm, reference = (
            np.array([[cell[side].get(seed, math.nan) for seed in seeds] for cell in cells]) for side in (0, 1)
        )
        x, y = arm[:, :, None], reference[:, None, :]
        counts = np.isfinite(x) & np.isfinite(y) & ~np.eye(len(seeds), dtype=bool)
        return cls(((x > y) + 0.5 * (x == y)) * counts, counts.astype(np.float64))

    @property
    def n(self) -> int:
        """How many seeds there are."""
        return self.wins.shape[1]

    def shares(self, weights: Values) -> Values:
        """Return for each row of weights, a weight a seed, the mean over the backbones of the share of pairs won."""
        won, pairs = (
            np.einsum("di,bij,dj->db", weights, matrix, weights, optimize=True) for matrix in (self.wins, self.counts)
        )
        with np.errstate(invalid="ignore"):
            share: Values = (won / pairs).mean(axis=1)
        return share

    def drawn(self, rng: np.random.Generator) -> Values:
        """Return the shares of samples of seeds with replacement; a sample without a pair is drawn again."""
        equal = np.full(self.n, 1 / self.n)
        shares = self.shares(rng.multinomial(self.n, equal, size=DRAWS).astype(np.float64))
        while (void := np.isnan(shares)).any():
            shares[void] = self.shares(rng.multinomial(self.n, equal, size=int(void.sum())).astype(np.float64))
        return shares
