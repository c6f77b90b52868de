"""A second process that draws its share of a large report's figures, while the first does everything else.

Drawing is most of what a report of a thousand records takes, and holds Python's lock all the time. The process is
started before the records are read, so that its imports cost no time; it is given what the report says, and gives back
the figures' files. `python -m poolbench.report.painter` is that process.
"""

import logging
import pickle
import subprocess
import sys
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from poolbench.processors import allowed_processors

log = logging.getLogger(__name__)

# About half of the work.
SHARE = ("accuracy", "tradeoff", "curves", "cost")
# Fewer records are drawn before a second process has begun.
LEAST_RECORDS = 300


class Painter:
    """The process, seen from the report.

    Args:
        records: of the report; few of them, or a machine of one core, and nothing is started or given away.
    """

    def __init__(self, records: int) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        if records >= LEAST_RECORDS and allowed_processors() > 1 and sys.executable:
            self.said = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
            command = [sys.executable, "-m", "poolbench.report.painter"]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said)

    @property
    def share(self) -> tuple[str, ...]:
        """The figures that the process draws."""
        return SHARE if self.process else ()

    def begin(self, content: Any) -> None:
        """Hand over what the report says."""
        if self.process and self.process.stdin:
            try:
                pickle.dump(content, self.process.stdin)
                self.process.stdin.close()
            except BrokenPipeError:
                pass  # reported by `files`

    def files(self, content: Any) -> dict[str, bytes]:
        """Return the files of its figures; where the process ended without them, they are drawn here."""
        if not self.process:
            return {}
        assert self.process.stdout is not None
        drawn = self.process.stdout.read()
        if status := self.process.wait():
            from poolbench.report import figures

            self.said.seek(0)
            said = self.said.read().decode(errors="replace").strip()
            log.warning("the process that draws figures ended with %d; they are drawn again. %s", status, said)
            return figures.files(content, SHARE)
        found: dict[str, bytes] = pickle.loads(drawn)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout, self.said):
                with suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]


def _main() -> None:
    from poolbench.report import figures

    content = pickle.load(sys.stdin.buffer)
    pickle.dump(figures.files(content, SHARE), sys.stdout.buffer)


if __name__ == "__main__":
    _main()
