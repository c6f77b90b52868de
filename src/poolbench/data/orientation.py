"""How a camera was held: the EXIF orientation of image files, found without decoding them.

A photograph is stored as the sensor saw it, and a tag says how to turn it. Viewers do; so must whoever trains on it.
"""

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from PIL import ExifTags, Image

from poolbench.data.cache import DecodedCache, SourceFile

UPRIGHT = 1
PNG = b"\x89PNG\r\n\x1a\n"
# Chunks of a PNG file that may hold an orientation: EXIF itself, or texts with EXIF or XMP in them.
TELLING = (b"eXIf", b"zTXt", b"tEXt", b"iTXt")
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """Return an opened image's EXIF orientation, 1 (upright) where it has none that is valid."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # a tag that is broken says nothing; whether the image is, its decoding tells
        return UPRIGHT
    return found if isinstance(found, int) and found in TURNED else UPRIGHT


def upright(image: Image.Image) -> Image.Image:
    """Return an opened image as it was seen: mirrored or turned as its EXIF orientation says."""
    found = orientation_of(image)
    return image if found == UPRIGHT else image.transpose(TURNED[found])


def turned_files(root: Path, files: Sequence[SourceFile]) -> dict[str, int]:
    """Return the EXIF orientation of those files that do not stand upright, by path below `root`.

    The headers of all are read once, and what was found is kept beside the images for later processes.
    """
    cache = DecodedCache(root, "orientations", files)
    kept = cache.facts()
    if kept is None:
        with cache.writing() as folder:
            kept = cache.facts()
            if kept is None:
                kept = {"turned": _read(root, [file.path for file in files])}
                if folder is not None:
                    # Where it cannot be kept, the next process reads again; loading says so.
                    with suppress(OSError):
                        cache.write(folder, kept, None)
    return {str(path): int(found) for path, found in kept["turned"].items()}


def _read(root: Path, paths: Sequence[str]) -> dict[str, int]:
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda path: _in_header(root / path), paths)
    return {path: one for path, one in zip(paths, found, strict=True) if one != UPRIGHT}


def _in_header(path: Path) -> int:
    try:
        if _says_nothing(path):
            return UPRIGHT
        with Image.open(path) as image:
            return orientation_of(image)
    except Exception:  # what a broken file makes a decoder raise has no common class; loading names it
        return UPRIGHT


def _says_nothing(path: Path) -> bool:
    """Whether this is a PNG file without a chunk that could tell: Pillow would decode it whole to find none."""
    with path.open("rb") as file:
        if file.read(len(PNG)) != PNG:
            return False
        while len(header := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", header)
            if kind in TELLING:
                return False
            file.seek(length + 4, 1)
    return True
