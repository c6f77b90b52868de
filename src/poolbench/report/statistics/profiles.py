"""How far each arm is from the best one, over data sets: performance profiles.

E. D. Dolan and J. J. Moré 2002, Benchmarking optimization software with performance profiles, Mathematical Programming
91:201–213: ρ(τ), the share of problems on which a solver is within τ of the best. Theirs is a ratio of times; here τ is
a difference of accuracies, as the ratio of two accuracies near 1 says little.

The area above an arm's profile is its mean gap, so that no end of the axis has to be chosen to give a profile one
figure. A profile ranks arms against the best of those that were run: the order of two arms may change when a third is
added (N. Gould and J. Scott 2016, A note on performance profiles, ACM TOMS 43(2):15).
"""

import numpy as np

from poolbench.report.statistics.estimates import Values

# Gaps are figures of ten and more digits; two that differ in the thirteenth are one.
DIGITS = 12
# Near the best: within a point.
POINT = 0.01


def gaps(accuracy: Values) -> Values:
    """Return how much each arm (column) is below the best one of its data set (row).

    >>> gaps(np.array([[0.9, 0.7], [0.5, 0.5]])).tolist()
    [[0.0, 0.2], [0.0, 0.0]]
    """
    below: Values = np.round(accuracy.max(axis=1, keepdims=True, initial=-np.inf) - accuracy, DIGITS)
    return below


def share_within(found: Values, tau: float) -> Values:
    """Return ρ(τ) of each arm: the share of data sets on which its gap is at most `tau`.

    >>> share_within(np.array([[0.0, 0.2], [0.0, 0.0]]), 0.1).tolist()
    [1.0, 0.5]
    """
    share: Values = (found <= tau + 10.0**-DIGITS).mean(axis=0)
    return share


def steps(gaps_of_arm: Values, end: float) -> tuple[Values, Values]:
    """Return an arm's profile as the corners of a step function: from each τ on, the share; it ends at `end`.

    >>> [corner.tolist() for corner in steps(np.array([0.2, 0.0]), 0.3)]
    [[0.0, 0.2, 0.3], [0.5, 1.0, 1.0]]
    """
    tau = np.unique(np.concatenate([[0.0], gaps_of_arm, [end]]))
    share = (gaps_of_arm[None, :] <= tau[:, None]).mean(axis=1)
    return tau, share
