"""A folder of images: `train/CLASS/…` and `test/CLASS/…`, jpeg or png, grey or colour, of any sizes."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from poolbench.data.cache import DecodedCache, SourceFile
from poolbench.data.content import Content
from poolbench.data.fit_size import fit_size
from poolbench.data.image_dataset import ImageDataset
from poolbench.data.images import UnreadableImage
from poolbench.data.orientation import UPRIGHT, orientation_of, turned_files, upright
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import expanded

SUFFIXES = (".jpg", ".jpeg", ".png")
PARTS = ("train", "test")
NAMED = 5


class ImageFolder(ImageDataset):
    """A tree of image files, a folder a class.

    Classes are the folders below `train`, sorted by name; `test` must have the same. Images lie directly in them,
    sorted by name; what begins with a dot is ignored. Grey images become colour ones, and colour ones grey (ITU-R
    601 luma), as `channels` says; transparency is dropped; 16-bit levels keep their upper byte. A photograph is turned
    upright by its EXIF orientation. An image of another size than `image_size` is fitted: `poolbench.data.fit_size`.

    Args:
        root: the folder that holds `train` and `test`.
        num_classes: None counts the class folders; a number must agree with them.

    Raises:
        ConfigurationError: an argument is out of range.
        DataError: `root` is absent, empty, has one class, a class without images, classes that differ between its
            parts, or files that are neither jpeg nor png; named by path. Unreadable images are found in loading.
    """

    def __init__(
        self,
        *,
        name: str = "image_folder",
        channels: int = 3,
        image_size: int | Sequence[int],
        num_classes: int | None = None,
        root: str | Path | None,
        streaming: bool | str = "auto",
        memory_limit_mib: float | None = None,
        workers: int = 2,
    ) -> None:
        if root is None:
            raise DataError(
                "`dataset.root` must name the folder that holds train/CLASS/… and test/CLASS/… "
                "(dataset.root=PATH), got null"
            )
        self.root = expanded(root, "dataset.root")
        self.listing = _listing(self.root)
        classes = self.listing.classes
        if num_classes is not None and num_classes != len(classes):
            raise ConfigurationError(
                f"`dataset.num_classes` must be null (counted) or {len(classes)}, the number of folders in "
                f"{self.root / 'train'}, got {num_classes!r}"
            )
        super().__init__(
            name=name,
            channels=channels,
            image_size=image_size,
            num_classes=len(classes),
            streaming=streaming,
            memory_limit_mib=memory_limit_mib,
            workers=workers,
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 over paths below `root` and sizes of all images, and the orientation of those turned."""
        return self.listing.fingerprint

    def cache(self) -> DecodedCache:
        """Return the cache beside the images."""
        # Where none is turned, the key is that of versions that turned none.
        turned = "-upright" if self.listing.turned else ""
        key = f"images-{self.channels}x{self.sizes[0]}x{self.sizes[1]}{turned}"
        return DecodedCache(self.root, key, self.listing.files)

    def content(self) -> Content:
        """Return readers of the files."""
        train, test = (
            FileReader(
                self.root,
                [file.path for files in self.listing.parts[part] for file in files],
                self.channels,
                self.image_size,
            )
            for part in PARTS
        )
        train_labels, test_labels = (
            torch.arange(self.num_classes).repeat_interleave(torch.tensor(list(map(len, self.listing.parts[part]))))
            for part in PARTS
        )
        return Content(train, train_labels, test, test_labels, self.listing.classes)


class FileReader:
    """Decodes image files.

    Args:
        root: folder that paths are relative to.
        paths: the files.
        channels: 1 or 3.
        size: height and width that images are fitted to.
    """

    def __init__(self, root: Path, paths: Sequence[str], channels: int, size: int | Sequence[int]) -> None:
        self.root = root
        self.paths = list(paths)
        self.channels = channels
        self.sizes = sizes_of(size, where="size")
        self._fitted: set[int] = set()
        self._turned: set[int] = set()

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image as read."""
        return self.channels, *self.sizes

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> np.ndarray:
        """Return image `index` as uint8 (H, W, channels); raise `UnreadableImage`."""
        path = self.root / self.paths[index]
        try:
            with Image.open(path) as image:
                turned = orientation_of(image) != UPRIGHT
                pixels = _pixels(upright(image) if turned else image, self.channels)
        except Exception as error:  # what a broken file makes a decoder raise has no common class
            raise UnreadableImage(str(path), f"{type(error).__name__}: {error}") from error
        if turned:
            self._turned.add(index)
        if pixels.shape[:2] != self.sizes:
            self._fitted.add(index)
        return fit_size(pixels, self.sizes)

    def take(self, rows: Sequence[int]) -> "FileReader":
        """Return a reader of the files at `rows` alone."""
        return FileReader(self.root, [self.paths[row] for row in rows], self.channels, self.sizes)

    def notes(self) -> tuple[str, ...]:
        """Say how many of the images read so far were turned upright, and how many fitted."""
        said = []
        if self._turned:
            said.append(f"{len(self._turned):,} of {len(self):,} images were turned upright by their EXIF orientation")
        if self._fitted:
            size = "×".join(map(str, self.sizes))
            said.append(
                f"{len(self._fitted):,} of {len(self):,} images were of another size than {size} and fitted to it"
            )
        return tuple(said)


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    """Return an opened image as uint8 (H, W, channels)."""
    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would cut the levels off at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "P":  # a palette may hold transparency, which a direct conversion warns of
        image = image.convert("RGBA")
    if channels == 1:
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


@dataclass(frozen=True)
class Listing:
    """The files of a tree by part and class, as they were when it was listed."""

    root: Path
    classes: tuple[str, ...]
    parts: dict[str, list[list[SourceFile]]]

    @cached_property
    def files(self) -> list[SourceFile]:
        """All files, training images first, by class and name."""
        return [file for part in PARTS for files in self.parts[part] for file in files]

    @cached_property
    def turned(self) -> dict[str, int]:
        """EXIF orientation of those images that do not stand upright, by path."""
        return turned_files(self.root, self.files)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over sorted paths and sizes, and over the orientation of images that are turned."""
        digest = hashlib.sha256()
        for file in sorted(self.files):
            digest.update(f"{file.path}\0{file.size}\n".encode())
        for path, found in sorted(self.turned.items()):
            digest.update(f"{path}\0orientation {found}\n".encode())
        return digest.hexdigest()


def _listing(root: Path) -> Listing:
    """List a tree."""
    root = root.absolute()
    try:
        if not root.is_dir():
            raise DataError(
                f"`dataset.root`: {root} is no folder; it must hold train/CLASS/… and test/CLASS/… with jpeg or png "
                "images"
            )
        folders = {part: _class_folders(root, part) for part in PARTS}
        _require_equal_classes(root, *(folders[part] for part in PARTS))
        parts = {part: [_images(root, part, name) for name in sorted(folders[part])] for part in PARTS}
        return Listing(root, tuple(sorted(folders["train"])), parts)
    except OSError as error:
        raise DataError(
            f"`dataset.root`: {error.filename or root} cannot be read: {error.strerror or error}; change its "
            "permissions, or remove it"
        ) from error


def _class_folders(root: Path, part: str) -> dict[str, str]:
    folder = root / part
    if not folder.is_dir():
        raise DataError(f"`dataset.root`: {folder} is missing; {root} must hold train/CLASS/… and test/CLASS/…")
    entries = _entries(folder)
    loose = [entry.name for entry in entries if entry.is_file() and entry.name.lower().endswith(SUFFIXES)]
    if loose:
        raise DataError(f"{folder} holds images outside class folders: {_some(loose)}; move them to {part}/CLASS/")
    found = {entry.name: entry.path for entry in entries if entry.is_dir()}
    if not found:
        raise DataError(f"{folder} is empty: it must hold a folder of images for each class")
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


def _images(root: Path, part: str, name: str) -> list[SourceFile]:
    folder = root / part / name
    entries = _entries(folder)
    strange = [entry.name for entry in entries if not entry.is_file() or not entry.name.lower().endswith(SUFFIXES)]
    if strange:
        raise DataError(
            f"{folder} holds what is neither a jpeg nor a png file: {_some(strange)}; remove it, or let its name begin "
            f"with a dot"
        )
    if not entries:
        raise DataError(f"{folder} has no images; remove the class from train and test, or put jpeg or png files there")
    states = ((entry.name, entry.stat()) for entry in entries)
    return [SourceFile(f"{part}/{name}/{file}", state.st_size, state.st_mtime_ns) for file, state in states]


def _some(names: Sequence[str]) -> str:
    names = [name.encode(errors="backslashreplace").decode() for name in names]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
