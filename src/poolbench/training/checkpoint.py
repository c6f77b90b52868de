"""Checkpoints of an unfinished cell: files written whole, the last two kept, and none taken that is not this cell's."""

import io
import logging
import math
import re
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from poolbench.whole_file import replacing

log = logging.getLogger(__name__)

FORMAT = 1
KEPT = 2
PATTERN = "checkpoint*.pt"
ASIDE = ".aside"
NAME = re.compile(r"checkpoint-(\d+)\.pt")


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read: `epoch` is the next one to train, `state` what training goes on from."""

    path: Path
    epoch: int
    state: dict[str, Any]


class _Unusable(Exception):  # noqa: N818 (never leaves this module)
    """Why a file is no checkpoint of this cell."""


class Checkpoints:
    """The checkpoints of one cell, `checkpoint-EPOCH.pt` in its record's folder.

    A file is written beside its target, synced and renamed; it holds plain values and tensors, read with
    `weights_only`. One that cannot be read whole, or was made by another cell or other code, is renamed to `….aside`
    with a warning, and the one before it is taken.

    Args:
        folder: the record's folder; made when the first file is written.
        every_s: seconds between two files, at least; 0 writes one at every epoch's end.
        key: what must be equal for a checkpoint to be this cell's: identity, code, versions. A difference is named.
        place: what may differ when the cell goes on, and is kept for its record: machine, threads.
        may_write: asked before each file is written; false where the cell is another process's by now.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_s: float,
        key: Mapping[str, str],
        place: Mapping[str, str | int] | None = None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self.folder = folder
        self.every_s = every_s
        self.key = dict(key)
        self.place = dict(place or {})
        self.may_write = may_write
        self._turn = time.monotonic()
        self._readable: bool | None = None

    def due(self) -> bool:
        """Whether the last file, or the start, is `every_s` ago."""
        return self._readable is not False and time.monotonic() - self._turn >= self.every_s

    def write(self, epoch: int, state: Mapping[str, Any]) -> bool:
        """Write the state in which `epoch` begins, and remove all but the last two files; return whether it is there.

        Where it cannot be written a warning says why, and the training is none the worse for it.
        """
        path = self.folder / f"checkpoint-{epoch:06d}.pt"
        self._turn = time.monotonic()
        content = self._content(epoch, state)
        if content is None or not self.may_write():
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(content)
        except OSError as error:
            log.warning(
                "no checkpoint of epoch %d: %s needs %.1f MiB and could not be written: %s",
                epoch,
                path,
                len(content) / 2**20,
                error.strerror or error,
            )
            return False
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)
        return True

    def latest(self) -> Saved | None:
        """Read the newest checkpoint that is whole and this cell's; None where there is none."""
        for path in self.folder.glob(PATTERN):
            if _epoch_of(path) < 0:
                self._set_aside(path, "its name is not one that poolbench gives")
        for path in self._files():
            try:
                return self._read(path)
            except _Unusable as why:
                self._set_aside(path, str(why))
        return None

    def _files(self) -> list[Path]:
        """Return the files with names of ours, newest epoch first."""
        found = [path for path in self.folder.glob(PATTERN) if _epoch_of(path) >= 0]
        return sorted(found, key=_epoch_of, reverse=True)

    def _content(self, epoch: int, state: Mapping[str, Any]) -> bytes | memoryview | None:
        """Return the file's bytes; the first ones are read back, so that none is written that could not be read."""
        if self._readable is False:
            return None
        buffer = io.BytesIO()
        try:
            torch.save({"format": FORMAT, "key": self.key, "epoch": epoch, "state": dict(state)}, buffer)
            if self._readable is None:
                buffer.seek(0)
                torch.load(buffer, map_location="cpu", weights_only=True)
        except Exception as error:
            self._readable = False
            log.warning(
                "no checkpoints of this cell: its state (a callback's? the schedule's?) cannot be kept as plain values "
                "and tensors: %s",
                _first_line(error),
            )
            return None
        self._readable = True
        return buffer.getbuffer()

    def _read(self, path: Path) -> Saved:
        try:
            with zipfile.ZipFile(path) as parts:  # torch compares no checksums
                if damaged := parts.testzip():
                    raise _Unusable(f"its part {damaged} is damaged")
            content = torch.load(path, map_location="cpu", weights_only=True)
        except _Unusable:
            raise
        except Exception as error:  # truncated, empty, of another format, or not ours at all
            raise _Unusable(f"it cannot be read ({type(error).__name__}: {_first_line(error)})") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise _Unusable("it is no checkpoint of this format")
        key, epoch, state = content.get("key"), content.get("epoch"), content.get("state")
        if not isinstance(key, dict) or not isinstance(epoch, int) or not isinstance(state, dict):
            raise _Unusable("it is no checkpoint of this format")
        if key != self.key:
            names = sorted({*key, *self.key}, key=str)
            differing = [name for name in names if key.get(name) != self.key.get(name)]
            differences = "; ".join(f"{name} was {key.get(name)!r} and is {self.key.get(name)!r}" for name in differing)
            raise _Unusable(f"it is another cell's or other code's: {differences}")
        return Saved(path, epoch, state)

    def _set_aside(self, path: Path, why: str) -> None:
        aside = path.with_name(path.name + ASIDE)
        try:
            path.replace(aside)
        except OSError as error:
            log.warning("%s is not used: %s; it could not be renamed: %s", path, why, error.strerror or error)
        else:
            log.warning("%s is not used: %s; it is kept as %s", path, why, aside.name)


def newest_epoch(folder: Path) -> int:
    """Return the epoch at which the newest file in a record's folder says that the cell would go on; 0 without one."""
    return max((_epoch_of(path) for path in folder.glob(PATTERN)), default=0)


def history_kept(folder: Path) -> list[dict[str, float]]:
    """Return the history that the newest checkpoint in a record's folder holds, whosever it is; empty without one."""
    for path in sorted(folder.glob(PATTERN), key=_epoch_of, reverse=True):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)["state"]
            return next(list(kept["rows"]) for kept in state["callbacks"].values() if "rows" in kept)
        except Exception:  # truncated, of another format: the one before it
            continue
    return []


def remove_checkpoints(folder: Path, *, until: float = math.inf) -> None:
    """Remove a cell's checkpoints, those set aside and what an ended process left half written.

    Args:
        folder: of the cell.
        until: the last change of those that go, as `stat` has it.
    """
    for pattern in (PATTERN, PATTERN + ASIDE, f".{PATTERN}.*.part"):
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime <= until:
                    path.unlink()


def _epoch_of(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    return int(found[1]) if found else -1


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or "no reason given"
