"""How training went: for each block validation accuracy and training loss by epoch, a line an arm.

A line is the mean over the seeds, the band their range: no interval, since the points of a
curve are not independent of each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from poolbench.record import epoch_rows
from poolbench.report.content import Content
from poolbench.report.figures.marks import mark_handle
from poolbench.report.figures.panels import (
    EDGE_INCH,
    MOST_BLOCKS,
    TEXT_INCH,
    Foot,
    capped,
    label,
    limits,
    name_axes,
    panel,
    plain_log_ticks,
    plain_ticks,
    rules,
    wrapped,
    write,
)
from poolbench.report.figures.style import LIGHT
from poolbench.report.looks import GREY, MOST_MARKS, OTHER, REFERENCE, Mark, marks
from poolbench.report.reading.arms import Arm, Block, number
from poolbench.report.reading.scores import of_arm
from poolbench.report.text.units import written

PANEL_WIDTH_INCH, PANEL_HEIGHT_INCH = 4.1, 2.2
Y_INCH, BELOW_INCH, GAP_INCH = 0.72, 0.5, 0.12
# A loss of 0.0001 is written in full.
NAME_INCH = 0.54
# More lines than this in a panel are a thicket.
MOST_CURVES = MOST_MARKS
# Marks along a line.
MARKS_A_LINE = 5
# The rise of the first epochs would press all later differences together: their scores may lie outside the panel.
RISE = 0.25
# The validation's score, and the training's loss.
QUANTITIES = 2


def draw(content: Content) -> Figure | None:
    """Return the figure; None where no finished record tells of two epochs or more."""
    found = []
    for block in content.blocks:
        arms = [arm for arm in block.arms if any(len(epoch_rows(record)) > 1 for record in _records(arm))]
        if arms:
            found.append((block, arms))
    if not found:
        return None
    shown, further = capped(found, panels=MOST_BLOCKS, arms=MOST_CURVES)
    found_here = {arm.variant for _, arms in shown for arm in arms}
    look = {name: mark for name, mark in marks(content.blocks).items() if name in found_here}

    width = 2 * EDGE_INCH + QUANTITIES * (Y_INCH + PANEL_WIDTH_INCH + GAP_INCH)
    titles = [wrapped(_title(block, arms), width - 2 * EDGE_INCH, 10) for block, arms in shown]
    tops = [(title.count("\n") + 1) * (TEXT_INCH + 0.02) + 0.09 for title in titles]
    row_inch = PANEL_HEIGHT_INCH + BELOW_INCH + 0.08
    several = any(len(arm.finished) > 1 for _, arms in shown for arm in arms)
    notes = [f"Scores of the first {RISE:.0%} of the epochs may lie outside the panel.".replace("%", " %")]
    foot = Foot(_legend(look, several), [*notes, further], width)
    figure = Figure(figsize=(width, EDGE_INCH + sum(tops) + row_inch * len(shown) + foot.height))
    top = EDGE_INCH
    for (_, arms), title, title_inch in zip(shown, titles, tops, strict=True):
        write(figure, EDGE_INCH, top, title, fontsize=10)
        for index, (name, words, scale) in enumerate(_quantities(arms)):
            curves = {arm.variant: by_epoch(_records(arm), name) * scale for arm in arms}
            if not any(np.isfinite(curve).any() for curve in curves.values()):
                continue
            left = EDGE_INCH + Y_INCH + index * (PANEL_WIDTH_INCH + Y_INCH + GAP_INCH)
            axes = panel(figure, left, top + title_inch, PANEL_WIDTH_INCH, PANEL_HEIGHT_INCH)
            least = 0.5 if scale != 1.0 else 1e-9
            _panel(axes, curves, look, logarithmic=name.endswith("loss"), least=least)
            name_axes(axes, "epoch", words, NAME_INCH)
        top += title_inch + row_inch
    foot.draw(figure)
    return figure


def _quantities(arms: Sequence[Arm]) -> tuple[tuple[str, str, float], ...]:
    """Return what is drawn of a block: name in the history, words, and what it is multiplied by."""
    task, score = of_arm(arms[0])
    how = written(score)
    loss = "training loss" if task == "regression" else "training loss, nats"
    shown = wrapped(f"validation {how.quantity}", PANEL_HEIGHT_INCH)
    return (f"val_{score.name}", shown, how.scale), ("train_loss", loss, 1.0)


def by_epoch(records: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Return a quantity of the records' histories, a row a record, a column an epoch, NaN where there is none.

    >>> by_epoch([{"history": [{"epoch": 0, "val_accuracy": 0.5}]}, {"history": []}], "val_accuracy").tolist()
    [[0.5], [nan]]
    """
    histories = [epoch_rows(record) for record in records]
    found = np.full((len(records), max(map(len, histories), default=0)), np.nan)
    for row, history in enumerate(histories):
        for place, point in enumerate(history):
            found[row, place] = number(point.get(name))
    return found


def _records(arm: Arm) -> list[Mapping[str, Any]]:
    return list(arm.finished.values())


def _title(block: Block, arms: Sequence[Arm]) -> str:
    counts = [len(arm.finished) for arm in arms]
    few = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"
    return f"{block.title}  (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{few})"


def _panel(
    axes: Axes, curves: Mapping[str, np.ndarray], look: Mapping[str, Mark], *, logarithmic: bool, least: float
) -> None:
    lows, highs, bands, colours = [], [], [], []
    for index, (variant, curve) in enumerate(curves.items()):
        curve = np.where(curve > 0, curve, np.nan) if logarithmic else curve
        known = np.isfinite(curve).any(axis=0)
        if not known.any():
            continue
        epochs, curve = np.flatnonzero(known) + 1, curve[:, known]
        mean, low, high = np.nanmean(curve, axis=0), np.nanmin(curve, axis=0), np.nanmax(curve, axis=0)
        mark = look[variant]
        if (low < high).any():
            bands.append(np.column_stack([np.append(epochs, epochs[::-1]), np.append(low, high[::-1])]))
            colours.append(mark.colour)
        # Each line's marks lie elsewhere along it, so that lines on one another still show theirs.
        step = max(1, len(epochs) // MARKS_A_LINE)
        axes.plot(
            epochs,
            mean,
            color=mark.colour,
            linewidth=1.3,
            linestyle=mark.dashes,
            marker=mark.shape,
            markersize=4.5,
            markerfacecolor=mark.face,
            markeredgecolor=mark.colour,
            markeredgewidth=0.9,
            markevery=(index % step, step),
            zorder=3 if mark is REFERENCE else 2,
        )
        later = epochs > epochs[-1] * RISE * (not logarithmic)
        lows.append(low[later])
        highs.append(high[later])
    axes.add_collection(PolyCollection(bands, facecolors=colours, alpha=0.1, linewidths=0, zorder=1), autolim=False)
    if logarithmic:
        axes.set_yscale("log")
        axes.set_ylim(*(10**end for end in limits(*map(np.log10, (*lows, *highs)), air=0.04, least=0.05)))
        plain_log_ticks(axes, "y")
    else:
        axes.set_ylim(*limits(*lows, *highs, air=0.04, least=least))
        plain_ticks(axes, "y", 5)
    # Epochs count from 1: there is no epoch 0 to be ticked.
    axes.set_xlim(left=max(axes.get_xlim()[0], 0.5))
    plain_ticks(axes, "x", 6, whole=True)
    rules(axes, "both")
    axes.spines["left"].set_visible(True)


def _legend(look: Mapping[str, Mark], several: bool) -> list[Artist]:
    handles: list[Artist] = []
    for name, mark in look.items():
        if mark is not OTHER:
            text = label(name)
            handles.append(mark_handle(mark, f"{text} (reference)" if mark is REFERENCE else text, line=True))
    if OTHER in look.values():
        handles.append(mark_handle(OTHER, "further variants", line=True))
    if several:
        handles.append(Patch(facecolor=LIGHT, edgecolor=GREY, linewidth=0, label="range over the seeds"))
    return handles
