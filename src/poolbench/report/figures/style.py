"""How every figure looks, and how it becomes bytes.

Colours carry nothing alone: shapes, fillings, dashes and lightness say the same, so that a figure reads in grey and for
every kind of colour vision. Figures are drawn without pyplot and its global state; equal figures give equal bytes.
"""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from poolbench.report.looks import GREY

INK, LIGHT, PALE = "#222222", "#bdbdbd", "#e4e4e4"

# Agg draws no image of 2¹⁶ pixels or more.
MOST_PIXELS = 60_000
# Long figures are made coarser than take seconds to compress; the SVG has all their detail.
MOST_IMAGE_PIXELS = 4_500_000
DPI = 160
KINDS = ("svg", "png")

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


@contextmanager
def applied() -> Iterator[None]:
    """Draw in this style inside, whatever a user has set for figures of their own."""
    defaults = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
    with mpl.rc_context({**defaults, **STYLE}), warnings.catch_warnings():  # type: ignore[dict-item]
        # A name in a script that the font lacks is drawn as boxes; the tables have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def encoded(name: str, figure: Figure) -> dict[str, bytes]:
    """Return the figure's files by name, `NAME.svg` and `NAME.png`; equal figures give equal bytes."""
    FigureCanvasAgg(figure)
    width, height = figure.get_size_inches()
    dpi = min(DPI, MOST_PIXELS / max(width, height), math.sqrt(MOST_IMAGE_PIXELS / (width * height)))
    options: dict[str, dict[str, Any]] = {
        "svg": {"metadata": {"Date": None, "Creator": None}},
        # A larger file by a tenth takes half of the time.
        "png": {"metadata": {"Software": None}, "dpi": dpi, "pil_kwargs": {"compress_level": 3}},
    }
    files = {}
    for kind in KINDS:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **options[kind])
        files[f"{name}.{kind}"] = buffer.getvalue()
    return files
