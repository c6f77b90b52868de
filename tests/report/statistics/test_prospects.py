"""What more runs would bring, against runs that are drawn."""

import math

import numpy as np
import pytest

from poolbench.report.statistics.paired import Paired
from poolbench.report.statistics.prospects import SEEDS, prospect
from poolbench.report.statistics.verdicts import ALPHA, UNDECIDED, decide, verdict_of


def arm(mean: float, std: float, n: int = 3, image_variance: float = math.nan, images: int | None = None) -> Paired:
    return Paired(n, mean, std, std**2 / n, image_variance, images)


def chances(one: Paired, margin: float = 0.005) -> tuple[float, ...]:
    found = prospect(one, level=0.95, margin=margin, alpha=ALPHA)
    assert found is not None
    return (*found.chances, found.ever)


def test_more_seeds_decide_more_often() -> None:
    found = chances(arm(0.01, 0.01, image_variance=1e-6, images=1000))
    assert list(found) == sorted(found)
    assert found[0] > 0.2


def test_without_images_noise_enough_seeds_decide_everything() -> None:
    assert chances(arm(0.004, 0.01))[-1] == 1.0


def test_a_small_test_set_leaves_open_what_no_seeds_decide() -> None:
    one = arm(0.01, 0.002, image_variance=0.01**2, images=600)
    found = prospect(one, level=0.95, margin=0.005, alpha=ALPHA)
    assert found is not None
    # Student's t with 599 degrees of freedom at .975 is 1.963939.
    assert found.images_alone == pytest.approx(0.01963939, abs=1e-7)
    assert found.ever < 0.1


def test_nothing_is_known_where_seeds_do_not_vary() -> None:
    assert prospect(arm(0.01, 0.0), level=0.95, margin=0.005, alpha=ALPHA) is None
    assert prospect(Paired(1, 0.01, math.nan, math.nan, math.nan), level=0.95, margin=0.005, alpha=ALPHA) is None


@pytest.mark.quick(3)
@pytest.mark.parametrize(("mean", "std"), [(0.01, 0.01), (0.0, 0.003), (0.02, 0.015)])
@pytest.mark.parametrize("images", [None, 1000])
def test_the_chance_is_that_of_runs_drawn_from_the_posterior(mean: float, std: float, images: int | None) -> None:
    """Each run is judged by `verdict_of`, as a report judges it; 1,200 of them, five standard errors."""
    variance = math.nan if images is None else 2e-6
    one = arm(mean, std, 4, variance, images)
    found = prospect(one, level=0.975, margin=0.005, alpha=ALPHA)
    assert found is not None
    draw = np.random.default_rng(1)
    for n, chance in zip(SEEDS[:2], found.chances, strict=False):
        decided = 0
        for _ in range(1200):
            sigma = std * math.sqrt(3 / draw.chisquare(3))
            run = draw.normal(draw.normal(mean, sigma / 2), sigma, n)
            then = Paired(n, run.mean(), run.std(ddof=1), run.var(ddof=1) / n, variance, images)
            decided += verdict_of(then.interval(0.975), then.tie_interval(ALPHA, 0.005), 0.005) != UNDECIDED
        assert decided / 1200 == pytest.approx(chance, abs=5 * math.sqrt(0.25 / 1200))


def test_chances_are_about_right_over_many_arms() -> None:
    """Arms with all kinds of true differences: what is predicted at 10 seeds happens about as often."""
    draw = np.random.default_rng(2)
    predicted, came = [], []
    for _ in range(600):
        truth = draw.normal(0, 0.01)
        first = draw.normal(truth, 0.01, 3)
        one = arm(first.mean(), first.std(ddof=1))
        (decision,) = decide([one], margin=0.005)
        if decision.verdict != UNDECIDED:
            continue
        ahead = prospect(one, level=decision.level, margin=0.005, alpha=ALPHA)
        assert ahead is not None
        run = draw.normal(truth, 0.01, 10)
        predicted.append(ahead.chances[1])
        came.append(decide([arm(run.mean(), run.std(ddof=1), 10)], margin=0.005)[0].verdict != UNDECIDED)
    assert len(came) > 300
    assert np.mean(predicted) == pytest.approx(np.mean(came), abs=0.15)
