"""The terminal's tables: names stand as they are."""

import io

from rich.console import Console

from poolbench.report.text.terminal import show_views
from poolbench.report.text.views import Heading, Row, View


def test_settings_in_a_heading_or_a_cell_are_no_markup() -> None:
    names = ("variant", "ecg_cnn[stages=1] on ecg_beats", "ecg_cnn[stages=3] on ecg_beats")
    rows = (Row(("avg[k=3]", "+1.00 [b]", "−1.00 [/b]"), (), is_reference=False),)
    view = View("Mean", "max", tuple(Heading(name, name) for name in names), rows, speed="", absent=())
    out = io.StringIO()
    show_views(Console(file=out, width=120), title="T[a]", words=["w[b]"], views=[view], warnings=["x[c]"])
    for text in (*names, *rows[0].cells, "T[a]", "w[b]", "x[c]"):
        assert text in out.getvalue()
