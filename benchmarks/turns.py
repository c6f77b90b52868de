"""Rivals that need a process of their own, measured in turns: one works while the others wait.

Allocator, threads and what a library changes for its process cannot be switched within one. Each rival is this
interpreter running the benchmark's script with `--serve NAME`; it answers one line of JSON for each line it gets.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poolbench.measure.timing import Interval, median_interval


class Rival:
    """A process that measures what it is asked to."""

    def __init__(self, script: str, name: str, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (it lives as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, script, "--serve", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.errors.seek(0)
            sys.exit(f"{self.name} ended unasked:\n{self.errors.read()[-3000:]}")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve(answer: Callable[..., Any]) -> None:
    """Answer requests until there are no more; whatever else is printed goes where the errors go."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        replies.write(json.dumps(answer(**json.loads(line))) + "\n")
        replies.flush()


def in_turns(names: Sequence[str], measure: Callable[[str], float], rounds: int) -> dict[str, list[float]]:
    """Return what `measure` gives for each name in `rounds` rounds, every other one backwards, after one to warm up."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names if turn % 2 else reversed(names):
            value = measure(name)
            if turn:
                found[name].append(value)
    return found


def ratio(values: Sequence[float], reference: Sequence[float]) -> Interval:
    """Return the median of the ratios round by round, with its interval."""
    return median_interval([a / b for a, b in zip(values, reference, strict=True)])


def shown(interval: Interval, digits: int = 2) -> str:
    """Return `1.23 [1.20, 1.26]`."""
    ends = "" if interval.low is None else f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
    return f"{interval.median:.{digits}f}{ends}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, its columns aligned; all but the first to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [("-" * w) if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(header), line(rule), *map(line, rows)])
