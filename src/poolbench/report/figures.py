"""accuracy.svg and accuracy.png: a panel a block, a line a variant, every seed as a dot.

Colours carry nothing alone: single seeds are small hollow rings, means filled marks, the reference a square and a
dashed line, so that the figure reads in grey and for every kind of colour vision. Drawn on figures of its own, without
pyplot and its global state. Equal records give equal bytes.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from poolbench.report.arms import Arm, Block
from poolbench.report.layout import rows_by_arm
from poolbench.report.tables import values

INK, GREY, BLUE = "#222222", "#767676", "#0072B2"
LINE_INCH = 0.27
PANEL_WIDTH_INCH = 5.0
# Agg draws no image of 2¹⁶ pixels or more.
MOST_PIXELS = 60_000
DPI = 160
LABEL_WIDTH = 26
TITLE_WIDTH = 66
# A line a variant cannot be read beyond this in one panel; the tables hold all.
MOST_ARMS = 60

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.unicode_minus": True,
    # A dollar sign in a label is a dollar sign.
    "text.parse_math": False,
    "svg.hashsalt": "poolbench",
    "svg.fonttype": "path",
}


def accuracy(blocks: Sequence[Block], summary: pd.DataFrame) -> dict[str, bytes]:
    """Return the figure's files by name."""
    by_arm = rows_by_arm(summary)
    # What a user has set for figures of their own must not change these.
    defaults = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
    with mpl.rc_context({**defaults, **STYLE}):  # type: ignore[dict-item]
        figure = _draw([block for block in blocks if any(arm.finished for arm in block.arms)], by_arm)
        FigureCanvasAgg(figure)
        dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
        files = {}
        for name, options in (
            ("accuracy.svg", {"metadata": {"Date": None, "Creator": None}}),
            ("accuracy.png", {"metadata": {"Software": None}, "dpi": dpi}),
        ):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=name.rpartition(".")[2], **options)
            files[name] = buffer.getvalue()
    return files


def _draw(blocks: Sequence[Block], by_arm: Mapping[str, Mapping[str, Any]]) -> Figure:
    if not blocks:
        figure = Figure(figsize=(PANEL_WIDTH_INCH, 1.0))
        figure.text(0.5, 0.5, "no finished cell", ha="center", va="center")
        return figure
    shown = [[arm for arm in block.arms if arm.finished][:MOST_ARMS] for block in blocks]
    columns = 1 if len(blocks) == 1 else 2
    rows = math.ceil(len(blocks) / columns)
    heights = [max(_lines(arms) for arms in shown[row * columns : (row + 1) * columns]) + 0.6 for row in range(rows)]
    # Title, axis and its label take about as much as three lines.
    height = sum((lines + 3.2) * LINE_INCH for lines in heights) + 0.7
    figure = Figure(
        figsize=(PANEL_WIDTH_INCH * columns + 0.4 * (columns == 1), height),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1),
    )
    grid = figure.add_gridspec(rows, columns, height_ratios=heights)
    for index, (block, arms) in enumerate(zip(blocks, shown, strict=True)):
        axes = figure.add_subplot(grid[index // columns, index % columns])
        _panel(axes, block, arms, by_arm)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, frameon=False, handletextpad=0.4)
    return figure


def _legend() -> list[Line2D]:
    """Return what the marks are, in marks."""
    mean: dict[str, Any] = {"color": INK, "linewidth": 1.6, "markeredgewidth": 0, "markersize": 5.5}
    return [
        Line2D([], [], marker="o", markerfacecolor=BLUE, label="mean over seeds, 95 % interval", **mean),
        Line2D([], [], marker="s", markerfacecolor=INK, label="reference", **mean),
        Line2D(
            [], [], linestyle="", marker="o", markersize=3.3, markerfacecolor="none", markeredgecolor=GREY, label="seed"
        ),
    ]


def _lines(arms: Sequence[Arm]) -> int:
    return sum(_label(arm).count("\n") + 1 for arm in arms)


def _label(arm: Arm) -> str:
    """Return a variant's name, long ones broken before their settings and at commas."""
    if len(arm.variant) <= LABEL_WIDTH:
        return arm.variant
    name, bracket, rest = arm.variant.partition("[")
    parts = [name] if bracket else []
    text = bracket + rest if bracket else name
    return "\n".join(parts + textwrap.wrap(text.replace(",", ", "), LABEL_WIDTH + 8))


def _panel(axes: Axes, block: Block, arms: Sequence[Arm], by_arm: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [by_arm[arm.arm_id] for arm in arms]
    labels = [_label(arm) for arm in arms]
    # A name of two lines has the height of two.
    heights = np.array([label.count("\n") + 1 for label in labels], dtype=float)
    positions = np.cumsum(heights) - heights / 2
    mean = np.array([float(row["test_accuracy_mean"]) for row in rows]) * 100
    low = np.array([float(row["test_accuracy_ci95_low"]) for row in rows]) * 100
    high = np.array([float(row["test_accuracy_ci95_high"]) for row in rows]) * 100
    seeds = values(arms, "test_accuracy") * 100
    several = np.isfinite(low)
    reference = np.array([arm.is_reference for arm in arms])

    for value in mean[reference]:
        axes.axvline(value, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.hlines(positions[several], low[several], high[several], color=INK, linewidth=1.6, zorder=2)
    for chosen, marker, colour in ((reference, "s", INK), (~reference, "o", BLUE)):
        axes.scatter(mean[chosen], positions[chosen], s=30, marker=marker, color=colour, linewidths=0, zorder=4)
    # The seeds lie a little below the line, so that they hide neither the mean nor one another's line.
    y = np.broadcast_to(positions[:, None] + 0.24, seeds.shape)
    axes.scatter(seeds, y, s=11, facecolors="none", edgecolors=GREY, linewidths=0.8, zorder=3)

    axes.set_yticks(positions, labels)
    for tick, strong in zip(axes.get_yticklabels(), reference, strict=True):
        tick.set_fontweight("bold" if strong else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(heights.sum() + 0.1, -0.1)
    axes.set_xlim(*_limits(mean, low, high, seeds))
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("test accuracy, %")
    axes.set_title(_title(block, arms, rows), loc="left")


def _title(block: Block, arms: Sequence[Arm], rows: Sequence[Mapping[str, Any]]) -> str:
    counts = [int(row["n_seeds"]) for row in rows]
    few = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"
    more = sum(bool(arm.finished) for arm in block.arms) - len(arms)
    text = f"{block.title}  (n = {few})" + (f", first {len(arms)} variants of {len(arms) + more}" if more else "")
    # The title begins where the axis does: beside long names it has less room.
    longest = max(len(line) for arm in arms for line in _label(arm).split("\n"))
    return "\n".join(textwrap.wrap(text, max(24, TITLE_WIDTH - longest)))


def _limits(*figures: np.ndarray) -> tuple[float, float]:
    """Return the axis' ends: all that there is to see, with some air, hardly beyond what an accuracy can be."""
    found = np.concatenate([np.ravel(figure) for figure in figures])
    found = found[np.isfinite(found)]
    if not len(found):
        return 0.0, 100.0
    low, high = float(max(found.min(), 0.0)), float(min(found.max(), 100.0))
    air = max(0.05 * (high - low), 0.5)
    return max(low - air, -1.5), min(high + air, 101.5)
