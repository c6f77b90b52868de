"""Actions in a thread of their own, one after another, so that one that hangs holds nobody up."""

import queue
import threading
import time
from collections.abc import Callable

Action = Callable[[], None]


class Line:
    """A thread that does what is added, in its order.

    Args:
        name: the thread's.
    """

    def __init__(self, name: str) -> None:
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        # A daemon: where it hangs, the process ends all the same.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, action: Action) -> None:
        """Let an action, which raises nothing, be done behind the others."""
        self._actions.put(action)

    def last(self) -> None:
        """Let it end behind the last action that was added."""
        self._actions.put(None)

    def ended(self, until: float) -> bool:
        """Wait until this time, of `time.monotonic`, at most; return whether it has ended."""
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (action := self._actions.get()) is not None:
            action()


def within(limit_s: float, action: Callable[[], str]) -> str | None:
    """Return the text that an action gives, or what it raised in words; None where it takes longer than `limit_s`.

    >>> within(5.0, lambda: "fine"), within(0.05, lambda: time.sleep(1) or "late")
    ('fine', None)
    >>> within(5.0, lambda: str(1 / 0))
    'ZeroDivisionError: division by zero'
    """
    found: list[str] = []

    def run() -> None:
        try:
            found.append(action())
        except Exception as error:
            found.append(" ".join(f"{type(error).__name__}: {error}".split()))

    line = Line("poolbench-look")
    line.add(run)
    line.last()
    line.ended(time.monotonic() + limit_s)
    return found[0] if found else None
