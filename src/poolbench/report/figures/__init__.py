"""The figures of a report, each as SVG and PNG: one subject a module, whose `draw` returns the figure, or None.

A figure with nothing to show is left out. Add one by a module with a `draw` and a line in `DRAWINGS`.
"""

from collections.abc import Callable, Iterable, Mapping

from matplotlib.figure import Figure

from poolbench.report import looks
from poolbench.report.content import Content
from poolbench.report.figures import (
    accuracy,
    cost,
    critical_difference,
    curves,
    forest,
    pictures,
    profile,
    style,
    tradeoff,
)

DRAWINGS: Mapping[str, Callable[[Content], Figure | None]] = {
    "accuracy": accuracy.draw,
    "forest": forest.draw,
    "critical_difference": lambda content: critical_difference.draw(content.across),
    "profile": lambda content: profile.draw(content.across, looks.marks(content.blocks)),
    "tradeoff": tradeoff.draw,
    "cost": cost.draw,
    "curves": curves.draw,
    "pictures": pictures.draw,
}
NAMES = tuple(f"{name}.{kind}" for name in DRAWINGS for kind in style.KINDS)


def files(content: Content, names: Iterable[str] = DRAWINGS) -> dict[str, bytes]:
    """Return the files of those figures that have something to show, by name; equal contents give equal bytes."""
    found: dict[str, bytes] = {}
    with style.applied():
        for name in names:
            figure = DRAWINGS[name](content)
            if figure is not None:
                found |= style.encoded(name, figure)
    return found
