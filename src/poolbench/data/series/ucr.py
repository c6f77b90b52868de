"""Series from a folder in the layouts of the UCR archive."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from poolbench.data.images import HeldImages, LoadedImages
from poolbench.data.in_memory import held, loaded
from poolbench.data.series.ucr_files import Series, class_names, pair_of_files, read_series, without_missing
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import expanded

MISSING = ("error", "interpolate")


class Ucr:
    """`NAME_TRAIN` and `NAME_TEST` as `.tsv`, `.txt` or `.ts`: see `poolbench.data.series.ucr_files`.

    Files are read when the dataset is opened.

    Args:
        root: the folder.
        series: NAME, where `root` holds several; None: there is one.
        name: what tables call it.
        missing: `error`, or `interpolate` where values are missing.

    Raises:
        ConfigurationError: an argument is out of range.
        DataError: files are absent or unusable; by file and line.
    """

    def __init__(
        self,
        *,
        root: str | Path | None,
        series: str | None = None,
        name: str = "ucr",
        missing: str = "error",
    ) -> None:
        if root is None:
            raise DataError(
                "`dataset.root` must name the folder that holds NAME_TRAIN and NAME_TEST as .tsv, .txt or .ts "
                "(dataset.root=PATH), got null"
            )
        if missing not in MISSING:
            raise ConfigurationError(f"`dataset.missing` must be one of {', '.join(MISSING)}, got {missing!r}")
        self.root = expanded(root, "dataset.root")
        found, train, test = pair_of_files(self.root, series)
        self.name = name
        self.missing = missing
        self.train, self.test = read_series(train), read_series(test)
        if self.train.values.shape[1:] != self.test.values.shape[1:]:
            raise DataError(
                f"series of {test} have {self.test.values.shape[1:]} channels and values, those of {train} "
                f"{self.train.values.shape[1:]}; cut or pad them"
            )
        self.class_names = class_names(self.train.classes, self.test.classes, str(self.root / found))
        self.num_classes = len(self.class_names)
        self.channels, length = self.train.values.shape[1:]
        self.image_size: Sequence[int] = (length,)
        self._train, self._test = self._held("train", self.train), self._held("test", self.test)

    def fingerprint(self) -> str:
        """Return the SHA-256 over the files' names and content, and what becomes of missing values."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(f"{self.missing}\n".encode())
        for part in (self.train, self.test):
            digest.update(f"{part.path.name}\n".encode())
            digest.update(part.path.read_bytes())
        return digest.hexdigest()

    def load(self) -> LoadedImages:
        """Return the series."""
        notes = [
            f"{part}: {int(count):,} missing values interpolated"
            for part, series in (("train", self.train), ("test", self.test))
            if (count := torch.from_numpy(series.values).isnan().sum())
        ]
        return loaded(self._train, self._test, self.class_names, notes=notes)

    def _held(self, part: str, series: Series) -> HeldImages:
        labels = torch.tensor([self.class_names.index(name) for name in series.classes])
        return held(part, without_missing(series, self.missing), labels)
