"""Motifs to plant: position frequency matrices of four transcription factors.

From JASPAR CORE, vertebrates (https://jaspar.elixir.no, CC BY 4.0; Rauluseviciute et al., Nucleic Acids Research 52,
2024, D174-D182), equal in its releases of 2024 and 2026. Chosen for being long and unlike each other.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class Motif:
    """What a factor binds to.

    Args:
        accession: of the matrix in JASPAR, with its version.
        name: of the factor.
        counts: how many binding sites have each letter at each place, (4, width), rows A, C, G, T.
    """

    accession: str
    name: str
    counts: np.ndarray

    @property
    def width(self) -> int:
        """Number of places."""
        return self.counts.shape[1]

    def frequencies(self) -> np.ndarray:
        """Return the frequency of each letter at each place, (4, width): columns sum to 1."""
        return self.counts / self.counts.sum(0)

    def draw(self, count: int, generator: torch.Generator) -> np.ndarray:
        """Return binding sites, uint8 (count, width), each letter 0..3 drawn by the frequencies of its place."""
        cumulated = np.cumsum(self.frequencies(), 0)[:3]
        drawn = torch.rand((count, self.width), generator=generator, dtype=torch.float64).numpy()
        return (drawn[:, None, :] >= cumulated).sum(1).astype(np.uint8)


def _motif(accession: str, name: str, rows: str) -> Motif:
    return Motif(accession, name, np.array([row.split() for row in rows.strip().splitlines()], np.int64))


MOTIFS = (
    _motif(
        "MA0139.1",
        "CTCF",
        """
         87 167 281  56   8 744  40 107 851   5 333  54  12  56 104 372  82 117 402
        291 145  49 800 903  13 528 433  11   0   3  12   0   8 733  13 482 322 181
         76 414 449  21   0  65 334  48  32 903 566 504 890 775   5 507 307  73 266
        459 187 134  36   2  91  11 324  18   3   9 341   8  71  67  17  37 396  59
        """,
    ),
    _motif(
        "MA0138.2",
        "REST",
        """
        211   58   76 1452   34 122 1575    3   35 913 219   39   20 1406   13 1574   42  205 366 213  179
        174  269 1366   30   44 978    7 1586 1481 201 375    7    5  112 1280    9   13 1007  31 933 1114
        366  146   50   94 1516 323   12   12   20 162 124 1551 1577   34  233    7 1530  183 688 319   37
        840 1124  105   26   10 182   12    5   70 329 886    7    2   51   74   10    9  198 507 125  260
        """,
    ),
    _motif(
        "MA0112.3",
        "ESR1",
        """
        232 402   0   2   0   1 471 108 127 235   0   2 491   0  15   0  35
         65   6   0   0   0 452   0 338 223  88  23   0   1 460 455 143  68
        101 206 623 638   3   0  30  53 340 284   1 632   1   2   0   7 209
         88   0  34   0 549   2   0  23  65  13 510   0   0   0   0 502 204
        """,
    ),
    _motif(
        "MA0083.3",
        "SRF",
        """
         214   75 627    0    3 1137   54 1163    1 1162  439    8    8 262  337 913
         125  152 611 1771 1787   13    0    0    5    0   12    9    2 105 1023  63
          80 1144 144   15   11   18    6    2    8    0    0 1896 1872 670  145  98
        1129  372 167    0   19   61 1571    0 1610   16 1074    0    7 686   72 248
        """,
    ),
)
