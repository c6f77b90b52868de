"""Sequences of unequal lengths brought to one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from poolbench.data.sequences.files import Labelled
from poolbench.errors import DataError

CROPS = ("random", "centre")


@dataclass(frozen=True, eq=False)
class Fitted:
    """Sequences of one length.

    Args:
        levels: uint8 (N, 4, length).
        begins: where in its sequence each begins, int64 (N,); below 0: so many places were padded before it.
    """

    levels: np.ndarray
    begins: np.ndarray


def common_length(sequences: Sequence[Labelled], length: int | None, name: str) -> int:
    """Return `length`, or where it is None the one length that all sequences have.

    Raises:
        DataError: they differ and `length` does not say to which they are fitted.
    """
    if length is not None:
        return length
    lengths = sorted({one.levels.shape[1] for one in sequences})
    if len(lengths) > 1:
        odd = next(one for one in sequences if one.levels.shape[1] != sequences[0].levels.shape[1])
        raise DataError(
            f"{name}: sequences have {lengths[0]} to {lengths[-1]} letters, such as {odd.where} with "
            f"{odd.levels.shape[1]}; give the length that all are cut or padded to: dataset.image_size=[NUMBER]"
        )
    return lengths[0]


def fit_length(sequences: Sequence[Labelled], length: int, crop: str, generator: torch.Generator) -> Fitted:
    """Cut longer sequences to `length` letters, and pad shorter ones equally at both ends by places without a letter.

    Args:
        crop: `random` draws for each longer sequence where it is cut, once; `centre` keeps its middle. What is odd in a
            length goes to the end.
        generator: what `random` draws from.
    """
    lengths = np.array([one.levels.shape[1] for one in sequences])
    spare = lengths - length
    begins = np.floor_divide(spare, 2)
    if crop == "random":
        drawn = torch.rand(len(sequences), generator=generator, dtype=torch.float64).numpy()
        begins = np.where(spare > 0, (drawn * (spare + 1)).astype(np.int64), begins)
    begins = np.where(spare < 0, -((-spare) // 2), begins)
    fitted = np.zeros((len(sequences), 4, length), np.uint8)
    for row, one, begin in zip(fitted, sequences, begins.tolist(), strict=True):
        kept = one.levels[:, max(begin, 0) : max(begin, 0) + length]
        row[:, max(-begin, 0) : max(-begin, 0) + kept.shape[1]] = kept
    return Fitted(fitted, begins.astype(np.int64))
