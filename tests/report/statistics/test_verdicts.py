"""Verdicts: Holm's procedure, the order of decisions, and how many more seeds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from poolbench.report.statistics.paired import Paired, paired
from poolbench.report.statistics.verdicts import BETTER, TIE, TOO_FEW, UNDECIDED, WORSE, decide, holm


def arm(mean: float, std: float, n: int = 5, image_variance: float = math.nan, images: int | None = None) -> Paired:
    return Paired(n, mean, std, std**2 / n, image_variance, images)


@pytest.mark.slow
@settings(max_examples=10)  # each call of statsmodels collects all garbage
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holms_p_is_that_of_statsmodels(p: list[float]) -> None:
    corrected, levels = holm(p)
    assert corrected == pytest.approx(multipletests(p, method="holm")[1])
    assert all(1 - 0.05 / len(p) >= level - 1e-12 and level >= 0.95 - 1e-12 for level in levels) or len(p) == 1


@given(
    st.lists(
        st.tuples(st.floats(-0.05, 0.05), st.floats(0.001, 0.03), st.integers(3, 9), st.floats(0, 1e-4)),
        min_size=1,
        max_size=8,
    )
)
def test_interval_and_test_agree(drawn: list[tuple[float, float, int, float]]) -> None:
    family = [arm(mean, std, n, images, 500) for mean, std, n, images in drawn]
    for one in decide(family, margin=0.0):
        if abs(one.p_holm - 0.05) > 1e-9:
            assert (one.p_holm < 0.05) == (not one.low <= 0 <= one.high)
            assert (one.p_holm < 0.05) == (one.verdict in (BETTER, WORSE))


def test_the_step_that_decides_sets_the_level() -> None:
    # p: .0003, .013, .4 of three arms: .0003 < .05/3; .013 < .05/2; .4 > .05.
    assert holm([0.4, 0.0003, 0.013])[1] == pytest.approx([0.95, 1 - 0.05 / 3, 0.975])
    # .03 > .05/2: it and what comes after are decided there.
    assert holm([0.0003, 0.03, 0.04])[1] == pytest.approx([1 - 0.05 / 3, 0.975, 0.975])


def test_equal_p_have_one_level() -> None:
    assert holm([0.01, 0.5, 0.01])[1] == pytest.approx([1 - 0.05 / 3, 0.95, 1 - 0.05 / 3])


def test_one_arm_needs_no_correction() -> None:
    one = arm(0.01, 0.002)
    (found,) = decide([one], margin=0.005)
    assert (found.low, found.high) == one.interval(0.95)
    assert found.p_holm == one.p


class TestOrder:
    def test_too_few_runs_however_large_the_difference(self) -> None:
        found = decide([arm(0.5, 0.0001, n=2), paired(np.array([0.5]))], margin=0.005)
        assert [one.verdict for one in found] == [TOO_FEW, TOO_FEW]
        assert all(math.isnan(one.p_holm) for one in found)

    def test_too_few_runs_burden_no_other_arm(self) -> None:
        alone = decide([arm(0.01, 0.005)], margin=0.005)[0]
        beside = decide([arm(0.01, 0.005), arm(0.5, 0.001, n=2)], margin=0.005)[0]
        assert alone == beside

    @pytest.mark.parametrize(("mean", "verdict"), [(0.02, BETTER), (-0.02, WORSE)])
    def test_better_and_worse(self, mean: float, verdict: str) -> None:
        assert decide([arm(mean, 0.005)], margin=0.005)[0].verdict == verdict

    def test_undecided(self) -> None:
        assert decide([arm(0.004, 0.01)], margin=0.005)[0].verdict == UNDECIDED

    def test_without_a_spread_only_equality_is_sure(self) -> None:
        equal = Paired(3, 0.0, 0.0, 0.0, 0.0, 1000, equal=True)
        found = decide(
            [equal, arm(0.0, 0.0), arm(0.01, 0.0), arm(0.01, 0.0, image_variance=1e-5, images=9)], margin=0.005
        )
        assert [one.verdict for one in found] == [TIE, UNDECIDED, UNDECIDED, UNDECIDED]
        assert found[3].further_seeds is None

    @pytest.mark.parametrize(("images", "verdict"), [(100, UNDECIDED), (300, UNDECIDED), (600, TIE)])
    def test_the_same_on_few_images_is_no_tie(self, images: int, verdict: str) -> None:
        """Two arms that are right on all of 100 images may differ by three points."""
        equal = paired(np.zeros(3), np.zeros((3, images), dtype=np.int8))
        assert decide([equal], margin=0.005)[0].verdict == verdict

    def test_ties_are_not_corrected_for_the_number_of_arms(self) -> None:
        one = arm(0.0, 0.003, 5)
        alone, among = decide([one], margin=0.005)[0], decide([one] + [arm(0.01, 0.02)] * 5, margin=0.005)[0]
        # Two one-sided tests: 2.131847·0.003/√5.
        assert (alone.tie_low, alone.tie_high) == pytest.approx((-0.00286, 0.00286), abs=1e-5)
        assert (among.tie_low, among.tie_high) == (alone.tie_low, alone.tie_high)
        assert alone.verdict == among.verdict == TIE
        assert among.low < alone.low

    def test_both_better_and_within_the_margin_is_a_tie(self) -> None:
        found = decide([arm(0.003, 0.0005)], margin=0.005)[0]
        assert found.low > 0
        assert found.verdict == TIE

    def test_no_margin_no_tie(self) -> None:
        assert decide([arm(0.00001, 0.01)], margin=0.0)[0].verdict == UNDECIDED

    def test_an_empty_family(self) -> None:
        assert decide([], margin=0.005) == []


class TestFurtherSeeds:
    def test_by_hand(self) -> None:
        # Mean .01, standard deviation .01: t·.01/√n < .01 first at n = 7 (t = 2.447: .00925), not at 6 (.01049).
        (found,) = decide([arm(0.01, 0.01, n=4)], margin=0.0)
        assert found.verdict == UNDECIDED
        assert found.further_seeds == 3

    def test_a_tie_decides_too(self) -> None:
        (found,) = decide([arm(0.0, 0.01, n=5)], margin=0.005)
        # t·.01/√n < .005 at a one-sided .05, first at n = 13 (t = 1.782: .00494), not at 12 (1.796: .00518).
        assert found.further_seeds == 8

    def test_no_number_of_seeds_makes_up_for_few_images(self) -> None:
        (found,) = decide([arm(0.01, 0.001, image_variance=0.01**2, images=600)], margin=0.005)
        assert found.verdict == UNDECIDED
        assert found.further_seeds is None

    def test_only_the_undecided_are_told(self) -> None:
        assert decide([arm(0.02, 0.005)], margin=0.005)[0].further_seeds is None


@pytest.mark.slow
def test_the_family_wise_error_is_kept_with_seeds_and_images() -> None:
    """600 families of 6 equal arms: about 5 % get a verdict; more than 8 % in 600 has a probability below .001."""
    draw = np.random.default_rng(2026)
    seeds, images, families = 5, 300, 600
    alarms = covered = 0
    for _ in range(families):
        hard = draw.standard_normal(images)
        right = [
            (1 + hard + 0.5 * draw.standard_normal(images) + draw.standard_normal((seeds, images)) > 0).astype(np.int8)
            for _ in range(6)
        ]
        family = [paired((d := own - right[0]).mean(axis=1), d) for own in right[1:]]
        alarms += any(one.verdict in (BETTER, WORSE) for one in decide(family, margin=0.0))
        covered += sum(one.interval(0.95)[0] <= 0 <= one.interval(0.95)[1] for one in family)
    assert alarms / families < 0.08
    assert 0.93 < covered / families / 5 < 0.98
