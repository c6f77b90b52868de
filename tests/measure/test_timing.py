"""Timing by a clock of the test's own: what is measured is known, so the answer is."""

import mmap
from collections.abc import Callable

import numpy as np
import pytest

from poolbench.measure import timing
from poolbench.measure.stopwatch import ProcessorStopwatch
from poolbench.measure.timing import Interval, Pair, alone, alternate, alternate_placed, median_interval


class Clock:
    """Stands still but for the work done: each kind of work takes its seconds, times the machine's slowness."""

    def __init__(self, slowness: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now = 100.0
        self.slowness = slowness
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: Callable[[], float] | float) -> Callable[[], None]:
        def action() -> None:
            self.calls.append(name)
            own = seconds() if callable(seconds) else seconds
            self.now += own * self.slowness(self.now)

        return action


def test_twice_the_work_is_a_ratio_of_two() -> None:
    clock = Clock()
    pair = alternate(clock.work("a", 0.02), clock.work("b", 0.01), budget_s=60, clock=clock)
    assert pair.settled
    assert len(pair.first) == len(pair.second) == 8
    assert pair.first == pytest.approx([0.02] * 8)
    assert pair.second == pytest.approx([0.01] * 8)
    ratio = pair.ratio
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("slowness", "within"),
    [
        pytest.param(lambda now: 1.0 + 0.1 * (now - 100), 1e-3, id="grows slower all the time"),
        pytest.param(lambda now: 1.0 + 2.0 * (int(now * 3) % 2), 1e-9, id="three times as slow every other moment"),
    ],
)
def test_drift_meets_both(slowness: Callable[[float], float], within: float) -> None:
    clock = Clock(slowness)
    pair = alternate(
        clock.work("a", 0.02), clock.work("b", 0.01), budget_s=60, half_width=0, max_repeats=200, clock=clock
    )
    # Timed one after the other, the two would have met different machines: the first's own times differ this much.
    assert max(pair.first) / min(pair.first) > 1.4
    assert pair.ratio.median == pytest.approx(2.0, rel=within)


def test_the_ratio_is_taken_repeat_by_repeat() -> None:
    assert Pair(first=(1.0, 4.0, 9.0), second=(1.0, 2.0, 3.0), settled=True).ratio.median == 2.0


def test_each_repeat_has_the_other_order() -> None:
    clock = Clock()
    alternate(clock.work("a", 0.02), clock.work("b", 0.01), budget_s=60, min_repeats=8, clock=clock)
    assert "".join(clock.calls) == "aaabbb" + "abba" + "abba" * 4


def test_short_calls_are_timed_several_at_once() -> None:
    clock = Clock()
    found = alone(clock.work("a", 0.0001), budget_s=60, clock=clock)
    assert len(clock.calls) == 5 + 8 * (1 + 5)  # one untimed, and 5 calls of 0.1 ms are 0.5 ms
    assert found.interval.median == pytest.approx(0.0001)


def test_inner_calls_can_be_set() -> None:
    clock = Clock()
    alternate(clock.work("a", 0.0001), clock.work("b", 1.0), budget_s=60, inner=3, max_repeats=8, clock=clock)
    assert clock.calls.count("a") == 5 + 8 * (1 + 3)
    assert clock.calls.count("b") >= 2 + 8 * 3


def test_a_slow_call_is_warmed_up_three_times() -> None:
    clock = Clock()
    alone(clock.work("a", 1.0), budget_s=1.0, clock=clock)
    assert len(clock.calls) == 3 + 8


@pytest.mark.parametrize(
    ("taken", "budget_s", "turns"),
    [
        pytest.param([900, 0, 900, 9, 8, 0, 900], 60, 6, id="until there is nothing new twice on end"),
        pytest.param([900, 0, 900], 0.1, 2, id="once, when the time is over"),
        pytest.param([900, 910, 900, 903, 908, 900], 0.1, 5, id="or for as much each time"),
        pytest.param([900, 800] * 10, 0.1, 8, id="not for ever"),
    ],
)
def test_calls_are_made_in_turn_until_they_find_their_memory(
    taken: list[int], budget_s: float, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()

    def page_faults() -> int:
        turn = max(len(clock.calls) - len("aaabbb" if budget_s > 1 else "aabb"), 0) // 2
        return sum(taken[:turn])

    monkeypatch.setattr(timing, "page_faults", page_faults)
    alternate(clock.work("a", 0.1), clock.work("b", 0.1), budget_s=budget_s, clock=clock)
    assert "".join(clock.calls).startswith(("aaabbb" if budget_s > 1 else "aabb") + ("abba" * 4)[: 2 * turns])
    assert len(clock.calls) == (6 if budget_s > 1 else 4) + 2 * turns + 2 * 8


def test_new_memory_is_counted() -> None:
    known = timing.page_faults()
    buffer = mmap.mmap(-1, 1000 * mmap.PAGESIZE)
    for page in range(1000):
        buffer[page * mmap.PAGESIZE] = 1
    assert timing.page_faults() - known >= 1000


def test_a_stopwatch_compares_by_a_time_of_its_own() -> None:
    clock = Clock(lambda now: 1.0 + 2.0 * (int(now * 7) % 2))
    # What a neighbour takes passes on the clock and is no work.
    done = {"a": 0.02, "b": 0.01}
    watch = ProcessorStopwatch(clock, work=lambda: sum(done[name] for name in clock.calls))
    pair = alternate(clock.work("a", 0.02), clock.work("b", 0.01), budget_s=60, stopwatch=watch, clock=clock)
    assert pair.settled
    assert pair.ratios == pytest.approx([2.0] * 8)
    assert pair.ratio.median == pytest.approx(2.0)
    assert max(pair.first) > 0.03, "the figures are of the time that passed"


def test_noise_is_not_settled_when_the_time_is_over() -> None:
    clock = Clock()
    draw = np.random.default_rng(0)
    noisy = clock.work("a", lambda: 0.01 * draw.lognormal(0, 0.5))
    pair = alternate(noisy, clock.work("b", 0.01), budget_s=2.0, half_width=0.001, clock=clock)
    assert not pair.settled
    assert 8 <= len(pair.first) < 10_000
    assert clock.now - 100 == pytest.approx(2.0, abs=0.1)


def test_noise_ends_at_the_most_repeats() -> None:
    clock = Clock()
    draw = np.random.default_rng(0)
    noisy = clock.work("a", lambda: 0.01 * draw.lognormal(0, 0.5))
    found = alone(noisy, budget_s=1e9, half_width=0.001, max_repeats=20, clock=clock)
    assert (len(found.seconds), found.settled) == (20, False)


def test_noise_is_repeated_until_the_interval_is_narrow() -> None:
    clock = Clock()
    draw = np.random.default_rng(0)
    noisy = clock.work("a", lambda: 0.01 * draw.lognormal(0, 0.05))
    pair = alternate(noisy, clock.work("b", 0.01), budget_s=1e9, half_width=0.02, clock=clock)
    assert pair.settled
    assert len(pair.first) > 8
    assert pair.ratio.half_width <= 0.02


@pytest.mark.parametrize(("least_s", "budget_s", "lasted"), [(5.0, 60.0, 5.0), (5.0, 2.0, 2.0), (0.0, 60.0, 0.35)])
def test_a_narrow_interval_ends_it_no_sooner_than_asked(least_s: float, budget_s: float, lasted: float) -> None:
    clock = Clock()
    pair = alternate(clock.work("a", 0.02), clock.work("b", 0.01), budget_s=budget_s, least_s=least_s, clock=clock)
    assert pair.settled
    assert clock.now - 100 == pytest.approx(lasted, abs=0.05)


def test_the_interval_is_looked_at_less_often_as_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def noted(values: np.ndarray) -> Interval:
        looks.append(len(values))
        return Interval(1.0, 0.5, 1.5)

    monkeypatch.setattr(timing, "median_interval", noted)
    clock = Clock()
    alternate(clock.work("a", 0.02), clock.work("b", 0.01), budget_s=1e9, max_repeats=1000, clock=clock)
    assert looks[:3] == [8, 9, 10]
    assert looks[-1] == 1000
    assert len(looks) < 130


@pytest.mark.parametrize("arguments", [{"min_repeats": 0}, {"min_repeats": 9, "max_repeats": 8}, {"inner": 0}])
def test_impossible_bounds_are_named(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"`(min_repeats|inner)` must be"):
        alone(lambda: None, budget_s=1, **arguments)  # type: ignore[arg-type]


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    samples = draw.exponential(size=(400, 31))
    held = 0
    for sample in samples:
        interval = median_interval(sample)
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= np.log(2) <= interval.high
    # Order statistics come in steps: the nearest interval of 31 values that holds 95 % holds 97 %.
    assert 0.94 <= held / 400 <= 0.995


@pytest.mark.parametrize("count", [1, 5])
def test_too_few_values_have_no_interval(count: int) -> None:
    interval = median_interval([1.0] * count)
    assert interval == Interval(1.0, None, None)
    assert interval.half_width == float("inf")


def test_six_values_have_one() -> None:
    assert median_interval([6, 5, 4, 3, 2, 1]) == Interval(3.5, 1.0, 6.0)


class TestPlacements:
    """A placement makes the first some per cent slower or faster, for as long as it lasts."""

    def place(self, clock: Clock, factors: list[float]) -> Callable[[], tuple[Callable[[], None], Callable[[], None]]]:
        self.placed = 0

        def place() -> tuple[Callable[[], None], Callable[[], None]]:
            factor = factors[self.placed % len(factors)]
            self.placed += 1
            return clock.work("a", 0.001 * factor), clock.work("b", 0.001)

        return place

    def test_the_ratio_is_over_placements_not_over_repeats(self) -> None:
        clock = Clock()
        factors = [0.97, 0.98, 0.99, 1.00, 1.01, 1.02, 1.03]
        pair = alternate_placed(self.place(clock, factors), budget_s=6, half_width=0.0, clock=clock)
        assert not pair.settled
        assert 40 <= self.placed <= 50
        assert len(pair.ratios) == self.placed
        assert set(np.round(pair.ratios, 6)) == set(factors)
        assert pair.ratio.median == pytest.approx(1.0)
        # Within one placement nothing varies; between them it does, and the interval says so.
        assert pair.ratio.low is not None
        assert pair.ratio.low < 1.0 < pair.ratio.high
        assert len(pair.first) == len(pair.second) > 20 * self.placed

    @pytest.mark.slow
    def test_it_settles_after_thirty_placements(self) -> None:
        clock = Clock()
        pair = alternate_placed(self.place(clock, [1.02]), budget_s=60, clock=clock)
        assert pair.settled
        assert self.placed == 30
        assert pair.ratio.median == pytest.approx(1.02)

    def test_without_time_there_are_six(self) -> None:
        clock = Clock()
        pair = alternate_placed(self.place(clock, [1.0, 1.5]), budget_s=0.001, clock=clock)
        assert self.placed == len(pair.ratios) == 6
        assert not pair.settled
        assert pair.ratio.low is not None
