"""One experiment as it is served: what of it changed, how far it is, its page, made again when it changed."""

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolbench.errors import ConfigurationError
from poolbench.experiment import EXPERIMENT_FILE, read_experiment
from poolbench.record import RECORD_FILE, read_json
from poolbench.sweep.claims import Claims
from poolbench.sweep.plan import PLAN, PlanFolder
from poolbench.sweep.state import counts, states

if TYPE_CHECKING:
    from poolbench.report.content import Content

PAGE = "report.html"
# A cell that ended in one of these is no result.
FAILED = ("failed", "diverged", "interrupted")
# What a results folder holds in numbers, and no experiment.
PASSED_OVER = frozenset({"records", PLAN, "speed", "wandb", "trackio"})


@dataclass(frozen=True)
class Progress:
    """How far an experiment is: cells by their state, the newest record's time, and a digest of all that is shown."""

    version: str
    cells: Mapping[str, int]
    newest: str

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


class Watched:
    """An experiment's folder, read again and again; nothing is written to it.

    Args:
        name: its path below the served folder.
        folder: where it lies.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._claims = Claims(PlanFolder(folder).claims)
        self._records: dict[Path, tuple[tuple[int, int], str, str]] = {}
        self._counted: tuple[Any, dict[str, int]] = None, {}
        self._made = Made("")
        self._making = threading.Lock()
        self._looking = threading.Lock()

    @property
    def question(self) -> str:
        """What it asks; empty: not said."""
        try:
            return read_experiment(self.folder).question
        except (ConfigurationError, OSError):
            return ""

    def progress(self) -> Progress:
        """Look how far it is."""
        with self._looking:
            stamps = self._look()
            shown = self._cells(stamps)
            newest = max((ended for *_, ended in self._records.values()), default="")
            digest = hashlib.sha256(repr((stamps, sorted(shown.items()))).encode()).hexdigest()[:16]
            return Progress(digest, shown, newest)

    def made(self) -> Made:
        """Return its page and tables, made again where what they show has changed."""
        with self._making:
            version = self.progress().version
            if self._made.version != version:
                self._made = _made(self.folder, version)
            return self._made

    @property
    def known(self) -> Made:
        """What was made last, perhaps of what is no more; without a version where nothing was yet."""
        return self._made

    def _cells(self, stamps: list[tuple[str, int, int]]) -> dict[str, int]:
        """Return cells by their state; read again where a record, the plan or a claim is another."""
        plan = PlanFolder(self.folder)
        if not plan.cells.is_dir():
            return dict(Counter(status for _, status, _ in self._records.values()))
        claims = sorted(path.name for path in plan.claims.glob("*"))
        key = (stamps, claims, plan.cells.stat().st_mtime_ns)
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
        patterns = (EXPERIMENT_FILE, f"records/*/{RECORD_FILE}", "speed/*.json", "trials/*.json")
        for path in sorted(path for pattern in patterns for path in self.folder.glob(pattern)):
            try:
                found = path.stat()
            except OSError:  # replaced at this moment
                continue
            stamp = (found.st_mtime_ns, found.st_size)
            stamps.append((str(path.relative_to(self.folder)), *stamp))
            if path.name == RECORD_FILE:
                known = self._records.get(path)
                records[path] = known if known and known[0] == stamp else (stamp, *_ended(path))
        self._records = records
        return stamps


def _ended(path: Path) -> tuple[str, str]:
    """Return status and time of a record, `unreadable` for a file that is none."""
    try:
        record = read_json(path)
        return str(record.get("status", "unreadable")), str((record.get("times") or {}).get("ended") or "")
    except (ConfigurationError, OSError):
        return "unreadable", ""


def _made(folder: Path, version: str) -> Made:
    from poolbench.report import page
    from poolbench.report.make import gather, table_files
    from poolbench.report.reading.loading import load
    from poolbench.report.text import markdown

    try:
        content = gather(load(folder))
        files = table_files(content.tables) | {
            "summary.md": markdown.summary(content).encode(),
            PAGE: page.html(content, *_pictures(content)),
        }
    except (ConfigurationError, OSError) as error:
        return Made(version, without=str(error))
    except Exception as error:  # a page that cannot be made is no reason to serve no other
        return Made(version, without=f"its page cannot be made: {type(error).__name__}: {error}")
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


def experiments(folder: Path) -> dict[str, Path]:
    """Return the experiments' folders below a folder, itself among them, by their path in it."""
    found: dict[str, Path] = {}
    for place, below, _ in os.walk(folder):
        if {"records", PLAN} & set(below):
            path = Path(place)
            found[path.relative_to(folder).as_posix() if path != folder else folder.resolve().name] = path
        below[:] = sorted(name for name in set(below) - PASSED_OVER if not name.startswith("."))
    return dict(sorted(found.items()))


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
