"""What the time of some calls is read from: the wall's clock, the processor's time, or a GPU's events.

Each stopwatch makes the calls and returns two times in seconds: those that passed, and those by which two things are
compared. They differ for `ProcessorStopwatch` alone: on one thread, work is what the processor does for this process.
A neighbour that takes the processor lets time pass but does no work here, so a ratio of processor times keeps its value
beside one, where a ratio of passed times is at the mercy of the scheduler. With several threads there is no such
clock: threads that wait for each other spin, and their spinning counts as work.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

Action = Callable[[], object]
Clock = Callable[[], float]


class Stopwatch(Protocol):
    """Makes `calls` calls of an action; returns the seconds that passed in all, and those to compare by."""

    @property
    def name(self) -> str:
        """What the ratio is of: `wall`, `processor` or `events`."""

    def __call__(self, action: Action, calls: int) -> tuple[float, float]:
        """Return seconds of all the calls together: passed, and to compare by."""


class WallStopwatch:
    """Seconds of a clock."""

    name = "wall"

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self.clock = clock

    def __call__(self, action: Action, calls: int) -> tuple[float, float]:
        """Return the seconds that passed, twice."""
        began = self.clock()
        for _ in range(calls):
            action()
        passed = self.clock() - began
        return passed, passed


class ProcessorStopwatch:
    """Seconds that passed, and to compare by those that the processor worked for this process."""

    name = "processor"

    def __init__(self, clock: Clock = time.perf_counter, work: Clock = time.process_time) -> None:
        self.clock = clock
        self.work = work

    def __call__(self, action: Action, calls: int) -> tuple[float, float]:
        """Return the seconds that passed and the processor's."""
        began, work = self.clock(), self.work()
        for _ in range(calls):
            action()
        work = self.work() - work
        return self.clock() - began, work


class EventStopwatch:
    """Seconds between two events in a GPU's stream; the host waits for the second.

    Args:
        device: the GPU.
        event: makes an event with `record(stream)`, `synchronize()` and `elapsed_time(later)` in ms.
    """

    name = "events"

    def __init__(self, device: torch.device, event: Callable[[], Any] | None = None) -> None:
        self.device = device
        self.event = event or (lambda: torch.cuda.Event(enable_timing=True))

    def __call__(self, action: Action, calls: int) -> tuple[float, float]:
        """Return the seconds on the GPU, twice."""
        first, last = self.event(), self.event()
        stream = torch.cuda.current_stream(self.device)
        first.record(stream)
        for _ in range(calls):
            action()
        last.record(stream)
        last.synchronize()
        passed = first.elapsed_time(last) / 1000
        return passed, passed


def stopwatch_for(device: torch.device) -> Stopwatch:
    """Return what times on this device: events on a GPU, the processor's time on one thread, else the wall's clock."""
    if device.type == "cuda":
        return EventStopwatch(device)
    return ProcessorStopwatch() if torch.get_num_threads() == 1 else WallStopwatch()
