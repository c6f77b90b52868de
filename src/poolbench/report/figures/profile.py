"""How near each arm is to the best one: the fraction of data sets on which it is within so many points of it.

Performance profiles (E. D. Dolan and J. J. Moré 2002, Mathematical Programming 91:201–213) of differences of accuracy.
An arm that is best everywhere is a line along the top; the area above a line is the arm's mean gap.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from poolbench.report.figures.marks import mark_handle
from poolbench.report.figures.panels import EDGE_INCH, Foot, panel, plain_ticks, rules, wrapped
from poolbench.report.figures.style import LIGHT
from poolbench.report.looks import OTHER, REFERENCE, Mark
from poolbench.report.statistics.across import Across
from poolbench.report.statistics.profiles import steps
from poolbench.report.text.units import written

WIDTH_INCH, HEIGHT_INCH = 6.4, 3.2
LEFT_INCH, AXIS_INCH = 0.75, 0.5
LABEL_INCH = 2.4
# Steps of more arms than these cannot be followed; the others are drawn without a name.
MOST_NAMED = 6


def draw(across: Across, look: Mapping[str, Mark]) -> Figure | None:
    """Return the figure; None where nothing is compared over data sets, or these are judged by unlike scores.

    Args:
        across: what holds over the data sets.
        look: how each variant is drawn.
    """
    if not across.variants or across.score is None:
        return None
    how = written(across.score, float(across.gaps.max()))
    gaps = how.scale * across.gaps
    strong = set(across.reference.split("; "))
    nearest = sorted(range(len(across.variants)), key=lambda at: (round(float(gaps[:, at].mean()), 9), at))
    named = [at for at in nearest if across.variants[at] not in strong][:MOST_NAMED]
    looks = {at: look.get(across.variants[at], OTHER) for at in named}
    looks |= {at: REFERENCE for at in nearest if across.variants[at] in strong}
    shown = [at for at in nearest if at in looks]
    others = [at for at in nearest if at not in looks]

    handles = [
        mark_handle(looks[at], _label(across.variants[at], float(gaps[:, at].mean()), how.decimals), line=True)
        for at in shown
    ]
    if others:
        handles.append(Line2D([], [], color=LIGHT, linewidth=1, label=f"{len(others)} further variants"))
    unit = f", in {how.difference_unit}" if how.difference_unit else ""
    note = (
        f"Beside each name: its mean gap to the best{unit}, which is the area above its line. "
        f"{len(across.datasets)} data sets, the backbones of each averaged."
    )
    foot = Foot(handles, [note], WIDTH_INCH)
    figure = Figure(figsize=(WIDTH_INCH, EDGE_INCH + HEIGHT_INCH + AXIS_INCH + foot.height))
    axes = panel(figure, LEFT_INCH, EDGE_INCH, WIDTH_INCH - LEFT_INCH - EDGE_INCH, HEIGHT_INCH)
    end = max(1.06 * float(gaps[:, shown].max()), 0.1 if how.score.is_fraction else 1e-9)
    for at in others:
        axes.step(*steps(gaps[:, at], max(end, gaps.max())), where="post", color=LIGHT, linewidth=1, zorder=1)
    # The nearest is drawn last: where lines lie on one another, it is the one that is seen.
    for order, at in enumerate(reversed(shown)):
        mark = looks[at]
        tau, share = steps(gaps[:, at], end)
        axes.step(tau, share, where="post", color=mark.colour, linewidth=1.6, linestyle=mark.dashes, zorder=2 + order)
        corners = np.unique(gaps[:, at])
        heights = (gaps[:, at][None, :] <= corners[:, None]).mean(axis=1)
        axes.scatter(
            corners, heights, s=26, marker=mark.shape, facecolors=mark.face, edgecolors=mark.colour, zorder=20 + order
        )
    axes.set(xlim=(-0.015 * end, end), ylim=(-0.03, 1.05))
    worse = "below" if how.score.sign > 0 else "above"
    counted = f"{how.difference_unit} of " if how.difference_unit else ""
    axes.set_xlabel(f"{counted}test {how.score.words} {worse} the best")
    axes.set_ylabel("fraction of data sets")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0, symbol=" %"))
    plain_ticks(axes, "x", 8)
    rules(axes, "both")
    foot.draw(figure)
    return figure


def _label(name: str, gap: float, decimals: int) -> str:
    """Return a name with its mean gap, long ones in several lines."""
    return wrapped(f"{name}  {gap:.{decimals}f}", LABEL_INCH)
