"""What a signal to end does: the first one ends the work in order, a second one at once."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from poolbench.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ended:
    """How the block ended: `status` is 0; 128 and the number of the signal that ended it; 1 for another reason."""

    status = 0


@contextmanager
def ended_by_signals() -> Iterator[Ended]:
    """Let SIGINT and SIGTERM end the block, and say how to go on; the block's status tells how it ended."""
    ended = Ended()
    handlers = {number: signal.signal(number, end_in_order) for number in SIGNALS}
    try:
        yield ended
    except (Stopped, KeyboardInterrupt) as stop:
        name = getattr(stop, "signal_name", "SIGINT")
        ended.status = status_of(stop)
        print(f"poolbench: ended by {name}; finished cells are kept; the same command continues", file=sys.stderr)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def status_of(stop: BaseException) -> int:
    """Return the exit status of a program that was asked to end.

    >>> status_of(Stopped("SIGTERM")), status_of(KeyboardInterrupt()), status_of(Stopped("it took too long"))
    (143, 130, 1)
    """
    name = getattr(stop, "signal_name", "SIGINT")
    members = signal.Signals.__members__
    return 128 + members[name].value if name in members else 1


def end_in_order(number: int, frame: Any) -> None:
    """End at a signal; a second one, of whichever kind, is left to end the program at once."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_DFL)
    raise Stopped(signal.Signals(number).name)


def end_as_told() -> None:
    """Let SIGTERM end this worker in order, once, and nothing else: its command sends it and waits.

    A terminal's Ctrl-C, or a signal to the whole group, reaches the worker besides: it would end the ending.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _end_once(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped(signal.Signals(number).name)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold the signals back inside the block; a process that it starts never gets them, unless it lets them in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
