"""A folder of your own images and masks: nuclei, roads, organs."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from poolbench.checks import is_whole
from poolbench.data.images import HeldImages, LoadedImages
from poolbench.data.in_memory import held, loaded
from poolbench.data.masks.fit_pair import fit_pair
from poolbench.data.masks.pairs import PARTS, Pair, list_pairs, some
from poolbench.data.orientation import upright
from poolbench.data.pixels import pixels_of
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import expanded
from poolbench.processors import allowed_processors

IGNORED = 255
# A mask says its class by its level: grey, or the number of a colour in a palette.
MASK_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


class MaskFolder:
    """Images with a mask each: `train/images`, `train/masks`, `test/images`, `test/masks`, pairs of equal names.

    Images become grey or colour as `channels` says, upright by their EXIF orientation. A pair of another size than
    `image_size` is fitted: `poolbench.data.masks.fit_pair`. Scores count the places of the fitted masks.

    Args:
        root: the folder.
        name: what tables call it.
        channels: 1 (grey) or 3 (colour).
        image_size: height and width that the network sees.
        levels: the mask's level of each class, in order: [0, 255]. None: a level is the number of a class, 255 a place
            that does not count.
        num_classes: None counts the levels; needed where `levels` is None.
        class_names: a name for each class; None: `class 0` and so on.

    Raises:
        ConfigurationError: an argument is out of range.
        DataError: files are absent or do not pair, named by path; in loading, images and masks that cannot be read,
            differ in size, or have a level that is no class, named likewise.
    """

    task = "segmentation"

    def __init__(
        self,
        *,
        root: str | Path | None,
        name: str = "mask_folder",
        channels: int = 1,
        image_size: int | Sequence[int] = 128,
        levels: Sequence[int] | None = None,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        if root is None:
            raise DataError(
                "`dataset.root` must name the folder that holds train/images, train/masks, test/images and test/masks "
                "(dataset.root=PATH), got null"
            )
        if channels not in (1, 3):
            raise ConfigurationError(f"`dataset.channels` must be 1 (grey) or 3 (colour), got {channels!r}")
        sizes = sizes_of(image_size)
        if len(sizes) != 2:
            raise ConfigurationError(f"`dataset.image_size` must be that of images, got {image_size!r}")
        self.levels = _levels(levels, num_classes)
        self.root = expanded(root, "dataset.root")
        self.name = name
        self.channels = channels
        self.sizes = sizes
        self.image_size = sizes[0] if sizes[0] == sizes[1] else sizes
        self.num_classes = len(self.levels)
        self.class_names = tuple(map(str, class_names or (f"class {number}" for number in range(self.num_classes))))
        if len(self.class_names) != self.num_classes:
            raise ConfigurationError(
                f"`dataset.class_names` must name {self.num_classes} classes, got {list(self.class_names)}"
            )
        self.ignored = levels is None
        self.pairs = list_pairs(self.root)

    def fingerprint(self) -> str:
        """Return the SHA-256 over the paths below `root` and the sizes of all files."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for pair in sorted(pair for part in PARTS for pair in self.pairs[part]):
            for path in (pair.image, pair.mask):
                digest.update(f"{path}\0{(self.root / path).stat().st_size}\n".encode())
        return digest.hexdigest()

    def load(self) -> LoadedImages:
        """Read and fit all pairs; raise `DataError` that names those that cannot be used."""
        threads = allowed_processors()
        faults: list[str] = []
        notes: list[str] = []
        parts: dict[str, HeldImages] = {}
        for part in PARTS:
            with ThreadPoolExecutor(threads) as pool:  # Pillow lets other threads run
                read = list(pool.map(self._read, self.pairs[part]))
            faults += [one for one in read if isinstance(one, str)]
            usable = [one for one in read if not isinstance(one, str)]
            if faults:
                continue
            images, masks, fitted = zip(*usable, strict=True)
            parts[part] = held(part, np.stack(images), np.stack(masks))
            if any(fitted):
                size = "×".join(map(str, self.sizes))
                notes.append(
                    f"{part}: {sum(fitted):,} of {len(fitted):,} pairs were of another size and fitted to {size}"
                )
        if faults:
            raise DataError(f"{self.root}: {len(faults)} pairs cannot be used:\n  " + some(faults, "\n  "))
        shown = set(torch.unique(parts["train"].labels).tolist())
        if len(shown - {IGNORED}) < 2:
            only = ", ".join(self.class_names[number] for number in shown - {IGNORED})
            raise DataError(
                f"{self.root}: train: every place that counts is of the class {only}: there is nothing to tell apart; "
                "look whether `dataset.levels` names the masks' levels"
            )
        absent = [name for number, name in enumerate(self.class_names) if number not in shown]
        if absent:
            notes.append(f"train: no mask has a place of {', '.join(absent)}")
        return loaded(parts["train"], parts["test"], self.class_names, notes=notes)

    def _read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray, bool] | str:
        """Return an image (C, H, W), its classes (H, W) and whether they were fitted; or what is wrong with them."""
        image_path, mask_path = self.root / pair.image, self.root / pair.mask
        try:
            with Image.open(image_path) as image:
                pixels = pixels_of(upright(image), self.channels)
        except Exception as error:  # what a broken file makes a decoder raise has no common class
            return f"{image_path} is no image that can be read ({type(error).__name__}: {error})"
        try:
            with Image.open(mask_path) as mask:
                mode, levels = mask.mode, _levels_of(upright(mask), of_a_bit=(0, 1) if self.ignored else (0, 255))
        except Exception as error:
            return f"{mask_path} is no image that can be read ({type(error).__name__}: {error})"
        if levels is None:
            return f"{mask_path} has the mode {mode}: a mask must be grey or have a palette, a level for each class"
        if levels.shape != pixels.shape[:2]:
            sizes = [f"{width}x{height}" for height, width in (levels.shape, pixels.shape[:2])]
            return f"{mask_path} is {sizes[0]} pixels large, its image {sizes[1]}: both must have one size"
        classes = self._classes(levels)
        if isinstance(classes, int):
            known = f"0..{self.num_classes - 1}, or {IGNORED} for places that do not count" if self.ignored else ""
            known = known or ", ".join(map(str, self.levels))
            return f"{mask_path} has the level {classes}: it must be one of a class: {known}"
        fitted = classes.shape != self.sizes
        pixels, classes = fit_pair(pixels, classes, self.sizes)
        if (classes == IGNORED).all():
            return f"{mask_path} has no place that counts, all are {IGNORED}: leave the pair out"
        return pixels.transpose(2, 0, 1), classes, fitted

    def _classes(self, levels: np.ndarray) -> np.ndarray | int:
        """Return the class of each place, uint8, or the first level that is none of a class."""
        found = np.unique(levels)
        known = [*self.levels, IGNORED] if self.ignored else list(self.levels)
        unknown = np.setdiff1d(found, known)
        if len(unknown):
            return int(unknown[0])
        classes = np.full(levels.shape, IGNORED, np.uint8)
        for number, level in enumerate(self.levels):
            classes[levels == level] = number
        return classes


def _levels(levels: Sequence[int] | None, num_classes: int | None) -> tuple[int, ...]:
    """Return the level of each class; raise `ConfigurationError` where that cannot be."""
    if num_classes is not None and (not is_whole(num_classes) or not 2 <= num_classes <= IGNORED):
        raise ConfigurationError(f"`dataset.num_classes` must be null or in 2..{IGNORED}, got {num_classes!r}")
    if levels is None:
        if num_classes is None:
            raise ConfigurationError(
                "`dataset.num_classes` must say how many classes there are, where `dataset.levels` does not name the "
                "level of each, got null"
            )
        return tuple(range(num_classes))
    whole = not isinstance(levels, str) and all(is_whole(level) and level >= 0 for level in levels)
    if not whole or len(set(levels)) != len(levels) or not 2 <= len(levels) <= IGNORED:
        raise ConfigurationError(
            f"`dataset.levels` must be null or a list of different whole numbers, a level for each of at least 2 "
            f"classes, got {levels!r}"
        )
    if num_classes not in (None, len(levels)):
        raise ConfigurationError(
            f"`dataset.num_classes` must be null (counted) or {len(levels)}, the number of `dataset.levels`, "
            f"got {num_classes!r}"
        )
    return tuple(levels)


def _levels_of(mask: Image.Image, of_a_bit: tuple[int, int]) -> np.ndarray | None:
    """Return a mask's levels, or None where it is neither grey nor by palette.

    `of_a_bit` are the levels of a mask of one bit: those of the classes, or those that a grey copy would have.
    """
    if mask.mode not in MASK_MODES:
        return None
    values = np.asarray(mask)
    return np.where(values, of_a_bit[1], of_a_bit[0]) if mask.mode == "1" else values.astype(np.int64)
