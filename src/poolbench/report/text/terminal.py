"""The tables in the terminal. Text goes to rich as text, never as markup: a variant's name may hold brackets."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from poolbench.report.content import Content
from poolbench.report.text.across import across_words
from poolbench.report.text.asides import asides
from poolbench.report.text.units import written_row
from poolbench.report.text.values import FLAGGED, SMALL
from poolbench.report.text.views import UNLIKE, View
from poolbench.score import LOWER

# In a pipe or a log there is no width to ask for.
LOG_WIDTH = 100
MOST_LISTED = 12
# What the marks in the tables mean, briefly: `--explain` and the notes under a table say more.
MARKS = {
    FLAGGED: "more than the pooling differs",
    SMALL: "within the test set's error",
    UNLIKE: "implementations differ",
    "~": "interval stayed wide",
}
# Spaces between two columns.
GAP = 2
# A name up to this is shown on one line, one with settings breaks before them.
ONE_LINE = 20
LONGEST_LINE = 32
ASCII = str.maketrans(
    {"−": "-", "–": "-", "×": "x", "±": "+-", "Δ": "diff", "√": "sqrt", "…": "...", "⚑": "!", "≈": "~="}
)


def open_console() -> Console:
    """Return a console on standard output, wide enough for the tables where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=max(LOG_WIDTH, console.width))


class Shown(Enum):
    """How much the terminal shows: the verdict alone, the tables with a legend, or all that explains them."""

    VERDICT = "verdict"
    TABLES = "tables"
    ALL = "all"


def show(console: Console, content: Content, shown: Shown = Shown.TABLES) -> None:
    """Print the tables of the blocks, the verdict, a legend, and what a reader must know before comparing."""
    write = _Writer(console)
    write.line(str(content.folder), "bold")
    if shown is not Shown.VERDICT:
        _show_tables(write, content)
        write.line()
    _show_verdict(write, content, shown)
    if shown is Shown.VERDICT:
        return
    write.line()
    for line in legend(content):
        write.line(line, "dim")
    if shown is Shown.ALL:
        write.listing("How to read the numbers", content.head, "", most=None)
    for aside in asides(content):
        write.listing(aside.title, aside.lines, "")
    write.listing("Warnings", content.warnings, "yellow")
    write.listing("Not compared", [str(entry) for entry in content.not_compared], "yellow")
    unread = [f"{_within(problem.path, content.folder)}: {problem.reason}" for problem in content.problems]
    write.listing("Not read", unread, "red")


def _show_tables(write: "_Writer", content: Content) -> None:
    if content.experiment.question:
        write.line(content.experiment.question)
    for view in content.views:
        write.line()
        write.line(view.title, "bold", aside=f"  (Δ: difference to {view.against})" if view.against else "")
        if view.rows:
            write.view(view)
        else:
            write.line("  no finished cell")
    if content.over_view is not None:
        write.line()
        # The word is explained where it is first used.
        aside = f"  (a block: one network on one data set; Δ: difference to {content.over_view.against})"
        write.line(content.over_view.title, "bold", aside=aside)
        write.view(content.over_view)


def _show_verdict(write: "_Writer", content: Content, shown: Shown) -> None:
    said = content.spoken or content.words[:1]
    if said:
        write.line("Verdict", "bold")
    for sentence in said:
        write.item(sentence)
    if shown is Shown.ALL:
        write.listing(
            "In detail", [*content.words, *across_words(content.across), *content.across.left_out], "", most=None
        )


def legend(content: Content) -> list[str]:
    """Return how the tables are to be read, in five lines of 80 characters (a rule of looks takes one more)."""
    compared = any(view.against for view in content.views)
    lines = ["n: seeds; ±: half of a 95 % interval" + ", at Δ of the one that decides (Holm)." * compared]
    errors = dict.fromkeys(written_row(row).score.words for row in content.rows.values() if row["better"] == LOWER)
    if errors:
        lines.append(f"Lower is better in {' and '.join(errors)}" + ", and a Δ below 0." * compared)
    if content.rule:
        lines.append(content.rule)
    marks = {
        mark for view in content.views for row in view.rows for cell in row.cells for mark in MARKS if mark in cell
    }
    if marks:
        lines.append("; ".join(f"{mark} {MARKS[mark]}" for mark in MARKS if mark in marks) + ".")
    speeds = {view.speed for view in content.views if view.speed}
    if speeds:
        lines.append(f"Speed: {'; '.join(sorted(speeds))}. Above 1, train × is faster and latency × slower.")
    lines.append("All columns: summary.csv. `poolbench report --explain` explains each number.")
    return lines


def show_views(
    console: Console, *, title: str, words: Sequence[str], views: Sequence[View], warnings: Sequence[str]
) -> None:
    """Print some blocks' tables under a title, with what is to be said of them."""
    write = _Writer(console)
    write.line(title, "bold")
    for sentence in words:
        write.item(sentence)
    for view in views:
        write.line()
        write.line(view.title, "bold")
        write.view(view)
    write.listing("Warnings", warnings, "yellow")


def show_files(console: Console, folder: Path, files: Sequence[Path]) -> None:
    """Print what was written where, in a line: pages and texts by their names, tables and figures by their number."""
    kinds = Counter(path.suffix for path in files)
    tables, figures = kinds[".csv"], kinds[".png"]
    parts = [
        *(path.name for path in files if path.suffix == ".html"),
        *([f"{tables} table{'s' * (tables != 1)} (.csv, .parquet)"] if tables else []),
        *([f"{figures} figure{'s' * (figures != 1)}"] if figures else []),
        *(path.name for path in files if path.suffix == ".md"),
    ]
    _Writer(console).line(f"Written to {folder}: {', '.join(parts)}")


def _within(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path


class _Writer:
    """Prints to a console, in plain characters where it knows no others."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.unicode = console.encoding.lower().startswith("utf")

    def text(self, text: str) -> str:
        """Return the text in characters that the console has."""
        return text if self.unicode else text.translate(ASCII).encode("ascii", "replace").decode()

    def line(self, text: str = "", style: str = "", aside: str = "") -> None:
        line = Text(self.text(text), style=style).append(self.text(aside), style="not bold dim")
        self.console.print(line, highlight=False)

    def view(self, view: View) -> None:
        shown = replace(
            view,
            headings=tuple(replace(heading, short=self.text(heading.short)) for heading in view.headings),
            rows=tuple(
                replace(row, cells=tuple(map(self.text, row.cells)), notes=tuple(map(self.text, row.notes)))
                for row in view.rows
            ),
        )
        for number, table in enumerate(_fitting(shown, self.console.width)):
            if number:
                self.line()
            self.console.print(table)
        for note in _footnotes(shown):
            self.line(f"  {note}", "dim")

    def item(self, entry: str) -> None:
        # Indented, so that the further lines of a long entry are seen to belong to it.
        for number, line in enumerate(Text(self.text(entry)).wrap(self.console, self.console.width - 2)):
            line.rstrip()
            self.console.print(Text("  " if number else "- ").append_text(line), highlight=False)

    def listing(self, title: str, entries: Sequence[str], style: str, most: int | None = MOST_LISTED) -> None:
        if not entries:
            return
        self.line()
        self.line(f"{title} ({len(entries)})", f"bold {style}")
        for entry in entries[:most]:
            self.item(entry)
        if most is not None and len(entries) > most:
            self.line(f"  and {len(entries) - most} more: summary.md lists all")


def _footnotes(view: View) -> list[str]:
    """Return what must be said of arms, a line for each note: those that share one stand together."""
    named: dict[str, list[str]] = {}
    for row in view.rows:
        for note in row.notes:
            named.setdefault(note, []).append(row.cells[0])
    return [f"{', '.join(names)}: {note}" for note, names in named.items()]


def _fitting(view: View, width: int) -> list[Table]:
    """Return the block as one table, or where the console is too narrow as several: accuracy, then cost.

    A table that is too wide would be cut through its figures.
    """
    everything = list(range(1, len(view.headings)))
    widths = _widths(view)
    if _total(widths, everything) <= width:
        return [_table(view, everything, widths)]
    parts: list[list[int]] = []
    for cost in (False, True):
        part: list[int] = []
        for index in everything:
            if view.headings[index].cost is not cost:
                continue
            if part and _total(widths, [*part, index]) > width:
                parts.append(part)
                part = []
            part.append(index)
        if part:
            parts.append(part)
    # A view of names alone is a table, too.
    return [_table(view, part, widths) for part in parts or [[]]]


def _widths(view: View) -> list[int]:
    """Return the width of each column: its longest cell; for the names the longest line, up to a limit."""
    columns = list(zip(*(row.cells for row in view.rows), strict=True))
    widths = [
        max(cell_len(heading.short), *map(cell_len, cells))
        for heading, cells in zip(view.headings, columns, strict=True)
    ]
    lines = [line for name in columns[0] for line in _foldable(name).split("\n")]
    widths[0] = min(LONGEST_LINE, max(map(cell_len, [view.headings[0].short, *lines])))
    return widths


def _total(widths: Sequence[int], columns: Sequence[int]) -> int:
    return widths[0] + sum(widths[index] + GAP for index in columns)


def _table(view: View, columns: Sequence[int], widths: Sequence[int]) -> Table:
    # The box parts columns by one space of its own.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), show_edge=False)
    # As text: a name's settings, `lenet5[width=8]`, are no markup.
    table.add_column(Text(view.headings[0].short), overflow="fold", width=widths[0])
    for index in columns:
        table.add_column(Text(view.headings[index].short), justify="right", no_wrap=True, width=widths[index])
    for row in view.rows:
        style = "bold" if row.is_reference else ""
        name = Text(_foldable(row.cells[0]), style=style)
        table.add_row(name, *(Text(row.cells[index], style=style) for index in columns))
    return table


def _foldable(variant: str) -> str:
    """Break a long name where a reader would: before its settings, and between these.

    >>> print(_foldable("avg[kernel_size=3,stride=2,padding=1]"))
    avg
      [kernel_size=3,stride=2,
       padding=1]
    """
    if len(variant) <= ONE_LINE:
        return variant
    name, bracket, rest = variant.partition("[")
    if not bracket:
        return variant
    lines = [f"  {bracket}"]
    for part in re.split(r"(?<=,)", rest):
        if len(lines[-1]) + len(part) > LONGEST_LINE and lines[-1].strip(" ["):
            lines.append("   ")
        lines[-1] += part
    return "\n".join([name, *lines])
