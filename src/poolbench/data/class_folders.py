"""Folders of files by class: `train/CLASS/…` and `test/CLASS/…`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from poolbench.data.cache import SourceFile
from poolbench.errors import DataError

PARTS = ("train", "test")
NAMED = 5


@dataclass(frozen=True)
class Kind:
    """What the files are.

    Args:
        files: what they are, in the plural: `images`.
        suffixes: what their names end with, in small letters.
        formats: what these are called: `jpeg or png`.
        neither: the same for what is none of them: `neither a jpeg nor a png file`.
    """

    files: str
    suffixes: tuple[str, ...]
    formats: str
    neither: str


@dataclass(frozen=True)
class Listing:
    """The files of a tree by part and class, as they were when it was listed."""

    root: Path
    classes: tuple[str, ...]
    parts: dict[str, list[list[SourceFile]]]

    @cached_property
    def files(self) -> list[SourceFile]:
        """All files, those of the training part first, by class and name."""
        return [file for part in PARTS for files in self.parts[part] for file in files]


def list_classes(root: Path, kind: Kind) -> Listing:
    """List a tree.

    Raises:
        DataError: `root` is absent, empty, has one class, a class without files, classes that differ between its parts,
            or files of another kind; named by path.
    """
    root = root.absolute()
    try:
        if not root.is_dir():
            raise DataError(
                f"`dataset.root`: {root} is no folder; it must hold train/CLASS/… and test/CLASS/… with "
                f"{kind.formats} {kind.files}"
            )
        folders = {part: _class_folders(root, part, kind) for part in PARTS}
        _require_equal_classes(root, *(folders[part] for part in PARTS))
        parts = {part: [_files(root, part, name, kind) for name in sorted(folders[part])] for part in PARTS}
        return Listing(root, tuple(sorted(folders["train"])), parts)
    except OSError as error:
        raise DataError(
            f"`dataset.root`: {error.filename or root} cannot be read: {error.strerror or error}; change its "
            "permissions, or remove it"
        ) from error


def _class_folders(root: Path, part: str, kind: Kind) -> dict[str, str]:
    folder = root / part
    if not folder.is_dir():
        raise DataError(f"`dataset.root`: {folder} is missing; {root} must hold train/CLASS/… and test/CLASS/…")
    entries = _entries(folder)
    loose = [entry.name for entry in entries if entry.is_file() and entry.name.lower().endswith(kind.suffixes)]
    if loose:
        raise DataError(
            f"{folder} holds {kind.files} outside class folders: {_some(loose)}; move them to {part}/CLASS/"
        )
    found = {entry.name: entry.path for entry in entries if entry.is_dir()}
    if not found:
        raise DataError(f"{folder} is empty: it must hold a folder of {kind.files} for each class")
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what a folder holds, by name, without what begins with a dot.

    Raises `DataError` for links that lead nowhere, and for names that no table, page or record could hold.
    """
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    strange = [entry.name for entry in entries if not _is_utf8(entry.name)]
    if strange:
        raise DataError(f"{folder} holds names that are not UTF-8: {_some(strange)}; rename them")
    dangling = [entry.name for entry in entries if entry.is_symlink() and not Path(entry.path).exists()]
    if dangling:
        raise DataError(f"{folder} holds links that lead nowhere: {_some(dangling)}; mend or remove them")
    return entries


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_equal_classes(root: Path, train: dict[str, str], test: dict[str, str]) -> None:
    if set(train) != set(test):
        differences = [
            f"only in {part}: {', '.join(sorted(names))}"
            for part, names in (("train", set(train) - set(test)), ("test", set(test) - set(train)))
            if names
        ]
        raise DataError(f"the classes of {root / 'train'} and {root / 'test'} differ; {'; '.join(differences)}")
    if len(train) < 2:
        raise DataError(f"{root / 'train'} has one class, {next(iter(train))}; there must be at least two")


def _files(root: Path, part: str, name: str, kind: Kind) -> list[SourceFile]:
    folder = root / part / name
    entries = _entries(folder)
    strange = [entry.name for entry in entries if not entry.is_file() or not entry.name.lower().endswith(kind.suffixes)]
    if strange:
        raise DataError(
            f"{folder} holds what is {kind.neither}: {_some(strange)}; remove it, or let its name begin with a dot"
        )
    if not entries:
        raise DataError(
            f"{folder} has no {kind.files}; remove the class from train and test, or put {kind.formats} files there"
        )
    states = ((entry.name, entry.stat()) for entry in entries)
    return [SourceFile(f"{part}/{name}/{file}", state.st_size, state.st_mtime_ns) for file, state in states]


def _some(names: Sequence[str]) -> str:
    names = [name.encode(errors="backslashreplace").decode() for name in names]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
