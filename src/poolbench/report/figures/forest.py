"""The verdicts: a line an arm, with its difference to the reference, its intervals and the margin; a panel a block.

Where there are several blocks the first panel is of their mean. Within one arm the intervals nest: the thick pale bar
is the arm's own 95 % interval, the thin line with ends is the one at the level at which Holm's procedure decides the
arm: clear of 0, it is a difference. A tie has a third, thick one: that of the two one-sided tests, inside the
grey band of the margin. The mark's shape repeats the verdict's word.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from poolbench.report.content import Content
from poolbench.report.figures.marks import draw_marks, mark_handle
from poolbench.report.figures.panels import (
    MOST_ARMS,
    MOST_PANELS,
    Foot,
    capped,
    column,
    label,
    limits,
    name_axes,
    name_rows,
    panel_width,
    plain_ticks,
    row_panels,
    row_positions,
    row_text,
    rules,
    text_width,
)
from poolbench.report.figures.style import INK, LIGHT
from poolbench.report.looks import GREY, Mark, best_first, marks
from poolbench.report.reading.arms import Arm, Block
from poolbench.report.statistics.verdicts import TIE
from poolbench.report.text import over_blocks
from poolbench.report.text.units import written_row
from poolbench.report.text.values import given

PANEL_INCH = 4.3
BAND = "#ececec"
# The shape says the verdict, the colour the variant. In the order of the legend; what has no verdict yet is `NONE`.
VERDICTS = {
    "better": Mark("^", INK),
    "worse": Mark("v", INK),
    "mixed": Mark("h", INK),
    "fails more often": Mark("P", INK, filled=False),
    "tie": Mark("D", INK),
    "undecided": Mark("o", INK, filled=False),
    "too few runs": Mark("X", INK),
    "identical": Mark("d", INK, filled=False),
}
NONE = Mark("o", GREY)
# An interval of few seeds is so wide that the others would shrink to points: it is cut at so many times the usual.
WIDEST = 3.0

Row = Mapping[str, Any]


def draw(content: Content) -> Figure | None:
    """Return the figure; None where no arm is compared with a reference."""
    by_arm = content.rows
    place = best_first(content.blocks).index
    compared = [
        (block, sorted(_compared(block, by_arm), key=lambda arm: place(arm.variant))) for block in content.blocks
    ]
    compared = [(block, arms) for block, arms in compared if arms]
    if not compared:
        return None
    over = over_blocks.rows(content.over_blocks, content.tables["over_blocks"])
    # A panel has one axis, so one score in one unit: the first; the table has all.
    first = [one for one in content.over_blocks if one.score == content.over_blocks[0].score]
    over = [row for row in over if given(row["difference_mean"]) and _axis(row) == _axis(over[0])]
    over = sorted(over, key=lambda row: place(str(row["variant"])))[:MOST_ARMS]
    shown, further = capped(compared, panels=MOST_PANELS - bool(over))
    rows = [[by_arm[arm.arm_id] for arm in arms] for _, arms in shown]
    titles = [_title(block.title, block.reference, own) for (block, _), own in zip(shown, rows, strict=True)]
    if over:
        rows = [over, *rows]
        titles = [_title(over_blocks.title(first), "reference", over), *titles]
    every = [row for own in rows for row in own]
    look = marks(content.blocks)
    figure, panels = row_panels(
        titles,
        [[label(str(row["variant"])) for row in own] for own in rows],
        width=PANEL_INCH,
        beside=max(text_width(verdict, bold=True) for verdict in {str(row["verdict"] or "") for row in every}) + 0.3,
        foot=lambda width: Foot(_legend(every), [further], width),
    )
    for axes, own in zip(panels, rows, strict=True):
        _panel(axes, own, look)
    return figure


def _axis(row: Row) -> tuple[Any, Any]:
    return row["score"], row["unit"]


def _compared(block: Block, by_arm: Mapping[str, Row]) -> list[Arm]:
    """Return the arms with a difference to a reference."""
    arms = [arm for arm in block.arms if arm.finished and not arm.is_reference]
    known = np.isfinite(column([by_arm[arm.arm_id] for arm in arms], "difference_mean"))
    return [arm for arm, is_known in zip(arms, known, strict=True) if is_known]


def _title(name: str, reference: str, rows: Sequence[Row]) -> str:
    references = {str(row["reference"]) for row in rows}
    against = references.pop() if len(references) == 1 else f"{reference} of the same recipe"
    paired = [n for n in column(rows, "n_paired" if "n_paired" in rows[0] else "n_seeds") if np.isfinite(n)]
    low, high = (int(end) for end in (min(paired, default=0), max(paired, default=0)))
    few = f"{low}" if low == high else f"{low}–{high}"
    return f"{name}, against {against}" + f" (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{few})" * bool(high)


def _panel(axes: Axes, rows: Sequence[Row], look: Mapping[str, Mark]) -> None:
    labels = [label(str(row["variant"])) for row in rows]
    positions, heights = row_positions(labels)
    name_rows(axes, labels, [False] * len(rows))
    how = written_row(rows[0])
    mean, low, high, holm_low, holm_high, margin = (
        column(rows, name, how.scale)
        for name in (
            *("difference_mean", "difference_ci95_low", "difference_ci95_high"),
            *("difference_holm_low", "difference_holm_high", "margin"),
        )
    )
    # In points no difference below a tenth is worth a whole panel.
    least = 0.1 if how.score.is_fraction else 1e-9
    left, right = _limits(mean, low, high, holm_low, holm_high, margin, least=least)
    axes.set_xlim(left, right)
    _margins(axes, margin, positions, heights)
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1.5)

    own = np.isfinite(low)
    axes.hlines(positions[own], low[own], high[own], color=LIGHT, linewidth=5.5, zorder=2)
    decides = np.isfinite(holm_low)
    axes.hlines(positions[decides], holm_low[decides], holm_high[decides], color=INK, linewidth=1.1, zorder=3)
    for ends, beyond, edge, arrow in (
        (holm_low[decides], holm_low[decides] < left, left, "<"),
        (holm_high[decides], holm_high[decides] > right, right, ">"),
    ):
        places = positions[decides]
        axes.vlines(ends[~beyond], places[~beyond] - 0.2, places[~beyond] + 0.2, color=INK, linewidth=1.1, zorder=3)
        # The line goes on beyond the panel.
        axes.plot(
            np.full(beyond.sum(), edge), places[beyond], arrow, color=INK, markersize=4.5, clip_on=False, zorder=3
        )
    tie = np.array([row["verdict"] == TIE and given(row.get("tie_low")) for row in rows])
    if tie.any():
        tie_low, tie_high = (column(rows, name, how.scale)[tie] for name in ("tie_low", "tie_high"))
        axes.hlines(positions[tie], tie_low, tie_high, color=INK, linewidth=2.6, zorder=3.5)
    drawn = [replace(VERDICTS.get(str(row["verdict"]), NONE), colour=look[str(row["variant"])].colour) for row in rows]
    draw_marks(axes, mean, positions, drawn, size=8.5)
    beside = panel_width(axes) + 0.12
    for row, y in zip(rows, positions, strict=True):
        word = str(row["verdict"] or "")
        row_text(axes, beside, y, word, fontweight="bold" if word in ("better", "worse") else "normal")
    rules(axes)
    plain_ticks(axes, "x", 6)
    unit = f", {how.difference_unit}" if how.difference_unit else ""
    name_axes(axes, f"difference in test {how.score.words}{unit}{how.direction}")


def _margins(axes: Axes, margin: np.ndarray, positions: np.ndarray, heights: np.ndarray) -> None:
    """Draw the band in which a difference was called a tie."""
    known = np.unique(margin[np.isfinite(margin)])
    if len(known) == 1 and np.isfinite(margin).all():
        axes.axvspan(-known[0], known[0], color=BAND, linewidth=0, zorder=0)
        return
    each = np.isfinite(margin)
    axes.barh(
        positions[each], 2 * margin[each], left=-margin[each], height=heights[each], color=BAND, linewidth=0, zorder=0
    )


def _limits(
    mean: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    holm_low: np.ndarray,
    holm_high: np.ndarray,
    margin: np.ndarray,
    *,
    least: float,
) -> tuple[float, float]:
    """Return the axis' ends: every mean, the margin, and every interval that is not much wider than the usual."""
    own = np.concatenate([high - low, holm_high - holm_low]) / 2
    known = own[np.isfinite(own) & (own > 0)]
    widest = WIDEST * float(np.median(known)) if len(known) else math.inf
    lows = [np.maximum(end, mean - widest) for end in (low, holm_low)]
    highs = [np.minimum(end, mean + widest) for end in (high, holm_high)]
    return limits(mean, -margin, margin, [0.0], *lows, *highs, air=0.06, least=least)


def _legend(rows: Sequence[Row]) -> list[Artist]:
    """Return what the marks are, in marks: only those that occur."""
    found = {str(row["verdict"]) for row in rows}
    handles: list[Artist] = [mark_handle(mark, word) for word, mark in VERDICTS.items() if word in found]
    if np.isfinite(column(rows, "difference_ci95_low")).any():
        handles.append(Line2D([], [], color=LIGHT, linewidth=5.5, label="95 % interval, uncorrected"))
    if np.isfinite(column(rows, "difference_holm_low")).any():
        handles.append(
            Line2D(
                *([], []),
                color=INK,
                linewidth=1.1,
                marker="|",
                markersize=7,
                markeredgewidth=1.1,
                label="Holm-corrected interval: decides",
            )
        )
    if any(row["verdict"] == TIE for row in rows):
        handles.append(Line2D([], [], color=INK, linewidth=2.6, label="interval of a tie: decides"))
    if np.isfinite(column(rows, "margin")).any():
        handles.append(Patch(facecolor=BAND, edgecolor=LIGHT, linewidth=0.5, label="± margin of a tie"))
    return handles
