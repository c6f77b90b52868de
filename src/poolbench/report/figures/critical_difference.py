"""Which arms differ over data sets: average ranks on a line, bars over those that are not distinguished.

The diagram of J. Demšar 2006, Statistical comparisons of classifiers over multiple data sets, JMLR 7:1–30, figure 1: an
axis of average ranks, an elbow from each arm's rank to its name, the critical difference as a bar of its length, and a
thick bar under each group of arms that Friedman's and Nemenyi's tests do not tell apart. Here the best is on the left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poolbench.report.figures.panels import EDGE_INCH, TEXT_INCH, Foot, lines_of, panel, text_width, wrapped, write
from poolbench.report.figures.style import INK
from poolbench.report.looks import GREY
from poolbench.report.statistics.across import Across
from poolbench.report.text.values import p_equals_text

AXIS_WIDTH_INCH = 4.2
LABEL_INCH = 2.4
# From the figure's top: the bar of the critical difference, and the axis.
BAR_INCH, AXIS_INCH = 0.64, 1.0
CLIQUE_INCH = 0.11
ROW_INCH = 0.075
GAP_INCH = 0.07
MOST_TICKS = 13


@dataclass(frozen=True)
class _Name:
    """An arm's name beside the diagram: at the left or right, at which height, in inches from the figure's top."""

    place: int
    text: str
    left: bool
    y: float


def draw(across: Across) -> Figure | None:
    """Return the figure; None where Friedman's and Nemenyi's tests were left out."""
    if across.friedman is None or math.isnan(across.critical_difference):
        return None
    ranks = across.average_ranks
    labels = [_label(name, rank) for name, rank in zip(across.variants, ranks, strict=True)]
    bars = _levels(across.cliques)
    top = AXIS_INCH + 0.16 + CLIQUE_INCH * (max(bars, default=-1) + 1)
    names = _names(labels, top)
    k = len(ranks)
    strong = set(across.reference.split("; "))
    bold = [name in strong for name in across.variants]
    widths = [text_width(text, bold=heavy) for text, heavy in zip(labels, bold, strict=True)]
    margins = [
        EDGE_INCH + GAP_INCH + max((widths[name.place] for name in names if name.left is left), default=0.0) + 0.15
        for left in (True, False)
    ]
    width = margins[0] + AXIS_WIDTH_INCH + margins[1]
    foot = Foot([], [_note(across)], width)
    bottom = max(name.y + lines_of(name.text) * TEXT_INCH / 2 for name in names) + 0.1
    figure = Figure(figsize=(width, bottom + foot.height))
    axes = panel(figure, 0, 0, width, bottom)
    axes.set(xlim=(0, width), ylim=(bottom, 0))
    axes.set_axis_off()

    def x(rank: float) -> float:
        return margins[0] + (rank - 1) / (k - 1) * AXIS_WIDTH_INCH

    n = len(across.datasets)
    write(figure, EDGE_INCH, 0.1, f"Average rank over {n} data sets, 1 is best", fontsize=10)
    _scale(axes, [x(rank) for rank in range(1, k + 1)])
    _difference(axes, x(1), x(1 + across.critical_difference), across.critical_difference)
    for clique, level in zip(across.cliques, bars, strict=True):
        y = AXIS_INCH + 0.12 + CLIQUE_INCH * level
        # A little beyond the ranks, so that a group of two equal ranks can be seen.
        ends = (x(ranks[clique[0]]) - 0.05, x(ranks[clique[-1]]) + 0.05)
        axes.plot(ends, (y, y), color=INK, linewidth=3.5, solid_capstyle="butt", zorder=3)
    for name in names:
        at, edge = x(ranks[name.place]), margins[0] - 0.15 if name.left else width - margins[1] + 0.15
        axes.plot((at, at, edge), (AXIS_INCH, name.y, name.y), color=GREY, linewidth=0.9, zorder=2)
        axes.text(
            edge - GAP_INCH if name.left else edge + GAP_INCH,
            name.y,
            name.text,
            ha="right" if name.left else "left",
            va="center",
            fontweight="bold" if bold[name.place] else "normal",
        )
    foot.draw(figure)
    return figure


def _label(name: str, rank: float) -> str:
    """Return a name with its rank, long ones in several lines."""
    return wrapped(f"{name}  {rank:.2f}", LABEL_INCH)


def _names(labels: Sequence[str], top: float) -> list[_Name]:
    """Return where the names go: the better half at the left, the rest at the right, so that no two elbows cross."""
    half = math.ceil(len(labels) / 2)
    names = []
    for places, left in ((range(half), True), (range(len(labels) - 1, half - 1, -1), False)):
        y = top
        for place in places:
            height = lines_of(labels[place]) * TEXT_INCH + ROW_INCH
            names.append(_Name(place, labels[place], left, y + height / 2))
            y += height
    return names


def _levels(cliques: Sequence[Sequence[int]]) -> list[int]:
    """Return the row of each clique's bar, so that bars in one row do not touch.

    >>> _levels([(0, 1, 2), (2, 3), (4, 5)])
    [0, 1, 0]
    """
    ends: list[int] = []
    levels = []
    for clique in cliques:
        level = next((at for at, end in enumerate(ends) if end < clique[0]), len(ends))
        ends[level : level + 1] = [clique[-1]]
        levels.append(level)
    return levels


def _scale(axes: Axes, places: Sequence[float]) -> None:
    """Draw the axis of ranks, a tick a whole rank, or every few where there are many."""
    axes.plot((places[0], places[-1]), (AXIS_INCH, AXIS_INCH), color=INK, linewidth=1.1, zorder=4)
    last = len(places) - 1
    every = math.ceil(len(places) / MOST_TICKS)
    ticks = [*range(0, last - every // 2, every), last]
    for tick in ticks:
        axes.plot((places[tick],) * 2, (AXIS_INCH - 0.07, AXIS_INCH), color=INK, linewidth=1.1, zorder=4)
        axes.text(places[tick], AXIS_INCH - 0.1, str(tick + 1), ha="center", va="bottom")


def _difference(axes: Axes, start: float, end: float, value: float) -> None:
    """Draw a bar as long as the critical difference, its length written over it."""
    axes.plot((start, end), (BAR_INCH, BAR_INCH), color=INK, linewidth=1.6, zorder=4)
    for at in (start, end):
        axes.plot((at, at), (BAR_INCH - 0.05, BAR_INCH + 0.05), color=INK, linewidth=1.6, zorder=4)
    axes.text(start, BAR_INCH - 0.09, f"critical difference {value:.2f}", ha="left", va="bottom")


def _note(across: Across) -> str:
    assert across.friedman is not None
    found = across.friedman
    p = p_equals_text(found.p)
    if not found.rejects:
        return (
            f"Friedman's test shows no difference ({p}), so no two variants are distinguished, whatever their distance."
        )
    return (
        f"Friedman's test: they differ ({p}). Arms under one bar are not distinguished by Nemenyi's test at level "
        "0.05; that is no proof that they are equal."
    )
