"""The scores: for each block a line an arm, with mean, interval and single seeds.

Single seeds are small hollow rings, means filled marks, the reference a square and a dashed line.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from poolbench.report.content import Content
from poolbench.report.figures.marks import draw_marks
from poolbench.report.figures.panels import (
    Foot,
    capped,
    column,
    label,
    limits,
    name_axes,
    name_rows,
    row_panels,
    row_positions,
    rules,
)
from poolbench.report.figures.style import INK
from poolbench.report.looks import GREY, REFERENCE, Mark, best_first, marks
from poolbench.report.reading.arms import Arm, Block
from poolbench.report.tables.frames import scores_of
from poolbench.report.text.units import written_row

PANEL_INCH = 4.85


def draw(content: Content) -> Figure:
    """Return the figure; where no cell finished, it says so."""
    by_arm = content.rows
    place = best_first(content.blocks).index
    found = [
        (block, sorted((arm for arm in block.arms if arm.finished), key=lambda arm: place(arm.variant)))
        for block in content.blocks
    ]
    shown, further = capped([(block, arms) for block, arms in found if arms])
    if not shown:
        figure = Figure(figsize=(PANEL_INCH, 1.0))
        figure.text(0.5, 0.5, "no finished cell", ha="center", va="center")
        return figure
    rows = [[by_arm[arm.arm_id] for arm in arms] for _, arms in shown]
    look = marks(content.blocks)
    figure, panels = row_panels(
        [_title(block, arms, own) for (block, arms), own in zip(shown, rows, strict=True)],
        [[label(arm.variant) for arm in arms] for _, arms in shown],
        width=PANEL_INCH,
        beside=0.15,
        foot=lambda width: Foot(_legend(), [further], width),
    )
    for axes, (_, arms), own in zip(panels, shown, rows, strict=True):
        _panel(axes, arms, own, look)
    return figure


def _legend() -> list[Line2D]:
    """Return what the marks are, in marks."""
    mean: dict[str, Any] = {"color": INK, "linewidth": 1.6, "markeredgewidth": 0, "markersize": 5.5}
    return [
        Line2D([], [], marker="o", markerfacecolor=GREY, label="mean over seeds, 95 % interval", **mean),
        Line2D([], [], marker="s", markerfacecolor=INK, label="reference", **mean),
        Line2D(
            [], [], linestyle="", marker="o", markersize=3.3, markerfacecolor="none", markeredgecolor=GREY, label="seed"
        ),
    ]


def _panel(axes: Axes, arms: Sequence[Arm], rows: Sequence[Mapping[str, Any]], look: Mapping[str, Mark]) -> None:
    labels = [label(arm.variant) for arm in arms]
    positions, _ = row_positions(labels)
    how = written_row(rows[0])
    mean, low, high = (column(rows, f"score_{part}", how.scale) for part in ("mean", "ci95_low", "ci95_high"))
    seeds = scores_of(arms) * how.scale
    several = np.isfinite(low)
    reference = np.array([arm.is_reference for arm in arms])

    for value in mean[reference]:
        axes.axvline(value, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.hlines(positions[several], low[several], high[several], color=INK, linewidth=1.6, zorder=2)
    drawn = [look[arm.variant] for arm in arms]
    draw_marks(axes, mean, positions, [each if each is REFERENCE else Mark("o", each.colour) for each in drawn], size=6)
    # The seeds lie a little below the line, so that they hide neither the mean nor one another's line.
    y = np.broadcast_to(positions[:, None] + 0.24, seeds.shape)
    axes.scatter(seeds, y, s=11, facecolors="none", edgecolors=GREY, linewidths=0.8, zorder=3)

    name_rows(axes, labels, reference.tolist())
    found = (mean, low, high, seeds)
    axes.set_xlim(*(_limits(*found) if how.score.is_fraction else limits(*found)))
    rules(axes)
    name_axes(axes, how.axis + how.direction)


def _title(block: Block, arms: Sequence[Arm], rows: Sequence[Mapping[str, Any]]) -> str:
    counts = [int(row["n_seeds"]) for row in rows]
    few = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"
    more = sum(bool(arm.finished) for arm in block.arms) - len(arms)
    return f"{block.title}  (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{few})" + (
        f", best {len(arms)} variants of {len(arms) + more}" if more else ""
    )


def _limits(*figures: np.ndarray) -> tuple[float, float]:
    """Return the axis' ends: all that there is to see, with some air, hardly beyond what a fraction can be."""
    found = np.concatenate([np.ravel(figure) for figure in figures])
    found = found[np.isfinite(found)]
    if not len(found):
        return 0.0, 100.0
    low, high = float(max(found.min(), 0.0)), float(min(found.max(), 100.0))
    air = max(0.05 * (high - low), 0.5)
    return max(low - air, -1.5), min(high + air, 101.5)
