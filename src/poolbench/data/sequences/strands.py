"""Stretches of coding sequence shown as they are or as their reverse complement, so that letters alone do not tell."""

from dataclasses import dataclass

import numpy as np
import torch

CLASS_NAMES = ("coding strand", "reverse complement")
# Stretches of equal surplus, in bins of so many letters, and of equal share of A and T, in so many bins, are matched.
SURPLUS_BIN, SHARE_BINS = 3, 5


@dataclass(frozen=True, eq=False)
class Shown:
    """Stretches with the strand that is shown.

    Args:
        letters: 0..3 as uint8 (N, L).
        labels: 0 the coding strand, 1 its reverse complement, int64 (N,).
    """

    letters: np.ndarray
    labels: np.ndarray


def reverse_complement(letters: np.ndarray) -> np.ndarray:
    """Return the other strand of sequences (N, L), letters 0..3 in the order A, C, G, T, read in its own direction.

    >>> reverse_complement(np.array([[0, 0, 1]])).tolist()
    [[2, 3, 3]]
    """
    return 3 - letters[:, ::-1]


def show(letters: np.ndarray, generator: torch.Generator) -> Shown:
    """Return those stretches that can be matched, in random order, half of them as their reverse complement.

    The reverse complement has A for T and C for G: it has the surplus of A over T, and of C over G, with the other
    sign. Stretches are sorted by both surpluses and by their share of A and T, into bins; of each bin and the one with
    the other signs equally many are kept, and half of each are turned. So within every bin both classes are equally
    frequent, and a bin tells nothing of the class.

    >>> letters = torch.randint(4, (400, 30), generator=torch.Generator().manual_seed(0)).numpy().astype(np.uint8)
    >>> shown = show(letters, torch.Generator().manual_seed(1))
    >>> bool(shown.labels.mean() == 0.5), len(shown.labels) > 200
    (True, True)
    """
    order = torch.randperm(len(letters), generator=generator).numpy()
    bins: dict[tuple[int, ...], list[int]] = {}
    for row, key in zip(order, _bins(letters[order]), strict=True):
        bins.setdefault(tuple(key), []).append(int(row))
    rows, turned = list[int](), list[bool]()
    for (first, second, share), members in bins.items():
        others = bins.get((-first, -second, share), [])
        kept = min(len(members), len(others)) // 2 * 2
        rows += members[:kept]
        turned += [place % 2 == 1 for place in range(kept)]
    mixed = torch.randperm(len(rows), generator=generator).numpy()
    chosen, labels = np.array(rows, np.int64)[mixed], np.array(turned, bool)[mixed]
    found = letters[chosen]
    found[labels] = reverse_complement(found[labels])
    return Shown(found, labels.astype(np.int64))


def _bins(letters: np.ndarray) -> list[list[int]]:
    """Return the bin of each stretch: both surpluses, symmetric about 0, and the share of A and T."""
    counts = (letters[:, :, None] == np.arange(4)).sum(1)
    surplus = np.stack([counts[:, 0] - counts[:, 3], counts[:, 1] - counts[:, 2]], axis=1)
    binned = np.sign(surplus) * ((np.abs(surplus) + SURPLUS_BIN // 2) // SURPLUS_BIN)
    share = (counts[:, 0] + counts[:, 3]) * SHARE_BINS // (letters.shape[1] + 1)
    keys: list[list[int]] = np.concatenate([binned, share[:, None]], axis=1).tolist()
    return keys
