"""Stopwatches by clocks of the test's own."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from poolbench.measure.stopwatch import EventStopwatch, ProcessorStopwatch, WallStopwatch, stopwatch_for


class Hands:
    """A clock that an action moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def move(self) -> None:
        self.now += 0.5


def test_the_wall_clock_compares_by_what_passed() -> None:
    hands = Hands()
    assert WallStopwatch(hands)(hands.move, 3) == (1.5, 1.5)


def test_the_processors_time_compares_by_work() -> None:
    passing, work = Hands(), Hands()

    def action() -> None:
        work.move()
        passing.move()
        passing.move()  # a neighbour's turn

    assert ProcessorStopwatch(passing, work)(action, 3) == (3.0, 1.5)


def test_the_processors_time_is_this_processs() -> None:
    passed, worked = ProcessorStopwatch()(lambda: sum(range(200_000)), 1)
    assert worked > 0
    assert passed > 0


def test_events_lie_around_the_calls_in_the_devices_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[Any] = []
    device = torch.device("cuda", 1)

    class Event:
        def record(self, stream: Any) -> None:
            happened.append(("record", stream))
            self.place = len(happened)

        def synchronize(self) -> None:
            happened.append("synchronize")

        def elapsed_time(self, later: "Event") -> float:
            return 1000.0 * (later.place - self.place)

    monkeypatch.setattr(torch.cuda, "current_stream", lambda of: f"stream of {of}")
    taken = EventStopwatch(device, Event)(lambda: happened.append("call"), 2)
    assert happened == [("record", "stream of cuda:1"), "call", "call", ("record", "stream of cuda:1"), "synchronize"]
    assert taken == (3.0, 3.0)


@pytest.fixture
def threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads_kept")
@pytest.mark.parametrize(
    ("device", "threads", "name"), [("cpu", 1, "processor"), ("cpu", 2, "wall"), ("cuda", 1, "events")]
)
def test_what_suits_the_device(device: str, threads: int, name: str) -> None:
    torch.set_num_threads(threads)
    assert stopwatch_for(torch.device(device)).name == name
