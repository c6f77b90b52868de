"""Who follows a training, and who may end it."""

from collections.abc import Callable, Mapping
from typing import Protocol

# Asked at each step: a text ends the training as `Stopped(text)`.
ShouldStop = Callable[[], str | None]


class Progress(Protocol):
    """Receives how far a cell is."""

    def steps(self, done: float, of: int) -> None:
        """`done` epochs of `of` are over, in fractions of an epoch; called seldom."""

    def epoch(self, done: int, of: int, row: Mapping[str, float]) -> None:
        """`done` epochs of `of` are over; `row` is the last one's history."""
