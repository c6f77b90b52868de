"""Claims: which worker is at which cell, so that each is done once, whoever dies.

A claim is the file `plan/claims/RUN_ID.N`: made in one step (a link, which fails where the name is taken), locked by
its holder for as long as it lives. Where both are on one machine the system frees the lock when the holder ends, and
the claim is free at once. Elsewhere a heartbeat beside it (`RUN_ID.N.beat`, a number that is counted up) must be seen
to stand still, by the observer's own clock. Who takes a claim over makes N + 1, so that of several only one can; the
holder of N sees it, and writes nothing more. A claim that its process left behind is the trace of an attempt.
"""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poolbench.sweep.host import Process, this_process

SCHEMA = 1
BEAT = ".beat"
TRACE = ".trace"
STACK_LENGTH = 20_000
# Of claims and heartbeats: all who share the folder see who is at what.
MODE = 0o644
# Seconds between two beats, and how long one must stand still before its holder counts as dead.
BEAT_S = 5.0
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Attempt:
    """One attempt at a cell whose process ended under it.

    Args:
        process: whose.
        began: when, by its own clock; for people.
        epoch: the epoch at which it began, or was taken up.
        reached: the epoch at which the next one can take it up.
        end: how it was seen to have ended.
        trace: the Python stack at its end, where the system let it be written.
    """

    process: str
    began: str
    epoch: int
    reached: int
    end: str
    trace: str = ""


@dataclass(frozen=True)
class Held:
    """A claim as others see it.

    Args:
        token: N of its file.
        process: who holds it.
        began: when it was made, by the holder's clock; for people.
        epoch: at which the cell was taken up.
        attempts: those that ended before it.
        beat: the last heartbeat: `count`, and `epoch` and `epochs` where they are known.
        end: how its process was seen to have ended; empty: it lives, or it is not known yet.
    """

    token: int
    process: Process
    began: str
    epoch: int
    attempts: tuple[Attempt, ...]
    beat: dict[str, Any]
    end: str = ""


class Claims:
    """The claims of a plan, as one process makes and sees them.

    Args:
        folder: `plan/claims`; made where it is missing.
        patience_s: how long a heartbeat must stand still before its holder counts as dead.
        process: who claims; this process where none is given.
    """

    def __init__(self, folder: Path, *, patience_s: float = PATIENCE_S, process: Process | None = None) -> None:
        self.folder = folder
        self.patience_s = patience_s
        self.process = process or this_process()
        # The last beat that was seen of each claim, and when it was seen first.
        self._seen: dict[tuple[str, int], tuple[int, float]] = {}

    def take(self, run_id: str, *, epoch: Callable[[], int] = lambda: 0) -> "Claim | None":
        """Claim a cell; None where another process is at it.

        `epoch` returns the epoch from which the cell would go on, asked where an attempt was left behind.
        """
        held = self.look(run_id)
        if held is not None and not held.end:
            return None
        attempts: tuple[Attempt, ...] = ()
        now = epoch()
        if held is not None:
            ended = Attempt(str(held.process), held.began, held.epoch, now, held.end, self._stack(held.process))
            attempts = (*held.attempts, ended)
        token = held.token + 1 if held else 1
        claim = Claim.make(self.folder / run_id, token, self.process, epoch=now, attempts=attempts)
        if claim is not None and held is not None:
            # Only now: of several that look at an attempt's end, the one that has the claim tells of it.
            self._forget(run_id, held.token)
            self._stack_path(held.process).unlink(missing_ok=True)
        return claim

    def look(self, run_id: str) -> Held | None:
        """Return the claim of a cell; None where there is none."""
        tokens = self._tokens(run_id)
        return self._held(run_id, max(tokens)) if tokens else None

    def all(self) -> dict[str, Held]:
        """Return every claim by its cell."""
        newest: dict[str, int] = {}
        for run_id, token in self._names():
            newest[run_id] = max(token, newest.get(run_id, 0))
        found = ((run_id, self._held(run_id, token)) for run_id, token in newest.items())
        return {run_id: held for run_id, held in found if held is not None}

    def trace(self) -> Path:
        """Return where this process's Python stack goes when a signal of the machine's ends it; the folder is made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._stack_path(self.process)

    def drop(self, run_id: str) -> None:
        """Remove what ended attempts at a cell left behind."""
        for token in self._tokens(run_id):
            held = self._held(run_id, token)
            if held is not None and held.end:
                self._forget(run_id, token)

    def _names(self) -> Iterator[tuple[str, int]]:
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                run_id, dot, number = entry.name.rpartition(".")
                if dot and number.isdecimal() and not run_id.startswith("."):
                    yield run_id, int(number)

    def _tokens(self, run_id: str) -> list[int]:
        return [token for name, token in self._names() if name == run_id]

    def _held(self, run_id: str, token: int) -> Held | None:
        path = self.folder / f"{run_id}.{token}"
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except PermissionError:  # another user's, whose umask hides it: its heartbeat tells, where that can be read
            locked, content = None, _content(b"")
        else:
            try:
                locked = _locked(handle)
                with open(handle, "rb", closefd=False) as file:
                    content = _content(file.read())
            finally:
                os.close(handle)
        held = Held(
            token,
            Process.of(content["process"]),
            content["began"],
            content["epoch"],
            tuple(Attempt(**attempt) for attempt in content["attempts"]),
            _beat(path),
        )
        return replace(held, end=self._end(run_id, held, locked))

    def _end(self, run_id: str, held: Held, locked: bool | None) -> str:
        """Return how the holder was seen to have ended; empty: it lives, or it is not known yet."""
        if held.process.is_gone:
            return "its process ended"
        here = held.process.is_on_this_system
        if here and locked is False:
            return "its process ended"
        if not here and locked:  # a file system that shows locks to other machines
            return ""
        if here and not held.process.is_stopped and locked is not None:
            return ""
        return self._stands_still(run_id, held)

    def _stands_still(self, run_id: str, held: Held) -> str:
        now, count = time.monotonic(), int(held.beat.get("count", 0))
        known, since = self._seen.get((run_id, held.token), (-1, now))
        if known != count:
            self._seen[run_id, held.token] = (count, now)
            return ""
        return f"its heartbeat stood still for {now - since:.0f} s" if now - since >= self.patience_s else ""

    def _stack(self, process: Process) -> str:
        """Return the Python stack that a process left behind, empty where there is none."""
        try:
            return self._stack_path(process).read_text(errors="replace")[-STACK_LENGTH:]
        except OSError:
            return ""

    def _stack_path(self, process: Process) -> Path:
        return self.folder / f".{process.host}-{process.pid}{TRACE}"

    def _forget(self, run_id: str, token: int) -> None:
        for suffix in ("", BEAT):
            (self.folder / f"{run_id}.{token}{suffix}").unlink(missing_ok=True)


class Claim:
    """A cell that this process is at.

    Args:
        path: its file.
        handle: the open file, locked while the process lives.
        attempts: those before whose process ended.
    """

    def __init__(self, path: Path, token: int, handle: int, attempts: tuple[Attempt, ...]) -> None:
        self.path = path
        self.token = token
        self.attempts = attempts
        self._handle = handle
        self._count = 0

    @classmethod
    def make(
        cls, stem: Path, token: int, process: Process, *, epoch: int, attempts: tuple[Attempt, ...]
    ) -> "Claim | None":
        """Make the claim's file in one step, locked; None where another was quicker."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        path = stem.with_name(f"{stem.name}.{token}")
        content = {
            "schema": SCHEMA,
            "process": process.content(),
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "epoch": epoch,
            "attempts": [asdict(attempt) for attempt in attempts],
        }
        handle, temporary = tempfile.mkstemp(dir=stem.parent, prefix=f".{stem.name[:40]}.", suffix=".claim")
        try:
            with suppress(OSError):  # a file system without locks: the heartbeat tells
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(handle, json.dumps(content).encode())
            os.fchmod(handle, MODE)
            handle = _linked(temporary, path, handle)
        except FileExistsError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        finally:
            Path(temporary).unlink(missing_ok=True)
        return cls(path, token, handle, attempts)

    def is_held(self) -> bool:
        """Whether the claim is still this process's: nobody is known to have taken it over.

        Where the folder cannot be seen at the moment nobody is: what is to be written there then cannot be, either.
        """
        later = self.path.with_name(f"{self.path.name.rpartition('.')[0]}.{self.token + 1}")
        try:
            there, mine = self.path.stat(), os.fstat(self._handle)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev) and not later.exists()

    def beat(self, **facts: Any) -> None:
        """Show that the holder lives, and what it is at."""
        self._count += 1
        path = self.path.with_name(self.path.name + BEAT)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".beat-part")
        try:
            with os.fdopen(handle, "w") as file:
                os.fchmod(handle, MODE)
                json.dump({"count": self._count, **facts}, file)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def release(self) -> None:
        """Give the claim back, where it is still held."""
        if self.is_held():
            for suffix in (BEAT, ""):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        os.close(self._handle)


def _linked(temporary: str, path: Path, handle: int) -> int:
    """Give the file its name where that is free (`FileExistsError` where it is not); return the open file."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: made empty under its name, which counts as living until it is full
        named = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, MODE)
        with suppress(OSError):
            fcntl.flock(named, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(named, Path(temporary).read_bytes())
        os.close(handle)
        return named
    return handle


def _content(text: bytes) -> dict[str, Any]:
    """Return what a claim's file holds; of one that is not full yet, what makes its heartbeat count."""
    try:
        return json.loads(text)
    except ValueError:
        unknown = Process("an unknown machine", "", "", 0, None)
        return {"process": unknown.content(), "began": "", "epoch": 0, "attempts": []}


def _locked(handle: int) -> bool | None:
    """Whether a living process holds the lock of a file; None where the file system knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.flock(handle, fcntl.LOCK_UN)
    return False


def _beat(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.with_name(path.name + BEAT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
