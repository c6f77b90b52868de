"""Before the runs: what a pilot's variances say of power, against runs that are drawn image by image."""

import math
from dataclasses import replace

import numpy as np
import pytest

from poolbench.report.statistics.paired import Paired, paired
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
PILOTS = 200


def arm(std: float, image_variance: float, images: int | None, rest_variance: float) -> Paired:
    """Return a pilot's arm of four seeds, made by hand."""
    return Paired(4, 0.01, std, std**2 / 4, image_variance, images, rest_variance=rest_variance)


WITH_OUTCOMES = [arm(0.2, 0.001, 100, 0.5), arm(0.4, 0.002, 300, 1.5)]


@pytest.mark.parametrize(
    ("found", "seeds", "images", "rest"),
    [
        # σ_A² + σ_E²/N is 0.01; of the images' 0.001 for the mean over 100, σ_B² is 0.1.
        pytest.param([arm(0.1, 0.001, 100, 0.5)], 0.005, 0.1, 0.5, id="one"),
        # The means over arms: 0.1 of seeds, 200 images, 0.1 and 0.6 of images, 0.5 and 1.5 of the rest.
        pytest.param(WITH_OUTCOMES, 0.1 - 1.0 / 200, 0.35, 1.0, id="two"),
        pytest.param([*WITH_OUTCOMES, arm(0.0, 0.9, 900, 9.0)], 0.095, 0.35, 1.0, id="one whose seeds do not vary"),
        # What the seeds vary by is at most all that the rest explains.
        pytest.param([arm(0.1, 0.001, 100, 4.0)], 0.0, 0.1, 1.0, id="more rest than there is"),
        pytest.param([*WITH_OUTCOMES, arm(0.3, math.nan, None, math.nan)], 0.29 / 3, 0.0, 0.0, id="no outcomes"),
        # Images in groups: the rest stays with the seeds; 0.1, 0.6 and 0.05 of images.
        pytest.param([*WITH_OUTCOMES, arm(0.3, 0.001, 50, math.nan)], 0.29 / 3, 0.25, 0.0, id="no rest"),
    ],
)
def test_a_pilots_variances_are_the_means_over_its_arms(
    found: list[Paired], seeds: float, images: float, rest: float
) -> None:
    of = Variances.of_pilot(found)
    assert (of.seeds, of.images, of.rest) == pytest.approx((seeds, images, rest), rel=1e-12, abs=1e-15)


def test_a_pilots_variances_are_those_of_its_mean() -> None:
    draw = np.random.default_rng(0)
    found = []
    for _ in range(PILOTS):
        # Outcomes of −1, 0 and 1 with these variances are not to be had; the formulas need none.
        right = (drawn(5, 100, (0.25, 1.2, 1.0), 0.0, draw) > 0.8).astype(np.int8)
        other = (drawn(5, 100, (0.25, 1.2, 1.0), 0.0, draw) > 0.8).astype(np.int8)
        found.append(paired((d := right - other).mean(axis=1), d))
    variances = Variances.of_pilot(found)
    of_seeds, of_images = (variances.seeds + variances.rest / 100) / 5, variances.images / 100
    # A variance of so many means has this standard error; each part is more than that.
    tolerance = 4 * math.sqrt(2 / (PILOTS - 1))
    assert min(of_seeds, of_images) > tolerance * (of_seeds + of_images)
    assert np.var([one.mean for one in found], ddof=1) == pytest.approx(of_seeds + of_images, rel=tolerance)


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


@pytest.mark.parametrize("binary", [False, True])
def test_a_pilot_over_patients_has_the_power_of_runs_that_are_drawn(binary: bool) -> None:
    draw = np.random.default_rng(3)
    patients, each, seeds, mean = 20, 5, 5, 0.12

    def run() -> Paired:
        # A patient's images share what they do: of twenty only that counts.
        d = mean + 0.03 * draw.standard_normal((seeds, 1)) + 0.2 * np.repeat(draw.standard_normal(patients), each)
        d = d + 0.1 * draw.standard_normal((seeds, patients * each))
        return paired(d.mean(axis=1), d, groups=np.repeat(np.arange(patients), each), binary=binary)

    runs = [run() for _ in range(400)]
    hits = sum(decide([one], margin=0.0)[0].verdict == BETTER for one in runs)
    variances = Variances.of_pilot(runs)
    assert variances.images_a_unit == pytest.approx(each)
    expected = power(mean, variances, seeds=seeds, images=patients * each)
    assert 0.2 < expected < 0.8
    assert hits / 400 == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 400) + 0.03)
    # As many images of so many patients would say more.
    assert power(mean, replace(variances, images_a_unit=1.0), seeds=seeds, images=patients * each) > expected
    assert power(mean, variances, seeds=seeds, images=None) > expected + 0.1


@pytest.mark.parametrize(
    ("images", "disagreement", "difference"), [(100, 0.005, 0.03), (300, 0.002, 0.01), (600, 0.0, 0.006)]
)
def test_power_is_judged_with_the_least_variance_that_a_report_takes(
    images: int, disagreement: float, difference: float
) -> None:
    draw = np.random.default_rng(2)
    variances = Variances.of_published(0.002, disagreement=disagreement)
    of_images = variances.images / images
    hits = 0
    for _ in range(600):
        d = (
            difference
            + math.sqrt(of_images) * draw.standard_normal()
            + math.sqrt(variances.seeds) * draw.standard_normal(5)
        )
        one = paired(d)
        least = max(of_images, 2 / (images + 2) ** 2)
        known = type(one)(5, one.mean, one.std, one.seed_variance, least, images)
        hits += decide([known], margin=0.0)[0].verdict == BETTER
    expected = power(difference, variances, seeds=5, images=images)
    assert 0.4 < expected < 0.7
    assert power(difference, variances, seeds=5, images=None) > 0.9
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
