"""Test images with targets and an arm's predictions, as cells left them in `pictures.npz` beside their record."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from poolbench.record import PICTURES_FILE
from poolbench.report.reading.arms import Arm, Record, section


@dataclass(frozen=True, eq=False)
class Pictures:
    """What one cell left.

    Args:
        row: of each image in the test set, (K,).
        example: the images, (K, C, H, W).
        target: the class of every pixel, (K, H, W).
        given: the class that the network gave it, likewise.
        seed: of the cell.
    """

    row: np.ndarray
    example: np.ndarray
    target: np.ndarray
    given: np.ndarray
    seed: int


def pictures_of(folder: Path, arm: Arm) -> Pictures | None:
    """Return the pictures of an arm's first finished seed; None where it has none, or they are not what was written."""
    for seed, record in sorted(arm.finished.items()):
        found = _read(folder, record, seed)
        if found is not None:
            return found
    return None


def _read(folder: Path, record: Record, seed: int) -> Pictures | None:
    named = section(record, "files").get(PICTURES_FILE)
    if not named:
        return None
    try:
        content = (folder / "records" / str(record["run_id"]) / PICTURES_FILE).read_bytes()
    except OSError:
        return None
    if sha256(content).hexdigest() != named:
        return None  # the report says which files are damaged
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = Pictures(arrays["row"], arrays["example"], arrays["target"], arrays["given"], seed)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # of another version, or written damaged
    fits = found.example.ndim == 4 and found.target.shape == found.given.shape
    return found if fits and found.target.shape == (len(found.row), *found.example.shape[2:]) else None
