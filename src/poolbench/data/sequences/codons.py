"""Codons as *E. coli* uses them, of amino acids so frequent that a strand has no letters of its own.

Relative frequencies of the codons of each amino acid: *Escherichia coli* (taxonomy 316407), from the package
python-codon-tables 0.1.18 (Edinburgh Genome Foundry, CC0 1.0), which took them from the Codon Usage Database
(https://www.kazusa.or.jp/codon; Nakamura, Gojobori and Ikemura, Nucleic Acids Research 28, 2000, 292).
"""

import numpy as np
import torch

from poolbench.data.sequences.alphabet import LETTERS

# One amino acid a line, by its letter: its codons in hundredths. Stops (TAA, TAG, TGA) end a sequence: left out.
_USAGE = """
A GCA 21 GCC 27 GCG 36 GCT 16
C TGC 56 TGT 44
D GAC 37 GAT 63
E GAA 69 GAG 31
F TTC 43 TTT 57
G GGA 11 GGC 41 GGG 15 GGT 34
H CAC 43 CAT 57
I ATA 7 ATC 42 ATT 51
K AAA 76 AAG 24
L CTA 4 CTC 10 CTG 50 CTT 10 TTA 13 TTG 13
M ATG 100
N AAC 55 AAT 45
P CCA 19 CCC 12 CCG 53 CCT 16
Q CAA 35 CAG 65
R AGA 4 AGG 2 CGA 6 CGC 40 CGG 10 CGT 38
S AGC 28 AGT 15 TCA 12 TCC 15 TCG 15 TCT 15
T ACA 13 ACC 44 ACG 27 ACT 16
V GTA 15 GTC 22 GTG 37 GTT 26
W TGG 100
Y TAC 43 TAT 57
"""


def codon_usage() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the 61 codons, their letters as 0..3 (61, 3); the place of their amino acid (61,); their frequency in it.

    >>> codons, acids, usage = codon_usage()
    >>> codons.shape, int(acids.max()), np.bincount(acids, usage).round(9).tolist() == [1.0] * 20
    ((61, 3), 19, True)
    """
    codons, acids, usage = [], [], []
    for acid, line in enumerate(_USAGE.split("\n")[1:-1]):
        _, *cells = line.split()
        for codon, hundredths in zip(cells[::2], cells[1::2], strict=True):
            codons.append([LETTERS.index(letter) for letter in codon])
            acids.append(acid)
            usage.append(int(hundredths))
    shares = np.array(usage, np.float64)
    return np.array(codons), np.array(acids), shares / np.bincount(acids, shares)[acids]


def codon_frequencies() -> np.ndarray:
    """Return how frequent each of the 61 codons is, (61,).

    Within an amino acid they are as `codon_usage` says. Amino acids are as near to equally frequent as they can be if a
    sequence is to have as many A as T and as many C as G: their frequencies are `exp(a·x + b·y)`, x and y the mean
    surplus of A over T and of C over G of an amino acid's codons, with those a and b that make both vanish. A sequence
    and its reverse complement then have equal letters in the mean.

    >>> codons, frequencies = codon_usage()[0], codon_frequencies()
    >>> letters = np.bincount(codons.ravel(), frequencies.repeat(3))
    >>> bool(abs(letters - letters[::-1]).max() < 1e-9)
    True
    """
    codons, acids, usage = codon_usage()
    count = (codons[:, :, None] == np.arange(4)).sum(1)
    surplus = np.stack([count[:, 0] - count[:, 3], count[:, 1] - count[:, 2]], axis=1)
    mean = np.stack([np.bincount(acids, usage * surplus[:, kind]) for kind in (0, 1)], axis=1)
    tilt = np.zeros(2)
    for _ in range(50):  # Newton's method on a convex function of two numbers
        weights = np.exp(mean @ tilt)
        weights /= weights.sum()
        centre = weights @ mean
        spread = (mean - centre).T @ (weights[:, None] * (mean - centre))
        tilt -= np.linalg.solve(spread, centre)
    found: np.ndarray = weights[acids] * usage
    return found


def coding(count: int, length: int, generator: torch.Generator) -> np.ndarray:
    """Return `count` stretches of coding sequence of `length` letters, 0..3 as uint8, each begun anywhere in a codon.

    >>> coding(2, 9, torch.Generator().manual_seed(0)).shape
    (2, 9)
    """
    codons = codon_usage()[0]
    whole = -(-length // 3) + 1
    frequencies = torch.from_numpy(codon_frequencies())
    drawn = torch.multinomial(frequencies, count * whole, replacement=True, generator=generator).numpy()
    letters = codons[drawn].reshape(count, 3 * whole)
    begin = torch.randint(3, (count,), generator=generator).numpy()
    found: np.ndarray = letters[np.arange(count)[:, None], begin[:, None] + np.arange(length)].astype(np.uint8)
    return found
