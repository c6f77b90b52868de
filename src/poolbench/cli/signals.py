"""What a signal to end does: the first one ends the work in order, a second one at once."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from poolbench.errors import Stopped


class Ended:
    """How the block ended: `status` is 0, or 128 and the number of the signal that ended it."""

    status = 0


@contextmanager
def ended_by_signals() -> Iterator[Ended]:
    """Let SIGINT and SIGTERM end the block, and say how to go on; the block's status tells how it ended."""
    ended = Ended()
    handlers = {name: signal.signal(name, _stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    except (Stopped, KeyboardInterrupt) as stop:
        name = getattr(stop, "signal_name", "SIGINT")
        print(f"poolbench: ended by {name}; what had finished is kept, the same command goes on", file=sys.stderr)
        ended.status = 128 + signal.Signals[name].value
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)


def _stop(number: int, frame: Any) -> None:
    """End at a signal; a second one is left to end the program at once."""
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(signal.Signals(number).name)
