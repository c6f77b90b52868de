"""Decoded images kept on disk beside their files, so that they are decoded once.

A cache is a folder of `.npy` files and a `facts.json`, which carries a stamp of the files they were decoded from
(names, sizes, modification times) and the digest of what they hold. Whatever does not agree is decoded again: a changed
file, a truncated cache, another version. Files are written under a temporary name, synced and renamed; facts come
last; a lock lets one process decode while others wait.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from poolbench.data.decoding import digest_of
from poolbench.data.images import HeldImages
from poolbench.paths import user_cache
from poolbench.whole_file import replacing

FOLDER = ".poolbench-cache"
# Counted up when decoding changes what it gives for the same files.
VERSION = 1
PARTS = ("train", "test")


@dataclass(frozen=True, order=True, slots=True)
class SourceFile:
    """A file that images are decoded from, as a listing shows it."""

    path: str
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Kept:
    """What a cache held: images, and facts about them."""

    train: HeldImages
    test: HeldImages
    facts: dict[str, Any]


class DecodedCache:
    """Where the decoded images of one dataset at one size are kept.

    Args:
        root: the folder of the dataset's files; the cache lies in `.poolbench-cache` there, or in the user's own cache
            folder (`XDG_CACHE_HOME`, else `~/.cache`) where `root` cannot be written.
        key: the cache's name: dataset, channels and size.
        files: what the images are decoded from.
    """

    def __init__(self, root: Path, key: str, files: Iterable[SourceFile]) -> None:
        stamp = hashlib.sha256(f"{VERSION} {key}\n".encode())
        for file in files:
            stamp.update(f"{file.path}\0{file.size}\0{file.modified_ns}\n".encode())
        self.stamp = stamp.hexdigest()
        whose = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
        cache = user_cache()
        self.folders = (root / FOLDER / key, *([] if cache is None else [cache / whose / key]))

    def facts(self) -> dict[str, Any] | None:
        """Return the facts that hold for the files as they are now, or None."""
        return next((facts for folder in self.folders if (facts := self._facts_in(folder)) is not None), None)

    def images(self) -> Kept | None:
        """Return the images with their facts, mapped from disk, or None where they have to be decoded."""
        return next((kept for folder in self.folders if (kept := self._images_in(folder)) is not None), None)

    @contextmanager
    def writing(self) -> Iterator[Path | None]:
        """Hold the lock of the first folder that can be written, and give that folder; None where none can be."""
        folder = next((folder for folder in self.folders if _writable(folder)), None)
        if folder is None:
            yield None
            return
        lock = FileLock(folder / ".lock", mode=0o666)  # for all users who share the folder
        try:
            lock.acquire()
        except PermissionError:  # made by another user, for that one alone
            yield None
            return
        try:
            yield folder
        finally:
            lock.release()

    def write(self, folder: Path, facts: dict[str, Any], parts: tuple[HeldImages, HeldImages] | None) -> None:
        """Write facts, and images where there are any; `OSError` where that cannot be."""
        if parts is not None:
            for part, source in zip(PARTS, parts, strict=True):
                _write_array(folder / f"{part}.npy", source.images.numpy())
                _write_array(folder / f"{part}_labels.npy", source.labels.numpy())
        text = json.dumps(facts | {"stamp": self.stamp}, indent=1)
        with replacing(folder / "facts.json") as file:
            file.write(text.encode())

    def _facts_in(self, folder: Path) -> dict[str, Any] | None:
        try:
            facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) and facts.get("stamp") == self.stamp else None

    def _images_in(self, folder: Path) -> Kept | None:
        facts = self._facts_in(folder)
        if facts is None:
            return None
        try:
            train, test = (_read_part(folder, part) for part in PARTS)
        except (OSError, EOFError, ValueError):  # absent, empty, truncated, of another shape
            return None
        return Kept(train, test, facts) if digest_of(train, test) == facts.get("digest") else None


def _read_part(folder: Path, part: str) -> HeldImages:
    # Copy on write: processes share the pages, and none can change the file.
    images = np.load(folder / f"{part}.npy", mmap_mode="c", allow_pickle=False)
    labels = np.load(folder / f"{part}_labels.npy", allow_pickle=False)
    return HeldImages(torch.from_numpy(images), torch.from_numpy(labels))


def _write_array(path: Path, array: np.ndarray) -> None:
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
