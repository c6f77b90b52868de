"""How a variant is drawn wherever it appears in a figure: shape, colour, filling, dashes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import IdentityTransform

from poolbench.report.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from poolbench.report.reading.arms import Block

# Shapes × fillings that a reader tells apart in grey.
MOST_MARKS = 23


@dataclass(frozen=True)
class Mark:
    """How a variant is drawn wherever it appears in a figure."""

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


def marks(blocks: Sequence[Block], first: Iterable[str] = ()) -> dict[str, Mark]:
    """Return how each variant is drawn, the same in all blocks: references black squares, the others told apart.

    At most `MOST_MARKS` variants can be told apart; those in `first` come before the rest, which are `OTHER`.
    """
    arms = [arm for block in blocks for arm in block.arms if arm.finished]
    references = dict.fromkeys(arm.variant for arm in arms if arm.is_reference)
    others = [name for name in dict.fromkeys(arm.variant for arm in arms) if name not in references]
    wanted = set(first) if len(others) >= MOST_MARKS else set()
    found = dict.fromkeys(references, REFERENCE)
    ordered = sorted(others, key=lambda name: name not in wanted)
    for index, name in enumerate(ordered):
        found[name] = _mark(index) if index < MOST_MARKS - 1 else OTHER
    return found


def _mark(index: int) -> Mark:
    # Eleven shapes and six colours meet again after 66, eleven shapes and two fillings after 22.
    filled = (index // len(_SHAPES)) % 2 == 0
    return Mark(_SHAPES[index % len(_SHAPES)], _COLOURS[index % len(_COLOURS)], filled, _DASHES[index % len(_DASHES)])


def draw_marks(axes: Axes, x: np.ndarray, y: np.ndarray, drawn: Sequence[Mark], *, size: float = 7.5) -> None:
    """Draw marks at points, the references larger, so that their square looks out from under what lies on it.

    One artist for all of them, drawn in order: a panel with an artist a point takes several times as long.
    """
    paths, faces, edges, widths, sizes = [], [], [], [], []
    for mark in drawn:
        shape = MarkerStyle(mark.shape)
        paths.append(shape.get_path().transformed(shape.get_transform()))
        faces.append(mark.face)
        edges.append("white" if mark.filled else mark.colour)
        widths.append(0.6 if mark.filled else 1.3)
        # A ring's line lies half outside it.
        sizes.append((size + 2 * (mark is REFERENCE) - 1.3 * (not mark.filled)) ** 2)
    points = PathCollection(
        paths,
        sizes=sizes,
        offsets=np.column_stack([x, y]),
        offset_transform=axes.transData,
        facecolors=faces,
        edgecolors=edges,
        linewidths=widths,
        zorder=4,
    )
    # The shapes are in points, only where they stand is in the axes' figures.
    points.set_transform(IdentityTransform())
    axes.add_collection(points, autolim=False)


def mark_handle(mark: Mark, text: str, *, line: bool = False) -> Line2D:
    """Return a legend's entry for a mark."""
    return Line2D(
        [],
        [],
        linestyle=mark.dashes if line else "",
        linewidth=1.6,
        color=mark.colour,
        marker=mark.shape,
        markersize=6,
        markerfacecolor=mark.face,
        markeredgecolor=mark.colour,
        label=text,
    )
