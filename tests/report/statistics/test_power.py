"""Before the runs: what a pilot's variances say of power, against runs that are drawn image by image."""

import math

import numpy as np
import pytest

from poolbench.report.statistics.paired import paired
from poolbench.report.statistics.power import Variances, power, seeds_needed
from poolbench.report.statistics.verdicts import BETTER, decide


def drawn(
    seeds: int, images: int, of: tuple[float, float, float], mean: float, draw: np.random.Generator
) -> np.ndarray:
    """Return differences by seed and image with the standard deviations `of` seeds, images and rest."""
    a, b, e = of
    return (
        mean
        + a * draw.standard_normal((seeds, 1))
        + b * draw.standard_normal(images)
        + e * draw.standard_normal((seeds, images))
    )


OF = (0.01, 0.1, 0.3)


def test_a_pilots_variances_are_found_again() -> None:
    draw = np.random.default_rng(0)
    found = []
    for _ in range(40):
        # Outcomes of −1, 0 and 1 with these variances are not to be had; the formulas need none.
        right = (drawn(5, 400, (0.1, 0.7, 1.0), 0.0, draw) > 0.8).astype(np.int8)
        other = (drawn(5, 400, (0.1, 0.7, 1.0), 0.0, draw) > 0.8).astype(np.int8)
        found.append(paired((d := right - other).mean(axis=1), d))
    variances = Variances.of_pilot(found)
    means = [one.mean for one in found]
    expected = (variances.seeds + variances.rest / 400) / 5 + variances.images / 400
    assert np.var(means, ddof=1) == pytest.approx(expected, rel=0.5)
    assert variances.seeds + variances.rest / 400 == pytest.approx(np.mean([one.std**2 for one in found]))


def test_power_is_that_of_runs_that_are_drawn() -> None:
    draw = np.random.default_rng(1)
    variances = Variances(0.01**2, 0.1**2, 0.3**2)
    hits = 0
    for _ in range(600):
        d = drawn(5, 200, OF, 0.03, draw)
        # As `paired` has it, with the images' variance that is known here.
        one = paired(d.mean(axis=1))
        known = type(one)(5, one.mean, one.std, one.seed_variance, 0.1**2 / 200, 200, binary=False)
        hits += decide([known], margin=0.0)[0].verdict == BETTER
    expected = power(0.03, variances, seeds=5, images=200)
    assert 0.2 < expected < 0.95
    assert hits / 600 == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 600) + 0.02)


def test_more_of_everything_finds_more_and_more_arms_less() -> None:
    of = Variances(0.01**2, 0.1**2, 0.3**2)
    base = power(0.02, of, seeds=5, images=500)
    assert power(0.02, of, seeds=10, images=500) > base
    assert power(0.02, of, seeds=5, images=5000) > base
    assert power(0.03, of, seeds=5, images=500) > base
    assert power(0.02, of, seeds=5, images=500, arms=5) < base
    assert power(0.02, of, seeds=2, images=500) == 0.0
    # A difference of nothing is called better half as often as it is called anything: at most 2.5 %.
    assert power(0.0, of, seeds=5, images=500) < 0.03


def test_seeds_needed_is_the_first_number_that_does() -> None:
    of = Variances(0.01**2)
    needed = seeds_needed(0.01, of, images=None)
    assert needed is not None
    assert power(0.01, of, seeds=needed, images=None) >= 0.8 > power(0.01, of, seeds=needed - 1, images=None)
    # The textbook's: a paired t finds one standard deviation with 10 pairs in 80.3 % of runs.
    assert power(0.01, of, seeds=10, images=None) == pytest.approx(0.803, abs=0.03)
    assert needed in (9, 10, 11)


def test_a_small_test_set_no_seeds_make_up_for() -> None:
    assert seeds_needed(0.005, Variances(1e-6, 0.1), images=500) is None


def test_published_figures() -> None:
    found = Variances.of_published(0.002, correlation=0.5, disagreement=0.05)
    assert (found.seeds, found.images, found.rest) == (pytest.approx(4e-6), 0.05, 0.0)


@pytest.mark.parametrize(
    ("std", "options", "named"),
    [(0.0, {}, "std"), (0.1, {"correlation": 1.0}, "correlation"), (0.1, {"disagreement": 1.5}, "disagreement")],
)
def test_what_cannot_be_is_refused(std: float, options: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=f"`{named}` must be"):
        Variances.of_published(std, **options)


def test_a_pilot_without_seeds_that_vary_is_refused() -> None:
    with pytest.raises(ValueError, match="`found` must hold"):
        Variances.of_pilot([paired(np.array([0.01]))])
