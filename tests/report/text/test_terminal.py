"""The terminal's tables: names stand as they are."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from poolbench.report.text.terminal import show_files, show_views
from poolbench.report.text.views import Heading, Row, View


def test_settings_in_a_heading_or_a_cell_are_no_markup() -> None:
    names = ("variant", "ecg_cnn[stages=1] on ecg_beats", "ecg_cnn[stages=3] on ecg_beats")
    rows = (Row(("avg[k=3]", "+1.00 [b]", "−1.00 [/b]"), (), is_reference=False),)
    view = View("Mean", "max", tuple(Heading(name, name) for name in names), rows, speed="", absent=())
    out = io.StringIO()
    show_views(Console(file=out, width=120), title="T[a]", words=["w[b]"], views=[view], warnings=["x[c]"])
    for text in (*names, *rows[0].cells, "T[a]", "w[b]", "x[c]"):
        assert text in out.getvalue()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("versus.csv", "versus.parquet", "versus.md"), "1 table (.csv, .parquet), versus.md"),
        (
            ("a.csv", "a.parquet", "b.csv", "summary.md", "summary.tex", "cost.png", "cost.svg", "report.html"),
            "report.html, 2 tables (.csv, .parquet), 1 figure, summary.md",
        ),
    ],
)
def test_what_was_written_is_named_and_nothing_else(names: tuple[str, ...], says: str) -> None:
    out, folder = io.StringIO(), Path("there")
    show_files(Console(file=out, width=200), folder, [folder / name for name in names])
    assert out.getvalue() == f"Written to there: {says}\n"


def test_a_narrow_console_has_no_table_of_names_alone() -> None:
    headings = (Heading("variant", "variant"), *(Heading(f"column {at}", "") for at in range(3)))
    view = View("Mean", "max", headings, (Row(("avg", "1", "2", "3"), (), is_reference=False),), speed="", absent=())
    out = io.StringIO()
    show_views(Console(file=out, width=30), title="T", words=[], views=[view], warnings=[])
    lines = out.getvalue().split("\n")
    assert sum("variant" in line for line in lines) == 2
    assert all("column" in line for line in lines if "variant" in line)
