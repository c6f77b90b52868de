"""What accuracy costs: for each block the accuracy against training speed, parameters and memory.

A variant has the same mark in all panels. The line is the Pareto front of the means: who is on it is beaten by nobody
in both at once, before any noise is counted; the intervals say how much of it is noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from poolbench.report.content import Content
from poolbench.report.figures.marks import draw_marks, mark_handle
from poolbench.report.figures.panels import (
    EDGE_INCH,
    MOST_ARMS,
    MOST_BLOCKS,
    TEXT_INCH,
    Foot,
    capped,
    column,
    label,
    limits,
    name_axes,
    panel,
    plain_log_ticks,
    plain_ticks,
    rules,
    scaled,
    wrapped,
    write,
)
from poolbench.report.figures.style import LIGHT
from poolbench.report.looks import GREY, OTHER, REFERENCE, Mark, marks
from poolbench.report.reading.arms import Arm, Block
from poolbench.report.reading.scores import of_arm
from poolbench.report.text.units import written, written_row

PANEL_WIDTH_INCH, PANEL_HEIGHT_INCH = 2.65, 2.0
Y_INCH, BELOW_INCH, GAP_INCH = 0.62, 0.55, 0.3
# Where the dearest costs so many times the cheapest, equal steps are equal factors.
LOGARITHMIC = 20.0

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Price:
    """One thing that an arm costs.

    Args:
        name: the summary's column.
        title: of the axis; `{unit}` is where a prefix goes that makes its figures short.
        more_is_better: a speed is, a price is not.
        binary: whether that prefix counts in 1,024.
    """

    name: str
    title: str
    more_is_better: bool = False
    binary: bool = False


SPEED = Price("training_ratio", "training speed / the reference's (more is better)", more_is_better=True)
PARAMETERS = Price("parameters", "{unit}parameters (fewer is better)")
KEPT = Price("kept_bytes", "kept for backward, {unit}B (less is better)", binary=True)
PEAK = Price("peak_bytes", "memory at its peak, {unit}B (less is better)", binary=True)


def draw(content: Content) -> Figure | None:
    """Return the figure; None where no block has two arms of which score and a cost are known."""
    by_arm = content.rows
    blocks = []
    for block in content.blocks:
        arms = [arm for arm in block.arms if arm.finished]
        drawn = [by_arm[arm.arm_id] for arm in arms[:MOST_ARMS]]
        prices = {place: price for place, price in _prices(drawn).items() if price}
        if prices:
            blocks.append((block, arms, prices))
    if not blocks:
        return None
    some, further = capped([(block, arms) for block, arms, _ in blocks], panels=MOST_BLOCKS)
    shown = [(block, arms, prices) for (block, arms), (_, _, prices) in zip(some, blocks, strict=False)]
    rows = {arm.arm_id: by_arm[arm.arm_id] for _, arms, _ in shown for arm in arms}
    found = {arm.variant for _, arms, _ in shown for arm in arms}
    look = {name: mark for name, mark in marks(content.blocks).items() if name in found}

    places = sorted({place for _, _, prices in shown for place in prices})
    width = 2 * EDGE_INCH + Y_INCH + len(places) * (PANEL_WIDTH_INCH + GAP_INCH)
    width = max(width, 5.0)
    titles = [wrapped(_title(block, arms), width - 2 * EDGE_INCH, 10) for block, arms, _ in shown]
    foot = Foot(_legend(look), [_speed(content, shown), further], width)
    tops = [(title.count("\n") + 1) * (TEXT_INCH + 0.02) + 0.09 for title in titles]
    row_inch = PANEL_HEIGHT_INCH + BELOW_INCH + 0.08
    figure = Figure(figsize=(width, EDGE_INCH + sum(tops) + row_inch * len(shown) + foot.height))
    top = EDGE_INCH
    for (_, arms, prices), title, title_inch in zip(shown, titles, tops, strict=True):
        write(figure, EDGE_INCH, top, title, fontsize=10)
        first = True
        for index, place in enumerate(places):
            if place not in prices:
                continue
            left = EDGE_INCH + Y_INCH + index * (PANEL_WIDTH_INCH + GAP_INCH)
            axes = panel(figure, left, top + title_inch, PANEL_WIDTH_INCH, PANEL_HEIGHT_INCH)
            unit = _panel(axes, arms, [rows[arm.arm_id] for arm in arms], prices[place], look)
            how = written_row(rows[arms[0].arm_id])
            name_axes(axes, _words(prices[place], unit), wrapped(how.axis, PANEL_HEIGHT_INCH) * first)
            axes.tick_params(axis="y", labelleft=first)
            first = False
        top += title_inch + row_inch
    foot.draw(figure)
    return figure


def _title(block: Block, arms: Sequence[Arm]) -> str:
    """Return the block's name, and which score is better where it is not the higher one."""
    return block.title + written(of_arm(arms[0])[1]).direction


def front(good: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return which points no other beats: more of `good` at no more `cost`, or as much at less; by rising cost.

    Points with a NaN are on no front; of equal points all are.

    >>> front(np.array([0.9, 0.8, 0.95, 0.7]), np.array([2.0, 1.0, 3.0, 2.5])).tolist()
    [1, 0, 2]
    """
    known = np.flatnonzero(np.isfinite(good) & np.isfinite(cost))
    ordered = known[np.lexsort((-good[known], cost[known]))]
    kept: list[int] = []
    for index in ordered:
        last = kept[-1] if kept else None
        if last is None or good[index] > good[last] or (good[index] == good[last] and cost[index] == cost[last]):
            kept.append(int(index))
    return np.array(kept, dtype=int)


def _prices(rows: Sequence[Row]) -> dict[int, Price | None]:
    """Return what of each kind two arms or more have, by its place from the left.

    The two kinds of memory are never mixed in one block.
    """
    accurate = np.isfinite(column(rows, "score_mean"))

    def known(price: Price) -> int:
        figures = column(rows, price.name)
        return int((accurate & np.isfinite(figures) & (figures > 0)).sum())

    memory = KEPT if known(KEPT) >= known(PEAK) else PEAK
    return {place: price if known(price) >= 2 else None for place, price in enumerate((SPEED, PARAMETERS, memory))}


def _panel(axes: Axes, arms: Sequence[Arm], rows: Sequence[Row], price: Price, look: Mapping[str, Mark]) -> str:
    """Draw a panel and return the prefix in which its cost is given."""
    how = written_row(rows[0])
    score, low, high = (column(rows, f"score_{part}", how.scale) for part in ("mean", "ci95_low", "ci95_high"))
    cost = column(rows, price.name)
    cost = np.where(cost > 0, cost, np.nan)
    divisor, unit = scaled(float(np.nanmax(cost)), binary=price.binary) if "{unit}" in price.title else (1.0, "")
    cost = cost / divisor
    # Only speeds are measured, the others counted.
    cost_low, cost_high = (column(rows, f"{price.name}_ci95_{end}", 1 / divisor) for end in ("low", "high"))
    both = np.isfinite(cost) & np.isfinite(score)

    logarithmic = bool(np.nanmax(cost[both]) > LOGARITHMIC * np.nanmin(cost[both]))
    if logarithmic:
        axes.set_xscale("log")
        ends = limits(np.log10(cost[both]), air=0.08, least=0.05)
        axes.set_xlim(10 ** ends[0], 10 ** ends[1])
        plain_log_ticks(axes, "x")
    else:
        # Equal figures must not be pulled apart by what a machine's noise or a bias' few parameters are.
        least = 0.03 * float(np.nanmax(cost[both]))
        axes.set_xlim(*limits(cost[both], cost_low[both], cost_high[both], least=least))
        plain_ticks(axes, "x", 4)
    axes.set_ylim(*limits(score, low, high, least=0.3 if how.score.is_fraction else 1e-9))
    plain_ticks(axes, "y", 5)
    rules(axes, "both")

    _front_line(axes, score, cost, price, sign=how.score.sign)
    several, timed = both & np.isfinite(low), both & np.isfinite(cost_low)
    axes.vlines(cost[several], low[several], high[several], color=LIGHT, linewidth=1, zorder=2)
    axes.hlines(score[timed], cost_low[timed], cost_high[timed], color=LIGHT, linewidth=1, zorder=2)
    order = sorted(np.flatnonzero(both), key=lambda index: _depth(look[arms[int(index)].variant]))
    draw_marks(axes, cost[order], score[order], [look[arms[int(index)].variant] for index in order])
    axes.spines["left"].set_visible(True)
    return unit


def _depth(mark: Mark) -> int:
    """Return in which order marks are drawn: those without a name lowest, then the references."""
    return 0 if mark is OTHER else 1 if mark is REFERENCE else 2


def _words(price: Price, unit: str) -> str:
    counted = {"k": "thousand ", "M": "million ", "G": "billion "}
    return price.title.format(unit=unit if price.binary else counted.get(unit, unit))


def _front_line(axes: Axes, score: np.ndarray, cost: np.ndarray, price: Price, *, sign: int) -> None:
    """Draw the edge of what is reached: nothing lies beyond it, towards a better score at less cost."""
    on = front(sign * score, -cost if price.more_is_better else cost)
    (left, right), bottom = axes.get_xlim(), axes.get_ylim()[0 if sign > 0 else 1]
    dear = left if price.more_is_better else right
    x = np.concatenate([[cost[on[0]]], cost[on], [dear]])
    y = np.concatenate([[bottom], score[on], [score[on[-1]]]])
    # Between two of its points one has paid for the better of them only at its own price.
    axes.step(x, y, where="post", color=GREY, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1.5)


def _speed(content: Content, shown: Sequence[tuple[Block, Any, Mapping[int, Price]]]) -> str:
    """Return how the speeds were measured, where that is one sentence for all blocks."""
    titles = {block.title for block, _, prices in shown if SPEED in prices.values()}
    said = {view.speed for view in content.views if view.title in titles and view.speed}
    return f"Speeds: {said.pop()}." if len(said) == 1 else ""


def _legend(look: Mapping[str, Mark]) -> list[Artist]:
    names = {name: mark for name, mark in look.items() if mark is not OTHER}
    handles: list[Artist] = []
    for name, mark in names.items():
        text = label(name)
        handles.append(mark_handle(mark, f"{text} (reference)" if mark is REFERENCE else text))
    if OTHER in look.values():
        handles.append(mark_handle(OTHER, "further variants"))
    handles.append(Line2D([], [], color=GREY, linewidth=1.1, linestyle=(0, (4, 2)), label="Pareto front of the means"))
    handles.append(Line2D([], [], color=LIGHT, linewidth=1.2, marker="", label="95 % interval"))
    return handles
