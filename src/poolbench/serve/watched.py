"""One experiment as it is served: what of it changed, how far it is, its page, made again when it changed."""

import hashlib
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolbench.errors import ConfigurationError
from poolbench.experiment import EXPERIMENT_FILE, read_experiment
from poolbench.record import RECORD_FILE, read_json
from poolbench.report.reading.trials import FILE as TRIALS_FILE
from poolbench.report.reading.trials import TRIALS, TUNED
from poolbench.sweep.claims import Claims
from poolbench.sweep.plan import PlanFolder
from poolbench.sweep.state import counts, states

if TYPE_CHECKING:
    from poolbench.report.content import Content

PAGE = "report.html"
# A cell that ended in one of these is no result.
FAILED = ("failed", "diverged", "interrupted")
# What a page is made of, below the experiment's folder; trials and tuned arms are results folders themselves.
RECORDS = f"records/*/{RECORD_FILE}"
OF_RESULTS = (EXPERIMENT_FILE, RECORDS, "speed/*.json")
PATTERNS = (
    *OF_RESULTS,
    f"{TRIALS}/{TRIALS_FILE}",
    *(f"{below}/{pattern}" for below in (TRIALS, TUNED) for pattern in OF_RESULTS),
)


@dataclass(frozen=True)
class Progress:
    """How far an experiment is: cells by their state, the newest record's time, and a digest of all that is shown.

    `trouble` says why nothing of it can be read; empty: it can.
    """

    version: str
    cells: Mapping[str, int]
    newest: str
    trouble: str = ""

    @property
    def total(self) -> int:
        """All cells that are planned or have a record."""
        return sum(self.cells.values())

    @property
    def failed(self) -> int:
        """Cells without a result."""
        return sum(self.cells.get(state, 0) for state in FAILED)

    @property
    def is_live(self) -> bool:
        """Whether somebody is at a cell."""
        return bool(self.cells.get("running"))


@dataclass(frozen=True)
class Made:
    """What was made of an experiment's records: its files by name, its verdict; why there is none."""

    version: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    verdict: str = ""
    without: str = ""


def to_terminal(text: str) -> None:
    """Say in the terminal what went wrong."""
    print(f"poolbench serve: {text}", file=sys.stderr, flush=True)


class Watched:
    """An experiment's folder, read again and again; nothing is written to it.

    Whatever its files make the reading raise becomes a text on its page, and is said: others are served all the same.

    Args:
        name: its path below the served folder.
        folder: where it lies.
        say: where a fault is said.
    """

    def __init__(self, name: str, folder: Path, say: Callable[[str], None] = to_terminal) -> None:
        self.name, self.folder, self._say = name, folder, say
        self._claims = Claims(PlanFolder(folder).claims)
        self._records: dict[Path, tuple[tuple[int, int], str, str]] = {}
        self._counted: tuple[Any, dict[str, int]] = None, {}
        self._made = Made("")
        self._said = ""
        self._making = threading.Lock()
        self._looking = threading.Lock()

    @property
    def question(self) -> str:
        """What it asks; empty: not said."""
        try:
            return read_experiment(self.folder).question
        except Exception:  # its page says why, where it needs the file
            return ""

    def progress(self) -> Progress:
        """Look how far it is."""
        with self._looking:
            try:
                stamps = self._look()
                shown = self._cells(stamps)
                newest = max((ended for *_, ended in self._records.values()), default="")
                return Progress(_digest(stamps, sorted(shown.items())), shown, newest)
            except Exception as error:  # also: a folder that is removed at this moment
                trouble = self._fault("it cannot be read", error)
                return Progress(_digest(trouble), self._counted[1], "", trouble)

    def made(self) -> Made:
        """Return its page and tables, made again where what they show has changed."""
        with self._making:
            progress = self.progress()
            if self._made.version != progress.version:
                self._made = self._make(progress)
            return self._made

    def not_made(self, error: Exception) -> None:
        """Let its page say that it could not be made; it is tried again when it is asked for."""
        reason = self._fault("its page cannot be made", error)
        self._made = Made(_digest(reason), without=reason)

    def record(self, run: str) -> bytes | None:
        """Return the record of one of its cells, as it is on the disk; None: no cell has that name."""
        self.progress()
        path = self.folder / "records" / run / RECORD_FILE
        # What was found by looking: no name leads out of the folder.
        if path not in self._records:
            return None
        with suppress(OSError):  # removed at this moment
            return path.read_bytes()
        return None

    @property
    def known(self) -> Made:
        """What was made last, perhaps of what is no more; without a version where nothing was yet."""
        return self._made

    def _make(self, progress: Progress) -> Made:
        if progress.trouble:
            return Made(progress.version, without=progress.trouble)
        try:
            return _made(self.folder, progress.version)
        except (ConfigurationError, OSError) as error:
            return Made(progress.version, without=str(error))
        except Exception as error:  # a page that cannot be made is no reason to serve no other
            return Made(progress.version, without=self._fault("its page cannot be made", error))

    def _fault(self, what: str, error: Exception) -> str:
        """Return in a line what went wrong and where; the same is said once."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = "".join(f" (in {one.name}, {Path(one.filename).name}:{one.lineno})" for one in last)
        reason = f"{what}: {type(error).__name__}: {' '.join(str(error).split()) or 'no text'}{where}"
        if reason != self._said:
            self._said = reason
            self._say(f"{self.name}: {reason}")
        return reason

    def _cells(self, stamps: list[tuple[str, int, int]]) -> dict[str, int]:
        """Return cells by their state; read again where a record, the plan or a claim is another."""
        plan = PlanFolder(self.folder)
        if not plan.cells.is_dir():
            return dict(Counter(status for _, status, _ in self._records.values()))
        try:
            claims = sorted(path.name for path in plan.claims.glob("*"))
            key = (stamps, claims, plan.cells.stat().st_mtime_ns)
        except OSError:  # removed at this moment
            return self._counted[1]
        # A claim whose holder died looks as one whose holder lives: those are looked at again.
        if claims or key != self._counted[0]:
            # Being written, or of another version: what was known stays.
            with suppress(ConfigurationError, OSError):
                found = counts(states(plan, self._claims))
                self._counted = key, {state: count for state, count in found.items() if count}
        return self._counted[1]

    def _look(self) -> list[tuple[str, int, int]]:
        """Return name, time and size of every file that a page is made of; read the records that are new."""
        stamps, records = [], {}
        own = self.folder / "records"
        for path in sorted(path for pattern in PATTERNS for path in self.folder.glob(pattern)):
            try:
                found = path.stat()
            except OSError:  # replaced at this moment
                continue
            stamp = (found.st_mtime_ns, found.st_size)
            stamps.append((str(path.relative_to(self.folder)), *stamp))
            if path.name == RECORD_FILE and path.parent.parent == own:
                known = self._records.get(path)
                records[path] = known if known and known[0] == stamp else (stamp, *_ended(path))
        self._records = records
        return stamps


def _digest(*shown: Any) -> str:
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def _ended(path: Path) -> tuple[str, str]:
    """Return status and time of a record, `unreadable` for a file that is none."""
    try:
        record = read_json(path)
        times = record.get("times")
        ended = times.get("ended") if isinstance(times, Mapping) else None
        return str(record.get("status", "unreadable")), str(ended or "")
    except (ConfigurationError, OSError):
        return "unreadable", ""


def _made(folder: Path, version: str) -> Made:
    from poolbench.report import page
    from poolbench.report.encodable import encoded
    from poolbench.report.make import gather, table_files
    from poolbench.report.reading.loading import load
    from poolbench.report.text import markdown

    content = gather(load(folder))
    files = table_files(content.tables) | {
        "summary.md": encoded(markdown.summary(content)),
        PAGE: page.html(content, *_pictures(content)),
    }
    said = content.spoken or content.words[:1]
    return Made(version, files, " ".join(said))


def _pictures(content: "Content") -> list[bytes]:
    """Return what the page shows of test images; without any, matplotlib need not be imported."""
    if not content.has_pictures:
        return []
    from poolbench.report import figures
    from poolbench.report.make import PICTURES

    drawn = figures.files(content, ["pictures"])
    return [drawn[name] for name in PICTURES if name in drawn]


def as_json(progress: Progress, made: Made) -> dict[str, Any]:
    """Return what a page asks again and again."""
    return {
        "version": progress.version,
        "made": made.version,
        "cells": dict(progress.cells),
        "total": progress.total,
        "failed": progress.failed,
        "live": progress.is_live,
    }
