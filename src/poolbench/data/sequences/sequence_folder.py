"""Labelled sequences from a folder: tables, or FASTA files by class."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from poolbench.data.images import HeldImages, LoadedImages
from poolbench.data.in_memory import held, loaded
from poolbench.data.sequences.files import PARTS, part_files, read_sequences
from poolbench.data.sequences.fitting import CROPS, common_length, fit_length
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import expanded
from poolbench.streams import stream


class SequenceFolder:
    """DNA from files: `NAME_train.tsv` and `NAME_test.tsv`, or `train/CLASS.fasta` and `test/CLASS.fasta`.

    Letters become levels of four channels, ambiguous ones equal parts of what they stand for
    (`poolbench.data.sequences.alphabet.encode`). Files are read when the dataset is opened.

    Args:
        root: the folder.
        pair: NAME, where several pairs of tables lie in `root`; None: there is one.
        name: what tables call it.
        image_size: [length] of a sequence as the network sees it: longer ones are cut, shorter ones padded with places
            without a letter, equally at both ends. None: as the files have it, where all have one length.
        crop: where longer sequences are cut: `random`, drawn for each once from a stream that no seed changes, so that
            what the files have in the middle comes to lie anywhere; or `centre`.

    Raises:
        ConfigurationError: an argument is out of range.
        DataError: files are absent or unusable, lengths differ and `image_size` is None; by file and line.
    """

    channels = 4

    def __init__(
        self,
        *,
        root: str | Path | None,
        pair: str | None = None,
        name: str = "sequence_folder",
        image_size: Sequence[int] | None = None,
        crop: str = "random",
    ) -> None:
        if root is None:
            raise DataError(
                "`dataset.root` must name the folder that holds NAME_train.tsv and NAME_test.tsv, or train/CLASS.fasta "
                "and test/CLASS.fasta (dataset.root=PATH), got null"
            )
        if crop not in CROPS:
            raise ConfigurationError(f"`dataset.crop` must be one of {', '.join(CROPS)}, got {crop!r}")
        if image_size is not None and len(sizes_of(image_size)) != 1:
            raise ConfigurationError(f"`dataset.image_size` must be null or [LENGTH], got {image_size!r}")
        self.name = name
        self.crop = crop
        self.root = expanded(root, "dataset.root")
        self.files = part_files(self.root, pair)
        self.sequences = {part: [one for path in self.files[part] for one in read_sequences(path)] for part in PARTS}
        self.class_names = self._class_names()
        self.num_classes = len(self.class_names)
        everything = self.sequences["train"] + self.sequences["test"]
        asked = None if image_size is None else sizes_of(image_size)[0]
        self.image_size = (common_length(everything, asked, str(self.root)),)

    def _class_names(self) -> tuple[str, ...]:
        train, test = ({one.class_name for one in self.sequences[part]} for part in PARTS)
        if len(train) < 2:
            raise DataError(f"{self.root}: the training part has one class, {train.pop()}; there must be at least two")
        if test - train:
            raise DataError(
                f"{self.root}: the test has classes that the training part lacks: {', '.join(sorted(test - train))}"
            )
        return tuple(sorted(train))

    def fingerprint(self) -> str:
        """Return the SHA-256 over the files' names and content, and how they are cut."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(f"{self.image_size[0]} {self.crop}\n".encode())
        for part in PARTS:
            for path in self.files[part]:
                digest.update(f"{path.relative_to(self.root).as_posix()}\n".encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def load(self) -> LoadedImages:
        """Return the sequences as levels of four channels."""
        train, test = (self._held(part) for part in PARTS)
        notes = [note for part in PARTS for note in self._notes(part)]
        return loaded(train, test, self.class_names, notes=notes)

    def _held(self, part: str) -> HeldImages:
        sequences = self.sequences[part]
        fitted = fit_length(sequences, self.image_size[0], self.crop, stream(0, "sequence_folder", part))
        labels = torch.tensor([self.class_names.index(one.class_name) for one in sequences])
        return held(part, fitted.levels, labels)

    def _known(self) -> list[str]:
        """Return where the test has a sequence that the training part has, too."""
        seen = {one.levels.tobytes() for one in self.sequences["train"]}
        return [one.where for one in self.sequences["test"] if one.levels.tobytes() in seen]

    def _notes(self, part: str) -> list[str]:
        """Say what was done to how many sequences."""
        sequences, (length,) = self.sequences[part], self.image_size
        said = []
        for count, what in (
            (sum(one.levels.shape[1] > length for one in sequences), f"cut to {length} letters, {self.crop}"),
            (sum(one.levels.shape[1] < length for one in sequences), f"padded to {length} letters"),
            (sum(one.ambiguous > 0 for one in sequences), "with ambiguous letters, which have equal parts in channels"),
            (len(self._known()) if part == "test" else 0, "that are in the training part, too"),
        ):
            if count:
                said.append(f"{part}: {count:,} of {len(sequences):,} sequences {what}")
        return said
