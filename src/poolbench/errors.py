"""The errors that a person can mend, and how near names are found.

Every error of poolbench's own says which argument, which rule, what was received and what would be right.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigurationError(ValueError):
    """What was asked for is wrong in itself: a name, an argument, a path. Nothing has been trained."""


class OtherVersionError(ConfigurationError):
    """A file was written by another version, which can read it."""


class UnsupportedError(ConfigurationError):
    """Each part is right but they do not fit together: this cell cannot be, another may."""


class WriteError(OSError, ConfigurationError):
    """A file cannot be written; the message names it, the reason, and what to do."""


class DataError(ConfigurationError):
    """The data is absent or unusable; the message names the path and what belongs there."""


class TimeLimitError(RuntimeError):
    """Training took longer than `protocol.time_limit` allows."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigurationError:
    """Return the error for a `name` that is not among the `known` ones, the nearest first.

    >>> print(unknown_name("pooling", "avg_topp", ["max", "avg", "avg_topk"]))
    unknown pooling 'avg_topp'; did you mean avg_topk, avg? There are: avg_topk, avg, max
    """
    names = sorted(set(known))
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    ordered = near + [other for other in names if other not in near]
    hint = f"; did you mean {', '.join(near)}?" if near else "."
    return ConfigurationError(f"unknown {kind} {name!r}{hint} There are: {', '.join(ordered) or 'none'}")


class Stopped(BaseException):
    """A signal or the sweep asked to end: `signal_name` says which, or why. No `Exception`: no cell may swallow it."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name

    @property
    def is_signal(self) -> bool:
        """Whether a signal asked, and not the sweep itself."""
        return self.signal_name.startswith("SIG")


class ClaimLost(BaseException):
    """Another process has taken a cell over: this one writes nothing more of it. No cell may swallow it."""


class Hung(BaseException):
    """A cell gave no sign for too long, and is interrupted. No code of the cell's may swallow it."""
