"""Sequences with a motif that lies in the middle in training and anywhere in the test."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from poolbench.checks import whole_number
from poolbench.data.images import LoadedImages, Strata
from poolbench.data.in_memory import held, loaded
from poolbench.data.sequences.alphabet import one_hot
from poolbench.data.sequences.motifs import MOTIFS
from poolbench.data.sequences.planting import CLASS_NAMES, Planted, plant
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError
from poolbench.streams import stream

LEAST_LENGTH = 3 * max(motif.width for motif in MOTIFS)


class DnaMotif:
    """Which of four transcription factors binds here, or none: planted sites in a background of primate DNA.

    `poolbench.data.sequences.planting` says what a sequence holds. A training site lies in the middle third, a test
    site anywhere: a network that ties its weights to places has not seen most of the test's. What is drawn comes from
    a stream that no seed changes: the set is the same on every machine.

    Args:
        name: what tables call it.
        channels: 4, one for each of A, C, G, T.
        image_size: [length] of a sequence.
        num_classes: 5.
        train_sequences: how many there are for training and validation.
        test_sequences: how many for the test.

    Raises:
        ConfigurationError: an argument is out of range.

    >>> images = DnaMotif(train_sequences=50, test_sequences=20).load()
    >>> images.train.shape, len(images.train), images.class_names
    ((4, 300), 50, ('CTCF', 'REST', 'ESR1', 'SRF', 'none'))
    """

    channels = 4
    num_classes = len(CLASS_NAMES)

    def __init__(
        self,
        *,
        name: str = "dna_motif",
        image_size: Sequence[int] = (300,),
        train_sequences: int = 1500,
        test_sequences: int = 1000,
    ) -> None:
        sizes = sizes_of(image_size)
        if len(sizes) != 1 or sizes[0] < LEAST_LENGTH:
            raise ConfigurationError(
                f"`dataset.image_size` must be [LENGTH], at least [{LEAST_LENGTH}], so that the widest motif fits the "
                f"middle third, got {image_size!r}"
            )
        self.name = name
        self.image_size = sizes
        for argument, value in (("train_sequences", train_sequences), ("test_sequences", test_sequences)):
            whole_number(f"dataset.{argument}", value, least=2 * self.num_classes)
        self.train_sequences = train_sequences
        self.test_sequences = test_sequences

    def fingerprint(self) -> str:
        """Return the name of the generator, its version and what it is asked for."""
        return f"dna_motif/1/{self.image_size[0]}/{self.train_sequences}/{self.test_sequences}"

    def planted(self, part: str) -> Planted:
        """Return the sequences of `train` or `test` with the places of their sites."""
        (length,) = self.image_size
        within = (length // 3, length - length // 3) if part == "train" else (0, length)
        count = self.train_sequences if part == "train" else self.test_sequences
        return plant(count, length, within, stream(0, "dna_motif", part))

    def load(self) -> LoadedImages:
        """Return the sequences as levels of four channels."""
        train, test = self.planted("train"), self.planted("test")
        return loaded(
            held("train", one_hot(train.letters), train.labels),
            held("test", one_hot(test.letters), test.labels),
            CLASS_NAMES,
            test_strata=self._by_place(test),
        )

    def _by_place(self, test: Planted) -> Strata:
        """Return the sixth of the sequence in which the middle of each site lies; training had the middle two."""
        (length,) = self.image_size
        widths = np.array([motif.width for motif in MOTIFS])
        edges = [length * sixth // 6 for sixth in range(7)]
        middles = test.places + widths[test.motifs] // 2
        names = tuple(f"{begin + 1}–{end}" for begin, end in pairwise(edges))
        return Strata(names, torch.from_numpy(np.searchsorted(edges[1:-1], middles, side="right")))
