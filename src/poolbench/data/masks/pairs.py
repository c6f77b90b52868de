"""Folders of images and masks: `PART/images/NAME.png` and `PART/masks/NAME.png`, a mask for each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from poolbench.errors import DataError

PARTS = ("train", "test")
KINDS = ("images", "masks")
# A mask must come back as it was written: jpeg makes new levels at every outline.
SUFFIXES = {"images": (".png", ".jpg", ".jpeg"), "masks": (".png",)}
NAMED = 5


@dataclass(frozen=True, order=True)
class Pair:
    """An image and its mask, as paths below the root."""

    image: str
    mask: str


def list_pairs(root: Path) -> dict[str, list[Pair]]:
    """Return the pairs of `train` and `test`, by name; what begins with a dot is ignored.

    Raises:
        DataError: a folder is missing, cannot be read or is empty, holds other files, has an image without a mask or a
            mask without an image, or two files of one name; named by path.
    """
    if not root.is_dir():
        raise DataError(
            f"`dataset.root`: {root} is no folder; it must hold train/images, train/masks, test/images and test/masks"
        )
    found = {}
    for part in PARTS:
        images, masks = (_files(root, part, kind) for kind in KINDS)
        without = [f"{root / images[name]} has no mask" for name in sorted(images.keys() - masks.keys())]
        without += [f"{root / masks[name]} has no image" for name in sorted(masks.keys() - images.keys())]
        if without:
            raise DataError(
                f"every image NAME.png or NAME.jpg in {root / part / 'images'} must have a mask NAME.png in "
                f"{root / part / 'masks'}, and every mask an image: {some(without, '; ')}"
            )
        found[part] = [Pair(images[name], masks[name]) for name in sorted(images)]
    return found


def _files(root: Path, part: str, kind: str) -> dict[str, str]:
    """Return the files of a folder by their names without suffix, as paths below `root`."""
    folder, suffixes = root / part / kind, SUFFIXES[kind]
    try:
        entries = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"`dataset.root`: {folder} cannot be read: {error.strerror or error}; {root} must hold train/images, "
            "train/masks, test/images and test/masks"
        ) from error
    if not entries:
        raise DataError(f"{folder} is empty: it must hold {' or '.join(suffixes)} files")
    strange = [name for name in entries if not name.lower().endswith(suffixes) or not (folder / name).is_file()]
    if strange:
        raise DataError(
            f"{folder} holds what is no {' or '.join(suffixes)} file: {some(strange)}; remove it, or let its name "
            "begin with a dot"
        )
    found: dict[str, str] = {}
    for name in entries:
        stem = name.rpartition(".")[0]
        if stem in found:
            raise DataError(f"{folder} holds two files of one name, {Path(found[stem]).name} and {name}; remove one")
        found[stem] = f"{part}/{kind}/{name}"
    return found


def some(said: Sequence[str], between: str = ", ") -> str:
    """Return the first few of many texts, and how many there are further."""
    more = f"{between}and {len(said) - NAMED} more" if len(said) > NAMED else ""
    return between.join(said[:NAMED]) + more
