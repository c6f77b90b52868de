"""What the mirrors of one process share while it works at one experiment: what was decided, what was said."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from poolbench.environment import Environment

log = logging.getLogger(__name__)


class Session:
    """What the mirrors of one process share.

    Args:
        folder: the experiment's; what loggers keep on disk and no cell has for itself lies in it.
        decided: how loggers with a server work in the whole sweep (`online`, `offline`, `disabled`), by name, where
            that was found out before.
        say: says a line to the user.
    """

    def __init__(
        self, folder: Path, decided: Mapping[str, str] | None = None, say: Callable[[str], None] = log.warning
    ) -> None:
        self.folder = folder.absolute()
        self.decided: dict[str, str] = dict(decided or {})
        self.environment = Environment()
        # The mirrors that are open, by run.
        self.open: dict[str, Any] = {}
        # Loggers that did not come back: they get no further cell.
        self.hung: set[str] = set()
        self.lock = threading.RLock()
        self._say = say
        self._said: set[str] = set()
        self._at_end: dict[str, Callable[[], Any]] = {}

    def say_once(self, text: str) -> None:
        """Say a line, unless it was said before."""
        with self.lock:
            if text in self._said:
                return
            self._said.add(text)
        self._say(text)

    def at_end(self, name: str, action: Callable[[], Any]) -> None:
        """Let an action be done when the session ends, once for each name."""
        self._at_end.setdefault(name, action)

    def close(self) -> None:
        """End what was begun for all cells, and leave the environment as it was."""
        for action in reversed(self._at_end.values()):
            action()
        self._at_end.clear()
        self.environment.restore()

    def __enter__(self) -> "Session":
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, whatever happened."""
        self.close()
