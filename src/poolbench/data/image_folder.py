"""A folder of images: `train/CLASS/…` and `test/CLASS/…`, jpeg or png, grey or colour, of any sizes."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from poolbench.data.cache import DecodedCache
from poolbench.data.class_folders import PARTS, Kind, list_classes
from poolbench.data.content import Content
from poolbench.data.fit_size import fit_size
from poolbench.data.image_dataset import ImageDataset
from poolbench.data.images import UnreadableImage
from poolbench.data.orientation import UPRIGHT, orientation_of, turned_files, upright
from poolbench.data.pixels import pixels_of
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import expanded

IMAGES = Kind("images", (".jpg", ".jpeg", ".png"), "jpeg or png", "neither a jpeg nor a png file")


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
        self.listing = list_classes(self.root, IMAGES)
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
        digest = hashlib.sha256()
        for file in sorted(self.listing.files):
            digest.update(f"{file.path}\0{file.size}\n".encode())
        for path, found in sorted(self.turned.items()):
            digest.update(f"{path}\0orientation {found}\n".encode())
        return digest.hexdigest()

    @cached_property
    def turned(self) -> dict[str, int]:
        """EXIF orientation of those images that do not stand upright, by path."""
        return turned_files(self.listing.root, self.listing.files)

    def cache(self) -> DecodedCache:
        """Return the cache beside the images."""
        # Where none is turned, the key is that of versions that turned none.
        turned = "-upright" if self.turned else ""
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
                pixels = pixels_of(upright(image) if turned else image, self.channels)
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
