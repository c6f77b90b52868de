"""How a variant looks wherever it appears, in figures and on the page: colour, shape, filling, dashes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from poolbench.report.reading.arms import Arm, Block
from poolbench.report.reading.scores import gain

GREY = "#767676"
# Okabe and Ito's colours for every kind of colour vision, without the yellow, which white paper swallows.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
# Shapes × fillings that a reader tells apart in grey.
MOST_MARKS = 23


@dataclass(frozen=True)
class Mark:
    """How a variant is drawn; shapes and dashes as matplotlib names them."""

    shape: str
    colour: str
    filled: bool = True
    dashes: Any = "-"

    @property
    def face(self) -> str:
        """The colour inside the shape."""
        return self.colour if self.filled else "white"


REFERENCE = Mark("s", "#000000")
OTHER = Mark(".", GREY)
_SHAPES = ("o", "^", "D", "v", "X", "P", "<", "p", ">", "h", "*")
_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
_DASHES = ((0, (5, 1.5)), "-", (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))


def marks(blocks: Sequence[Block]) -> dict[str, Mark]:
    """Return how each variant of a report is drawn: references black squares, the others different.

    Asked of all blocks of a report, so that a variant looks the same in every figure. At most `MOST_MARKS` variants can
    be distinguished: of more, the best are, and the rest are `OTHER`.
    """
    arms = [arm for block in blocks for arm in block.arms if arm.finished]
    references = dict.fromkeys(arm.variant for arm in arms if arm.is_reference)
    others = [name for name in dict.fromkeys(arm.variant for arm in arms) if name not in references]
    if len(others) >= MOST_MARKS:
        others = [name for name in best_first(blocks) if name not in references]
    found = dict.fromkeys(references, REFERENCE)
    for index, name in enumerate(others):
        found[name] = mark(index) if index < MOST_MARKS - 1 else OTHER
    return found


def best_first(blocks: Sequence[Block]) -> list[str]:
    """Return a report's variants in the order of figures: references, then by their mean rank over the blocks.

    A rank is the share of a block's arms with a better mean test score.
    """
    shares: dict[str, list[float]] = {}
    references = set()
    for block in blocks:
        finished = [arm for arm in block.arms if arm.finished]
        means = [_mean(arm) for arm in finished]
        for arm, mean in zip(finished, means, strict=True):
            shares.setdefault(arm.variant, []).append(sum(other > mean for other in means) / len(means))
            references |= {arm.variant} if arm.is_reference else set()
    return sorted(shares, key=lambda name: (name not in references, fmean(shares[name])))


def _mean(arm: Arm) -> float:
    """Return the mean test score of an arm's seeds, turned so that more is better; −∞ where none is known."""
    found = [gain(record) for record in arm.finished.values()]
    known = [value for value in found if math.isfinite(value)]
    return sum(known) / len(known) if known else -math.inf


def mark(index: int) -> Mark:
    """Return the mark of the variant with this number."""
    # Eleven shapes and six colours meet again after 66, eleven shapes and two fillings after 22.
    filled = (index // len(_SHAPES)) % 2 == 0
    return Mark(_SHAPES[index % len(_SHAPES)], _COLOURS[index % len(_COLOURS)], filled, _DASHES[index % len(_DASHES)])


def colours(blocks: Sequence[Block]) -> Mapping[str, str]:
    """Return each variant's colour; a reference has "", the colour of the ink that a page has."""
    return {name: "" if found is REFERENCE else found.colour for name, found in marks(blocks).items()}
