"""What an arm costs and where: multiply-adds, parameters and the poolings' own work as bars, parted by site.

Sites are places where the network reduces its resolution, counted from the image on; the lighter a part, the earlier it
stands. What no site accounts for (the convolutions between them, the head, the classifier) is palest; where the records
hold a total alone, the bar is hatched. Blocks whose bars are all equal share a panel.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from poolbench.report.content import Content
from poolbench.report.figures.panels import (
    EDGE_INCH,
    NAME_GAP_INCH,
    TEXT_INCH,
    Foot,
    as_number,
    capped,
    label,
    lines_of,
    name_rows,
    panel,
    row_positions,
    row_text,
    rows_inch,
    scaled,
    short,
    text_width,
    wrapped,
    write,
)
from poolbench.report.looks import GREY
from poolbench.report.reading.arms import Arm, Block, number, section

# A column holds its longest bar, the figure behind it, and the words under them.
COLUMN_INCH, BAR_INCH, AXIS_INCH = 2.1, 1.45, 0.45
# Lightness tells the sites apart, so that grey does too.
SITES = ("#a3d0ec", "#6fb4de", "#3a95cc", "#0072B2", "#00507e", "#002f4d")
ELSEWHERE, UNPARTED = "#f0f0f0", "white"
MOST_NAMED = 3

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Quantity:
    """One thing that is counted.

    Args:
        names: the columns of the summary, and keys of a site, whose sum it is.
        title: of the axis.
        binary: whether its prefix counts in 1,024.
    """

    names: tuple[str, ...]
    title: str
    binary: bool = False


QUANTITIES = (
    Quantity(("multiply_adds",), "multiply-adds"),
    Quantity(("parameters",), "parameters"),
    Quantity(("pooling_operations",), "poolings' own operations"),
    Quantity(("pooling_bytes_read", "pooling_bytes_written"), "poolings read + write", binary=True),
)


@dataclass(frozen=True)
class Bar:
    """One bar: its whole length, and the parts that sites account for; None where they are not known."""

    total: float
    sites: tuple[float, ...] | None

    @property
    def elsewhere(self) -> float:
        """What no site accounts for."""
        return max(0.0, self.total - sum(self.sites or ()))


@dataclass(frozen=True)
class Panel:
    """The bars of one block, or of several that are equal: a tuple of bars for each arm, None where one is unknown."""

    title: str
    arms: tuple[Arm, ...]
    bars: tuple[tuple[Bar | None, ...], ...]
    sites: tuple[str, ...]

    def known(self, quantity: int) -> list[Bar]:
        """Return the bars of one quantity that are known."""
        return [each for several in self.bars if (each := several[quantity]) is not None]

    def first(self, arms: int) -> "Panel":
        """Return the panel of its first arms."""
        return replace(self, arms=self.arms[:arms], bars=self.bars[:arms])


def draw(content: Content) -> Figure | None:
    """Return the figure; None where no record tells of a cost."""
    by_arm = content.rows
    blocks = [(block, [arm for arm in block.arms if arm.finished]) for block in content.blocks]
    found = _panels([(block, arms) for block, arms in blocks if arms], by_arm)
    columns = [
        index
        for index in range(len(QUANTITIES))
        if any(each.total > 0 for one in found.values() for each in one.known(index))
    ]
    if not columns:
        return None
    some, further = capped([(block, one.arms) for block, one in found.items()])
    shown = [found[block].first(len(arms)) for block, arms in some]
    names = max(text_width(label(arm.variant), bold=arm.is_reference) for each in shown for arm in each.arms)
    names += NAME_GAP_INCH
    width = max(5.0, 2 * EDGE_INCH + names + len(columns) * COLUMN_INCH)
    titles = [wrapped(each.title, width - 2 * EDGE_INCH, 10) for each in shown]
    under = [wrapped(_sites_named(each.sites), width - 2 * EDGE_INCH, 8) for each in shown]
    tops = [
        lines_of(title) * (TEXT_INCH + 0.02) + lines_of(text) * 0.145 * bool(text) + 0.09
        for title, text in zip(titles, under, strict=True)
    ]
    heights = [rows_inch([label(arm.variant) for arm in each.arms]) for each in shown]
    foot = Foot(_legend(shown, columns), [further], width)
    total = EDGE_INCH + sum(tops) + sum(heights) + len(shown) * AXIS_INCH + foot.height
    figure = Figure(figsize=(width, total))
    top = EDGE_INCH
    for each, title, text, title_inch, height in zip(shown, titles, under, tops, heights, strict=True):
        write(figure, EDGE_INCH, top, title, fontsize=10)
        if text:
            write(figure, EDGE_INCH, top + lines_of(title) * (TEXT_INCH + 0.02) + 0.03, text, fontsize=8, color=GREY)
        # No column has ticks, so that one pair of axes does for all of them, in inches across.
        axes = panel(figure, EDGE_INCH + names, top + title_inch, len(columns) * COLUMN_INCH, height)
        labels = [label(arm.variant) for arm in each.arms]
        name_rows(axes, labels, [arm.is_reference for arm in each.arms])
        axes.set_xlim(0, len(columns) * COLUMN_INCH)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        for place, index in enumerate(columns):
            _column(axes, place * COLUMN_INCH, labels, [bars[index] for bars in each.bars], QUANTITIES[index])
        top += title_inch + height + AXIS_INCH
    foot.draw(figure)
    return figure


def _panels(blocks: Sequence[tuple[Block, Sequence[Arm]]], by_arm: Mapping[str, Row]) -> dict[Block, Panel]:
    """Return a panel for each block with a figure in it, one for the first of those that share all of them."""
    together: dict[Any, list[tuple[Block, Sequence[Arm]]]] = defaultdict(list)
    for block, arms in blocks:
        sites = [_sites(arm) for arm in arms]
        bars = tuple(
            tuple(bar(by_arm[arm.arm_id], own, quantity) for quantity in QUANTITIES)
            for arm, own in zip(arms, sites, strict=True)
        )
        named = tuple(str(site.get("name")) for site in max(sites, key=len))
        variants = tuple((arm.variant, arm.is_reference) for arm in arms)
        if any(each for several in bars for each in several):
            together[block.backbone, variants, bars, named].append((block, arms))
    return {
        members[0][0]: Panel(_title([block for block, _ in members]), tuple(members[0][1]), bars, named)
        for (_, _, bars, named), members in together.items()
    }


def bar(row: Row, sites: Sequence[Row], quantity: Quantity) -> Bar | None:
    """Return one quantity of an arm from its row of the summary and its sites; None where its total is unknown.

    >>> bar({"parameters": 10}, [{"parameters": 3}, {"parameters": 4}], QUANTITIES[1])
    Bar(total=10.0, sites=(3.0, 4.0))
    >>> bar({"parameters": 10}, [{}], QUANTITIES[1])
    Bar(total=10.0, sites=None)
    """
    total = sum(as_number(row.get(name)) for name in quantity.names)
    if not np.isfinite(total):
        return None
    parts = tuple(sum(number(site.get(name)) for name in quantity.names) for site in sites)
    return Bar(total, parts if parts and np.isfinite(parts).all() else None)


def _sites(arm: Arm) -> Sequence[Row]:
    for record in arm.finished.values():
        sites = section(record, "audit").get("sites")
        if sites:
            return list(sites)
    return []


def _title(blocks: Sequence[Block]) -> str:
    named = [block.dataset for block in blocks[:MOST_NAMED]]
    more = len(blocks) - len(named)
    return f"{blocks[0].backbone} on {', '.join(named)}" + (f" and {more} more" if more else "")


def _sites_named(names: Sequence[str]) -> str:
    """Say what the sites are called; those beyond the shades share the last one."""
    said = [f"{index} {name}" for index, name in enumerate(names, 1)]
    return f"sites: {', '.join(said)}" if said else ""


def _column(axes: Axes, start: float, labels: Sequence[str], bars: Sequence[Bar | None], quantity: Quantity) -> None:
    """Draw the bars of one quantity, from `start` inches on, each with its figure behind it."""
    positions, heights = row_positions(labels)
    most = max((each.total for each in bars if each), default=0.0)
    divisor, prefix = scaled(most, binary=quantity.binary)
    inches = BAR_INCH / most if most else 0.0
    alike: dict[tuple[str, str], list[list[tuple[float, float]]]] = defaultdict(list)
    for y, each in zip(positions, bars, strict=True):
        if each is None:
            axes.text(start, y, " not known", va="center", fontsize=8, color=GREY)
            continue
        left = start
        for length, colour, hatch in _parts(each):
            right = left + length * inches
            if right > left:
                alike[colour, hatch].append([(left, y - 0.31), (right, y - 0.31), (right, y + 0.31), (left, y + 0.31)])
            left = right
        axes.text(left, y, f" {short(each.total / divisor)}", va="center", fontsize=8)
    for (colour, hatch), corners in alike.items():
        # A line around a site would be wider than a small site is.
        width = 0.0 if colour in SITES else 0.5
        axes.add_collection(
            PolyCollection(corners, facecolors=colour, edgecolors=GREY, hatch=hatch or None, linewidths=width),
            autolim=False,
        )
    axes.vlines(start, 0, heights.sum(), color=GREY, linewidth=0.8)
    unit = f"{prefix}B" if quantity.binary else prefix
    row_text(axes, start, heights.sum() + 0.5, f"{quantity.title}, {unit}" if unit else quantity.title)


def _parts(each: Bar) -> list[tuple[float, str, str]]:
    if each.sites is None:
        return [(each.total, UNPARTED, "/////")]
    shades = [(length, _shade(index), "") for index, length in enumerate(each.sites)]
    return [(each.elsewhere, ELSEWHERE, ""), *shades]


def _shade(site: int) -> str:
    return SITES[min(site, len(SITES) - 1)]


def _legend(shown: Sequence[Panel], columns: Sequence[int]) -> list[Artist]:
    every = [each for one in shown for index in columns for each in one.known(index)]
    handles: list[Artist] = []
    most = max((len(each.sites) for each in every if each.sites), default=0)
    if most:
        handles.append(
            Patch(
                facecolor=ELSEWHERE, edgecolor=GREY, linewidth=0.5, label="elsewhere: other layers, the head's pooling"
            )
        )
    for index in range(min(most, len(SITES))):
        last = index == len(SITES) - 1 and most > len(SITES)
        handles.append(Patch(facecolor=_shade(index), label=f"site {index + 1}" + (" and later" if last else "")))
    if any(each.sites is None for each in every):
        handles.append(
            Patch(facecolor=UNPARTED, edgecolor=GREY, linewidth=0.5, hatch="/////", label="not split by site")
        )
    return handles
