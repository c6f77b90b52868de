"""How panels are laid out, and how much room their words take.

By hand, in inches from the figure's top left corner, from the measured widths of their words: an automatic layout of
two dozen panels takes longer than drawing them.
"""

import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from poolbench.report.figures.style import INK, PALE
from poolbench.report.reading.arms import Arm, Block
from poolbench.report.text.values import figure_text

# A line a variant cannot be read beyond this in one panel, nor beyond so many in one figure; the tables hold all.
MOST_ARMS = 60
MOST_ROWS = 240
MOST_PANELS = 8
# Where a block takes large panels of its own.
MOST_BLOCKS = 4
LABEL_WIDTH = 26
LINE_INCH = 0.3
TEXT_INCH = 0.155
EDGE_INCH = 0.12
# What a name's second line adds to its row.
FURTHER_LINE = 0.56
NAME_GAP_INCH = 0.1
# Ticks, the axis' name, and air before the next panel.
X_INCH = 0.75
# Beside long names a panel is made as wide as this, and the figure wider.
LEAST_PANEL_INCH = 2.8


def label(variant: str) -> str:
    """Return a variant's name, long ones broken before their settings, at commas and at dots.

    >>> label("avg_topk[k=3]"), label("min[alpha=1,protocol.optimizer.weight_decay=0.0005]")
    ('avg_topk[k=3]', 'min\\n[alpha=1, protocol.optimizer.\\nweight_decay=0.0005]')
    """
    if len(variant) <= LABEL_WIDTH:
        return variant
    name, bracket, rest = variant.partition("[")
    lines = [name, ""] if bracket else [""]
    # Settings part at commas, and within their names at dots; what is longer still, anywhere.
    for piece in re.split(r"(?<=,)|(?<=[a-z_]\.)", bracket + rest if bracket else name):
        for word in textwrap.wrap(piece, LABEL_WIDTH + 8):
            space = " " if lines[-1].endswith(",") else ""
            if len(lines[-1] + space + word) > LABEL_WIDTH + 8:
                lines.append(word)
            else:
                lines[-1] += space + word
    return "\n".join(line for line in lines if line)


def lines_of(text: str) -> int:
    """Return how many lines a text has."""
    return text.count("\n") + 1


def row_positions(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the height of each label's row, in rows of a name of one line.

    >>> middle, height = row_positions(["max", "avg_topk\\n[k=3]"])
    >>> middle.tolist(), height.tolist()
    ([0.5, 1.78], [1.0, 1.56])
    """
    heights = np.array([1 + (lines_of(text) - 1) * FURTHER_LINE for text in labels])
    return np.cumsum(heights) - heights / 2, heights


def rows_inch(labels: Sequence[str]) -> float:
    """Return the height in inches of all rows together."""
    return float(row_positions(labels)[1].sum()) * LINE_INCH


def text_width(text: str, size: float = 9, *, bold: bool = False) -> float:
    """Return the width in inches of the widest line of a text."""
    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    widths = [text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.split("\n")]
    # A renderer rounds to whole pixels, so leave it a little.
    return max(widths) / 72 * 1.02


def wrapped(text: str, inches: float, size: float = 9) -> str:
    """Return a text broken into lines of at most so many inches, at spaces; a longer word anywhere.

    The settings in a name, `slides[width=8,depth=2]`, are words of their own.
    """
    text = re.sub(r",(?=[A-Za-z_])", ", ", text)
    characters = max(8, int(len(text) * inches / max(text_width(text, size), 0.01)))
    broken = "\n".join(textwrap.wrap(text, characters, break_on_hyphens=False))
    while text_width(broken, size) > inches and characters > 8:
        characters -= 1
        broken = "\n".join(textwrap.wrap(text, characters, break_on_hyphens=False))
    return broken


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return axes at so many inches from the figure's left and top edge."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def write(figure: Figure, left: float, top: float, text: str, **options: Any) -> None:
    """Write a text so many inches from the figure's left and top edge, its own top left corner there."""
    across, down = figure.get_size_inches()
    figure.text(left / across, 1 - top / down, text, **({"ha": "left", "va": "top"} | options))


def name_rows(axes: Axes, labels: Sequence[str], strong: Sequence[bool]) -> None:
    """Name the rows of a panel from the top down, some of them bold, and set the axis so that they fit."""
    positions, heights = row_positions(labels)
    axes.set_yticks([])
    axes.set_ylim(heights.sum(), 0)
    # A text each: a tick is five artists, of which four would be invisible.
    for text, y, bold in zip(labels, positions, strong, strict=True):
        row_text(axes, -NAME_GAP_INCH, y, text, ha="right", fontweight="bold" if bold else "normal")


def row_panels(
    titles: Sequence[str],
    labels: Sequence[Sequence[str]],
    *,
    width: float,
    beside: float,
    foot: "Callable[[float], Foot]",
) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels with a row for each label, two panels abreast, and their axes, rows still unnamed.

    Args:
        titles: of the panels; broken where they are too long.
        labels: of each panel's rows, one name at least.
        width: of a panel in inches, with its names but without what stands beside it.
        beside: room in inches right of each panel.
        foot: takes the figure's width and returns what stands under the panels.
    """
    abreast = 1 if len(titles) == 1 else 2
    # A row's panels are equally high, a column's begin under one another.
    names = [
        max(text_width(text, bold=True) for own in labels[place::abreast] for text in own) + NAME_GAP_INCH
        for place in range(abreast)
    ]
    width = max(width, max(names) + LEAST_PANEL_INCH)
    across = width + beside
    broken = [wrapped(text, across - names[i % abreast] - 0.1, 10) for i, text in enumerate(titles)]
    heights = [rows_inch(own) for own in labels]
    rows = range(0, len(titles), abreast)
    tops = [max(lines_of(text) for text in broken[i : i + abreast]) * (TEXT_INCH + 0.02) + 0.07 for i in rows]
    downs = [max(heights[i : i + abreast]) + X_INCH for i in rows]
    total = across * abreast + EDGE_INCH
    under = foot(total)
    figure = Figure(figsize=(total, EDGE_INCH + sum(tops) + sum(downs) + under.height))
    top, every = EDGE_INCH, []
    for row, title_inch, down in zip(rows, tops, downs, strict=True):
        for place, index in enumerate(range(row, min(row + abreast, len(titles)))):
            left = EDGE_INCH + place * across + names[place]
            write(figure, left, top, broken[index], fontsize=10)
            every.append(panel(figure, left, top + title_inch, width - names[place], heights[index]))
        top += title_inch + down
    under.draw(figure)
    return figure, every


def row_text(axes: Axes, inches: float, y: float, text: str, **options: Any) -> None:
    """Write beside a panel, so many inches right of its left edge, in the row at `y`."""
    axes.annotate(
        text,
        xy=(0, y),
        xycoords=("axes fraction", "data"),
        xytext=(inches * 72, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
        **options,
    )


def panel_width(axes: Axes) -> float:
    """Return a panel's width in inches."""
    return float(axes.get_position().width * axes.get_figure().get_size_inches()[0])  # type: ignore[union-attr]


def name_axes(axes: Axes, x: str, y: str = "", y_inch: float = 0.42) -> None:
    """Name a panel's axes, at fixed distances: where ticks would have to be measured first, drawing takes longer.

    `y_inch` is from the panel to its y axis' name: more than its ticks are wide.
    """
    width, height = axes.get_position().size * axes.get_figure().get_size_inches()  # type: ignore[union-attr]
    axes.set_xlabel(x)
    axes.xaxis.set_label_coords(0.5, -0.29 / height)
    if y:
        axes.set_ylabel(y)
        axes.yaxis.set_label_coords(-y_inch / width, 0.5)


def rules(axes: Axes, axis: Any = "x") -> None:
    """Draw faint lines behind a panel, at the ticks of an axis."""
    axes.grid(axis=axis, color=PALE, linewidth=0.7)
    axes.set_axisbelow(True)


def plain_ticks(axes: Axes, axis: str, most: int = 4, *, whole: bool = False) -> None:
    """Give an axis few round ticks, written in full: no offset and no exponent stands apart from the figures."""
    which = axes.xaxis if axis == "x" else axes.yaxis
    which.set_major_locator(MaxNLocator(most, integer=whole, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2))
    which.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "−")))


def plain_log_ticks(axes: Axes, axis: str) -> None:
    """Give a logarithmic axis ticks at powers of ten, and at their doubles and fives where it spans few of them."""
    which = axes.xaxis if axis == "x" else axes.yaxis
    low, high = sorted(axes.get_xlim() if axis == "x" else axes.get_ylim())
    which.set_major_locator(LogLocator(subs=(1.0,) if high >= 100 * low else (1.0, 2.0, 5.0)))
    which.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    which.set_minor_formatter(NullFormatter())


def limits(*found: Any, air: float = 0.08, least: float = 1e-9) -> tuple[float, float]:
    """Return an axis' ends around all finite figures, with air of a share of their span and at least `least`.

    >>> limits([1.0, 3.0, float("nan")], air=0.5)
    (0.0, 4.0)
    """
    flat = np.concatenate([[], *(np.ravel(np.asarray(figure, dtype=float)) for figure in found)])
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return 0.0, 1.0
    low, high = float(flat.min()), float(flat.max())
    room = max(air * (high - low), least)
    return low - room, high + room


def scaled(most: float, *, binary: bool = False) -> tuple[float, str]:
    """Return the divisor and the prefix that make a figure readable.

    >>> scaled(212_906), scaled(3 * 2**20, binary=True)
    ((1000.0, 'k'), (1048576.0, 'Mi'))
    """
    base = 1024.0 if binary else 1000.0
    prefixes = ("", "Ki", "Mi", "Gi", "Ti") if binary else ("", "k", "M", "G", "T")
    power = 0
    while power < len(prefixes) - 1 and most >= base ** (power + 1):
        power += 1
    return base**power, prefixes[power]


def short(value: float) -> str:
    """Return a figure with three significant digits; a zero is `0`.

    >>> short(0.0), short(1.1221), short(212.906)
    ('0', '1.12', '213')
    """
    return figure_text(value) if value else "0"


class Foot:
    """What stands under the panels: a legend and sentences, their height known before there is a figure.

    Args:
        handles: the legend's entries; their labels may have several lines.
        notes: sentences under it; empty ones are left out.
        width: of the figure, in inches.
    """

    def __init__(self, handles: Sequence[Artist], notes: Sequence[str], width: float) -> None:
        self.notes = [wrapped(note, width - 2 * EDGE_INCH, 8) for note in notes if note]
        labels = [str(handle.get_label()) for handle in handles]
        entry = max((text_width(text) for text in labels), default=1.0) + 0.72
        self.columns = max(1, min(len(labels), int((width - 2 * EDGE_INCH) / entry)))
        # Matplotlib fills column by column, a reader reads line by line.
        self.handles = [handle for first in range(self.columns) for handle in handles[first :: self.columns]]
        inches = [lines_of(text) * TEXT_INCH + 0.055 for text in labels]
        self.legend_inch = max(sum(inches[first :: self.columns]) for first in range(self.columns)) + 0.1 * bool(labels)
        self.notes_inch = sum(lines_of(note) for note in self.notes) * 0.145
        self.height = self.legend_inch + self.notes_inch + EDGE_INCH

    def draw(self, figure: Figure) -> None:
        """Draw it at the figure's lower edge."""
        height = float(figure.get_size_inches()[1])
        if self.handles:
            figure.legend(
                handles=self.handles,
                loc="upper center",
                bbox_to_anchor=(0.5, self.height / height),
                borderaxespad=0,
                ncols=self.columns,
                frameon=False,
                handletextpad=0.5,
                handlelength=2.6,
            )
        top = height - self.notes_inch - EDGE_INCH / 2
        for note in self.notes:
            write(figure, EDGE_INCH, top, note, fontsize=8, color=INK, linespacing=1.1)
            top += lines_of(note) * 0.145


def capped(
    found: Sequence[tuple[Block, Sequence[Arm]]], *, arms: int = MOST_ARMS, panels: int = MOST_PANELS
) -> tuple[list[tuple[Block, list[Arm]]], str]:
    """Return what a figure has room for, and the sentence that says what it leaves out.

    Of each block the first `arms`; of the blocks at most `panels`, and as many as give `MOST_ROWS` arms.
    """
    shown: list[tuple[Block, list[Arm]]] = []
    room = MOST_ROWS
    for block, members in found[:panels]:
        drawn = list(members[:arms])
        room -= len(drawn)
        if shown and room < 0:
            break
        shown.append((block, drawn))
    arms_out = sum(len(members) for _, members in found[: len(shown)]) - sum(len(drawn) for _, drawn in shown)
    return shown, left_out(len(found) - len(shown), arms_out)


def left_out(blocks: int, arms: int = 0) -> str:
    """Return the sentence that says what a figure does not show, empty where it shows all.

    >>> left_out(2, 1)
    'Not drawn: 2 further blocks, 1 further variant in the panels above; the tables hold all.'
    """
    parts = [f"{blocks} further block{'s' * (blocks != 1)}"] if blocks else []
    parts += [f"{arms} further variant{'s' * (arms != 1)} in the panels above"] if arms else []
    return f"Not drawn: {', '.join(parts)}; the tables hold all." if parts else ""


def column(rows: Sequence[Mapping[str, Any]], name: str, scale: float = 1.0) -> np.ndarray:
    """Return a column of some rows of a table as numbers, NaN where it is empty."""
    return np.array([as_number(row.get(name)) for row in rows], dtype=float) * scale


def as_number(value: Any) -> float:
    """Return a cell of a table as a number, NaN where it is empty."""
    try:
        return float(value)
    except (TypeError, ValueError):
        # pandas' own empty cell of a column of whole numbers is no float.
        return math.nan
