"""The marks of variants and verdicts, drawn."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import IdentityTransform

from poolbench.report.looks import REFERENCE, Mark


def draw_marks(axes: Axes, x: np.ndarray, y: np.ndarray, drawn: Sequence[Mark], *, size: float = 7.5) -> None:
    """Draw marks at points, the references larger, so that their square looks out from under what lies on it.

    One artist for all of them, drawn in order: a panel with an artist a point takes several times as long.
    """
    paths, faces, edges, widths, sizes = [], [], [], [], []
    for mark in drawn:
        shape = MarkerStyle(mark.shape)
        paths.append(shape.get_path().transformed(shape.get_transform()))
        faces.append(mark.face)
        edges.append("white" if mark.filled else mark.colour)
        widths.append(0.6 if mark.filled else 1.3)
        # A ring's line lies half outside it.
        sizes.append((size + 2 * (mark is REFERENCE) - 1.3 * (not mark.filled)) ** 2)
    points = PathCollection(
        paths,
        sizes=sizes,
        offsets=np.column_stack([x, y]),
        offset_transform=axes.transData,
        facecolors=faces,
        edgecolors=edges,
        linewidths=widths,
        zorder=4,
    )
    # The shapes are in points, only where they stand is in the axes' figures.
    points.set_transform(IdentityTransform())
    axes.add_collection(points, autolim=False)


def mark_handle(mark: Mark, text: str, *, line: bool = False) -> Line2D:
    """Return a legend's entry for a mark."""
    return Line2D(
        [],
        [],
        linestyle=mark.dashes if line else "",
        linewidth=1.6,
        color=mark.colour,
        marker=mark.shape,
        markersize=6,
        markerfacecolor=mark.face,
        markeredgecolor=mark.colour,
        label=text,
    )
