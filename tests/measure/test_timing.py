"""Timing against a clock of our own: nothing here depends on how fast the machine is."""

from collections.abc import Callable

import numpy as np
import pytest

from poolbench.measure.timing import Pair, alone, alternate, median_interval


class Clock:
    """A clock that only work moves forward; it drifts: all work takes ever longer."""

    def __init__(self, drift: float = 0.0) -> None:
        self.now = 0.0
        self.drift = drift
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: float, noise: np.random.Generator | None = None) -> Callable[[], None]:
        def act() -> None:
            self.log.append(name)
            factor = 1 + self.drift * self.now
            if noise is not None:
                factor *= float(noise.lognormal(0, 0.3))
            self.now += seconds * factor

        return act


def test_twice_the_work_is_twice_the_time_whatever_the_drift() -> None:
    clock = Clock(drift=3.0)
    pair = alternate(clock.work("a", 0.02), clock.work("b", 0.01), budget_s=3.0, half_width=0.05, clock=clock)
    assert pair.ratio.median == pytest.approx(2.0, rel=0.02)
    # Timed one after the other, the drift would have been taken for a difference.
    apart = alone(clock.work("b", 0.01), budget_s=1.0, clock=clock)[0]
    assert np.median(apart) > 1.1 * np.median(pair.second)


def test_the_two_take_turns_and_the_first_changes() -> None:
    clock = Clock()
    alternate(clock.work("a", 0.01), clock.work("b", 0.01), budget_s=0.0, half_width=0.0, min_repeats=8, clock=clock)
    assert "".join(clock.log[-16:]) == "abba" * 4


def test_a_quiet_pair_settles_early_and_a_noisy_one_says_that_it_did_not() -> None:
    clock = Clock()
    quiet = alternate(clock.work("a", 0.01), clock.work("b", 0.01), budget_s=100, clock=clock)
    assert quiet.settled
    assert len(quiet.first) == 8
    noise = np.random.default_rng(0)
    began = clock.now
    noisy = alternate(clock.work("a", 0.01, noise), clock.work("b", 0.01, noise), budget_s=1.0, clock=clock)
    assert not noisy.settled
    assert clock.now - began < 1.2


def test_short_calls_are_timed_several_at_once() -> None:
    clock = Clock()
    pair = alternate(clock.work("a", 1e-4), clock.work("b", 2e-3), budget_s=1, clock=clock)
    assert pair.first[0] == pytest.approx(1e-4)
    assert clock.log.count("a") > 10 * clock.log.count("b")


def test_the_interval_covers_the_median_in_95_of_100_samples() -> None:
    draw = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        found = median_interval(draw.lognormal(0, 0.5, size=25))
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= 1.0 <= found.high)
    assert np.mean(covered) >= 0.93


def test_too_few_values_have_no_interval() -> None:
    found = median_interval([1.0, 2.0, 3.0])
    assert (found.median, found.low, found.high) == (2.0, None, None)
    assert found.half_width == float("inf")


def test_the_ratio_is_taken_repeat_by_repeat() -> None:
    pair = Pair(first=(1.0, 4.0, 9.0), second=(1.0, 2.0, 3.0), settled=True)
    assert pair.ratio.median == 2.0
