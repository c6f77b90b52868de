"""Against figures worked out by hand, and against scipy.stats."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from poolbench.report.statistics.estimates import correlation, estimate

NAN = math.nan


def test_three_values_by_hand() -> None:
    # mean 0.92; deviations −0.02, 0, 0.02: s² = 0.0008 / 2, s = 0.02; t = 4.3027; half = 4.3027 · 0.02 / √3 = 0.049683
    found = estimate(np.array([[0.90, 0.92, 0.94]]))
    assert found.n.tolist() == [3]
    assert found.mean[0] == pytest.approx(0.92)
    assert found.std[0] == pytest.approx(0.02)
    assert found.ci95_low[0] == pytest.approx(0.92 - 0.049683, abs=1e-6)
    assert found.ci95_high[0] == pytest.approx(0.92 + 0.049683, abs=1e-6)


def test_two_values_by_hand() -> None:
    # mean 2, s = √2, half = 12.7062 · √2 / √2
    found = estimate(np.array([[1.0, 3.0]]))
    assert found.std[0] == pytest.approx(math.sqrt(2))
    assert found.ci95_high[0] - found.mean[0] == pytest.approx(12.7062, abs=1e-4)


def test_one_value_has_neither_deviation_nor_interval() -> None:
    found = estimate(np.array([[NAN, 0.9, NAN]]))
    assert (found.n[0], found.mean[0]) == (1, 0.9)
    assert np.isnan([found.std[0], found.ci95_low[0], found.ci95_high[0]]).all()


def test_no_value_has_no_mean() -> None:
    found = estimate(np.array([[NAN, NAN], [1.0, 3.0]]))
    assert found.n.tolist() == [0, 2]
    assert math.isnan(found.mean[0])
    assert found.mean[1] == 2.0


def test_absent_values_and_other_rows_change_nothing() -> None:
    together = estimate(np.array([[0.5, NAN, 0.7, 0.9], [0.1, 0.2, 0.3, 0.4]]))
    alone = estimate(np.array([[0.5, 0.7, 0.9]]))
    assert together.mean[0] == pytest.approx(alone.mean[0])
    assert together.ci95_low[0] == pytest.approx(alone.ci95_low[0])


def test_equal_values_have_no_spread_whatever_rounding_does() -> None:
    found = estimate(np.full((1, 3), 0.95))
    assert found.mean[0] == found.ci95_low[0] == found.ci95_high[0] == 0.95
    assert found.std[0] == 0.0


@given(arrays(float, st.tuples(st.integers(1, 4), st.integers(2, 9)), elements=st.floats(0, 1, width=16)))
def test_as_scipy_stats(values: np.ndarray) -> None:
    found = estimate(values)
    n = values.shape[1]
    np.testing.assert_allclose(found.mean, values.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(found.std, values.std(axis=1, ddof=1), atol=1e-12)
    half = scipy.stats.t.ppf(0.975, n - 1) * values.std(axis=1, ddof=1) / math.sqrt(n)
    np.testing.assert_allclose(found.ci95_high - found.mean, half, atol=1e-11)
    np.testing.assert_allclose(found.mean - found.ci95_low, half, atol=1e-11)


def test_correlation_by_hand() -> None:
    # centred: (−1, 0, 1) and (−1, 1, 0): Σab = 1, Σa² = Σb² = 2, r = 1/2
    r = correlation(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]]))
    assert r[0] == pytest.approx(0.5)


def test_correlation_over_common_seeds_only() -> None:
    r = correlation(np.array([[1.0, 2.0, NAN, 3.0, 9.0]]), np.array([[1.0, 3.0, 7.0, 2.0, NAN]]))
    assert r[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values", "others"),
    [([1.0, 2.0, NAN], [1.0, 2.0, 3.0]), ([0.95, 0.95, 0.95], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])],
    ids=["two in common", "constant", "constant reference"],
)
def test_correlation_undefined(values: list[float], others: list[float]) -> None:
    assert np.isnan(correlation(np.array([values]), np.array([others]))).all()
