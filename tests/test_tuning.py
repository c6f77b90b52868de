"""Tuning: the same points for every arm, what they cover, which is best, whether the order changed."""

import math
from typing import Any

import numpy as np
import pytest

from poolbench.errors import ConfigurationError
from poolbench.tuning import Tune, best, default_space, order, points, space_of, spread

SPACE = space_of(
    {"protocol.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "protocol.wd": {"low": 0, "high": 1}}
)


def test_points_are_the_same_every_time_and_the_first_of_more() -> None:
    assert points(SPACE, 8) == points(SPACE, 8)
    assert points(SPACE, 16)[:8] == points(SPACE, 8)
    assert points(SPACE, 5) == points(SPACE, 8)[:5]


@pytest.mark.parametrize("number", [4, 8, 16])
def test_each_range_is_covered_evenly(number: int) -> None:
    found = points(SPACE, number)
    rates = sorted(math.log10(point["protocol.optimizer.lr"]) for point in found)
    decays = sorted(point["protocol.wd"] for point in found)
    # One in each of so many equal parts.
    assert [int((rate + 4) / 3 * number) for rate in rates] == list(range(number))
    assert [int(decay * number) for decay in decays] == list(range(number))


def test_all_lie_in_the_space() -> None:
    for point in points(SPACE, 64):
        assert 1e-4 <= point["protocol.optimizer.lr"] <= 1e-1
        assert 0 <= point["protocol.wd"] <= 1


def test_values_are_taken_as_they_are() -> None:
    found = {point["schedule"] for point in points(space_of({"schedule": ["cosine", "step"]}), 8)}
    assert found == {"cosine", "step"}


@pytest.mark.parametrize(
    "told",
    [
        {},
        None,
        {"lr": 0.1},
        {"lr": [0.1]},
        {"lr": {"low": 0.1}},
        {"lr": {"low": 0.1, "high": 0.1}},
        {"lr": {"low": "a", "high": 1}},
        {"lr": {"low": 0, "high": 1, "log": True}},
        {"lr": {"low": 1, "high": 2, "log": "yes"}},
        {"lr": {"low": 1, "high": 2, "step": 1}},
        {"lr": {"low": 1, "high": math.inf}},
    ],
)
def test_a_space_that_is_none_is_refused(told: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"`tune\.space"):
        space_of(told)


@pytest.mark.parametrize("number", [0, -1, 2.5, True])
def test_a_number_of_points_that_is_none_is_refused(number: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"`tune\.points` must be"):
        points(SPACE, number)


def test_the_best_is_the_first_of_equal_ones_and_may_be_the_smallest() -> None:
    assert best([0.1, 0.5, 0.5]) == 1
    assert best([0.1, 0.5, 0.05], larger_is_better=False) == 2
    assert best([]) is None


def test_the_order_of_arms_that_have_both() -> None:
    found = order({"a": 0.3, "b": 0.2, "c": 0.1, "d": math.nan}, {"a": 0.1, "b": 0.2, "c": 0.3, "e": 1.0})
    assert found is not None
    assert (found.pairs, found.swapped, found.changed) == (3, 3, True)
    assert (found.first_before, found.first_after) == ("a", "c")
    same = order({"a": 0.3, "b": 0.2}, {"a": 0.4, "b": 0.3})
    assert same is not None
    assert not same.changed
    losses = order({"a": 0.3, "b": 0.2}, {"a": 0.1, "b": 0.3}, larger_is_better=False)
    assert losses is not None
    assert (losses.first_before, losses.first_after) == ("b", "a")
    assert order({"a": 0.3}, {"a": 0.4}) is None


def test_the_spread_of_what_finished() -> None:
    found = spread([math.nan, math.nan])
    assert (found.tried, found.finished) == (2, 0)
    assert math.isnan(found.median)
    assert spread([0.1, 0.2, 0.4, 0.9]).median == pytest.approx(0.3)


def test_tuned_arms_are_judged_by_what_they_reach_not_by_luck_of_the_draw() -> None:
    """Every arm has a best rate of its own; at equal points each comes near it, and the order is the true one."""
    peaks = {"a": (-3.0, 0.90), "b": (-2.0, 0.93), "c": (-1.5, 0.91)}
    rates = np.log10([point["protocol.optimizer.lr"] for point in points(SPACE, 16)])
    tuned = {name: max(top - 0.05 * (rates - peak) ** 2) for name, (peak, top) in peaks.items()}
    assert sorted(tuned, key=lambda name: -tuned[name]) == ["b", "c", "a"]
    assert all(abs(tuned[name] - top) < 0.005 for name, (_, top) in peaks.items())


@pytest.mark.parametrize("value", [0, True, "8", 2.5, {"points": 0}, {"number": 8}, [8]])
def test_what_is_no_tuning_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="`tune` must be null, a number"):
        Tune.of(value)


def test_a_number_of_points_or_a_space_with_them() -> None:
    assert Tune.of(16) == Tune(16)
    assert Tune.of({"space": {"protocol.a": [1, 2]}}) == Tune(8, space_of({"protocol.a": [1, 2]}))


def test_the_space_is_around_the_recipe_and_the_schedule_sets_the_rate() -> None:
    recipe = {"optimizer": {"lr": 0.1, "weight_decay": 0.0}, "schedule": {"max_lr": 0.003}}
    rate, decay = default_space({"protocol": recipe})
    assert (rate.key, rate.low, rate.high) == ("protocol.schedule.max_lr", pytest.approx(3e-4), pytest.approx(0.03))
    assert (decay.key, decay.low, decay.high, decay.log) == ("protocol.optimizer.weight_decay", 1e-5, 0.1, True)
    with pytest.raises(ConfigurationError, match="no learning rate"):
        default_space({"protocol": {"optimizer": {}}})
