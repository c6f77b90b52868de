"""Where every text goes out: a stream that cannot fail, whatever is at its other end.

A reader that has seen enough (`… | head -1`), a terminal that knows no ×, a full disk behind `>`: none of them may end
a command before its results are written, or change its exit status.
"""

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

# What a terminal without these characters is shown instead.
PLAIN = str.maketrans(
    {
        **{"−": "-", "–": "-", "—": "-", "×": "x", "·": "-", "±": "+-", "…": "...", "≈": "~=", "≤": "<=", "≥": ">="},
        **{"→": "->", "←": "<-", "⊕": "+", "√": "sqrt", "Δ": "diff", "⚑": "!", "µ": "u", "α": "alpha", "β": "beta"},
        **{"’": "'", "‘": "'", "“": '"', "”": '"', "²": "2", "³": "3", "½": "1/2", "∞": "inf", "✓": "yes", "💡": "!"},
    }
)


def plain(text: str, encoding: str) -> str:
    r"""Return a text in characters that an encoding has.

    >>> plain("slides · 16×16 → 8×8", "ascii"), plain("Jürgen", "latin-1"), plain("Jürgen", "ascii")
    ('slides - 16x16 -> 8x8', 'Jürgen', 'J\\xfcrgen')
    """
    kept = "".join(character if _has(encoding, character) else character.translate(PLAIN) for character in text)
    return kept.encode(encoding, "backslashreplace").decode(encoding)


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


class Lasting(io.TextIOBase):
    """A stream for text that goes on when what is behind it does not.

    Args:
        stream: where texts go. Once it cannot be written, they go nowhere.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.ended = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """How the stream takes what it cannot encode."""
        return getattr(self.stream, "errors", None)

    @property
    def buffer(self) -> Any:
        """The stream's bytes."""
        return self.stream.buffer

    def write(self, text: str) -> int:
        """Write a text, in characters that the stream has."""
        if not self.ended:
            try:
                try:
                    self.stream.write(text)
                except UnicodeEncodeError:
                    self.stream.write(plain(text, self.encoding))
            except (OSError, ValueError):  # a closed pipe, a full disk, a closed file
                self._end()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Let what was written go out."""
        if not self.ended:
            try:
                self.stream.flush()
            except (OSError, ValueError):
                self._end()

    def isatty(self) -> bool:
        """Whether a terminal is at the other end."""
        return not self.ended and self.stream.isatty()

    def fileno(self) -> int:
        """Of the stream."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def __getattr__(self, name: str) -> Any:
        """Return what else the stream has."""
        return getattr(self.stream, name)

    def _end(self) -> None:
        """Let further text go nowhere; what is still held back, too, or the interpreter would fail at its end."""
        self.ended = True
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let standard output and standard error be streams that cannot fail, inside the block and at the program's end."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Lasting(sys.stdout), Lasting(sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        sys.stdout, sys.stderr = before
