"""DNA letters as levels of four channels."""

from collections.abc import Iterable

import numpy as np

LETTERS = "ACGT"
# What each letter stands for: the nomenclature for incompletely specified bases (Cornish-Bowden, Nucleic Acids Research
# 13, 1985, 3021-3030); U is T.
STANDS_FOR = {
    "A": "A", "C": "C", "G": "G", "T": "T", "U": "T",
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip


def _levels() -> np.ndarray:
    """Return the four levels of each byte, uint8 (256, 4); zeros of what is no letter."""
    levels = np.zeros((256, 4), np.uint8)
    for letter, bases in STANDS_FOR.items():
        for base in bases:
            for byte in (ord(letter), ord(letter.lower())):
                levels[byte, LETTERS.index(base)] = round(255 / len(bases))
    return levels


LEVELS = _levels()


def encode(text: str) -> np.ndarray:
    """Return a sequence as levels, uint8 (4, L): 255 in the channel of its letter, in the order A, C, G, T.

    An ambiguous letter has equal parts in the channels of what it stands for: N has 64 in all four. Lower case counts
    as upper case.

    Raises:
        ValueError: a character is no letter of DNA; which, and where (counted from 1).

    >>> encode("ACN").tolist()
    [[255, 0, 64], [0, 255, 64], [0, 0, 64], [0, 0, 64]]
    """
    try:
        written = np.frombuffer(text.encode("ascii"), np.uint8)
    except UnicodeEncodeError as error:
        raise ValueError(f"{text[error.start]!r} at place {error.start + 1} is no letter of DNA") from None
    levels = LEVELS[written]
    strange = np.flatnonzero(~levels.any(1))
    if len(strange):
        place = int(strange[0])
        raise ValueError(f"{text[place]!r} at place {place + 1} is no letter of DNA")
    return np.ascontiguousarray(levels.T)


def ambiguous_letters(text: str) -> int:
    """Return how many letters stand for more than one base.

    >>> ambiguous_letters("ACNNTr")
    3
    """
    return len(text) - sum(text.upper().count(letter) for letter in "ACGTU")


def one_hot(letters_NL: np.ndarray) -> np.ndarray:
    """Return letters, 0..3 (N, L), as levels, uint8 (N, 4, L).

    >>> one_hot(np.array([[0, 3]])).tolist()
    [[[255, 0], [0, 0], [0, 0], [0, 255]]]
    """
    return (letters_NL[:, None, :] == np.arange(4)[:, None]).astype(np.uint8) * np.uint8(255)


def spell(letters: Iterable[int]) -> str:
    """Return letters, 0..3, as text.

    >>> spell([0, 1, 2, 3])
    'ACGT'
    """
    return "".join(LETTERS[letter] for letter in letters)
