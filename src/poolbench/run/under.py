"""What a cell is trained under."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poolbench.errors import ClaimLost
from poolbench.loggers import Session
from poolbench.training import Progress, ShouldStop


@dataclass(frozen=True)
class Under:
    """What a cell is trained under: who follows it, who may end it, and whether it may still write.

    Args:
        progress: receives how far the training is.
        should_stop: asked at each step; a text ends the training as `Stopped(text)`.
        may_write: asked before anything is written; false where another process has taken the cell over.
        attempts: those before whose process ended under them, for the record.
        over: called when the cell has ended and its record is about to be written.
        session: what the mirrors of this process share; None: they share nothing.
    """

    progress: Progress | None = None
    should_stop: ShouldStop | None = None
    may_write: Callable[[], bool] = lambda: True
    attempts: Sequence[Mapping[str, Any]] = ()
    over: Callable[[], None] = lambda: None
    session: Session | None = None

    def require(self) -> None:
        """Raise `ClaimLost` where nothing more may be written."""
        if not self.may_write():
            raise ClaimLost
