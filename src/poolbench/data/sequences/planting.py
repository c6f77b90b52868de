"""Motifs planted in a background: which one a sequence holds is its class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from poolbench.data.sequences.background import background
from poolbench.data.sequences.motifs import MOTIFS, Motif

NONE = "none"
CLASS_NAMES = (*(motif.name for motif in MOTIFS), NONE)


@dataclass(frozen=True, eq=False)
class Planted:
    """Sequences with the site that was planted in each.

    Args:
        letters: 0..3 as uint8 (N, length).
        labels: class of each, int64 (N,): the motif's number, or `len(motifs)` where a decoy was planted.
        motifs: whose site it is, that of a decoy before its letters were shuffled, int64 (N,).
        places: where the site begins, int64 (N,).
    """

    letters: np.ndarray
    labels: np.ndarray
    motifs: np.ndarray
    places: np.ndarray


def plant(
    count: int,
    length: int,
    within: tuple[int, int],
    generator: torch.Generator,
    motifs: Sequence[Motif] = MOTIFS,
) -> Planted:
    """Return `count` sequences of `length` letters, each with one site that lies whole in `within`.

    Classes take turns, so that they are equally frequent. The last class is none of the motifs: its decoys are sites of
    the motifs, in turn, whose letters were shuffled, each site for itself. So every sequence holds a site, and neither
    the number of letters nor how often each occurs tells the class.

    Args:
        within: first place that a site may take, and the place behind the last, counted from 0.

    >>> planted = plant(5, 60, (20, 45), torch.Generator().manual_seed(0))
    >>> planted.labels.tolist(), bool((planted.places >= 20).all())
    ([0, 1, 2, 3, 4], True)
    """
    letters = background(count, length, generator)
    labels = np.arange(count) % (len(motifs) + 1)
    turns = np.arange(count) // (len(motifs) + 1) % len(motifs)
    planted = np.where(labels < len(motifs), labels, turns)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
    widths = np.array([motif.width for motif in motifs])[planted]
    places = within[0] + (drawn * (within[1] - within[0] - widths + 1)).astype(np.int64)
    for number, motif in enumerate(motifs):
        rows = np.flatnonzero(planted == number)
        sites = motif.draw(len(rows), generator)
        order = torch.rand(sites.shape, generator=generator).argsort(1).numpy()
        decoys = labels[rows] == len(motifs)
        sites[decoys] = np.take_along_axis(sites, order, 1)[decoys]
        letters[rows[:, None], places[rows, None] + np.arange(motif.width)] = sites
    return Planted(letters, labels.astype(np.int64), planted.astype(np.int64), places)
