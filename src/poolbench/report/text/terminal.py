"""The tables in the terminal. Text goes to rich as text, never as markup: a variant's name may hold brackets."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from poolbench.report.content import Content
from poolbench.report.text import published
from poolbench.report.text.views import View

# In a pipe or a log there is no width to ask for.
LOG_WIDTH = 100
MOST_LISTED = 12
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


def show(console: Console, content: Content) -> None:
    """Print the verdict, the blocks' tables, and after them all that a reader must know about them."""
    write = _Writer(console)
    views = content.views
    write.line(str(content.folder), "bold")
    if content.experiment.question:
        write.line(content.experiment.question)
    for sentence in (*content.words, *content.across.words(), *content.across.left_out):
        write.item(sentence)
    write.line()
    for line in content.head:
        write.line(line, "dim")
    speeds = [view.speed for view in views if view.speed]
    if content.over_view is not None:
        write.line()
        write.line(content.over_view.title, "bold", aside=f"  (Δ to {content.over_view.against})")
        write.view(content.over_view)
    for view in views:
        write.line()
        write.line(view.title, "bold", aside=f"  (Δ to {view.against})" if view.against else "")
        if view.rows:
            write.view(view)
        else:
            write.line("  no finished cell")
        if view.speed and len(set(speeds)) > 1:
            write.line(f"  speed: {view.speed}", "dim")
    if speeds and len(set(speeds)) == 1:
        write.line()
        write.line(f"Speed: {speeds[0]}", "dim")
    table = content.tables.get("published")
    if table is not None:
        write.listing("Beside published figures", [_published(cells) for cells in published.cells(table)], "")
    write.listing("Mind", content.warnings, "yellow")
    write.listing("Not compared", [str(entry) for entry in content.not_compared], "yellow")
    told = [f"{_within(problem.path, content.folder)}: {problem.reason}" for problem in content.problems]
    write.listing("Not read", told, "red")


def _published(cells: Sequence[str]) -> str:
    backbone, dataset, variant, theirs, here, gap, recipe, source = cells
    return f"{backbone} on {dataset}, {variant}: published {theirs}, here {here}, gap {gap} ({recipe}; {source})"


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
    write.listing("Mind", warnings, "yellow")


def show_files(console: Console, folder: Path, files: Sequence[Path]) -> None:
    """Print what was written where."""
    write = _Writer(console)
    write.line()
    write.line(f"Written to {folder}: {', '.join(path.name for path in files)}")


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

    def item(self, entry: str) -> None:
        # Two columns, so that the further lines of a long entry are seen to belong to it.
        item = Table.grid(padding=(0, 1, 0, 0))
        item.add_row("-", Text(self.text(entry), overflow="fold"))
        self.console.print(item)

    def listing(self, title: str, entries: Sequence[str], style: str) -> None:
        if not entries:
            return
        self.line()
        self.line(f"{title} ({len(entries)})", f"bold {style}")
        for entry in entries[:MOST_LISTED]:
            self.item(entry)
        if len(entries) > MOST_LISTED:
            self.line(f"  and {len(entries) - MOST_LISTED} more: summary.md lists all")


def _fitting(view: View, width: int) -> list[Table]:
    """Return the block as one table, or where the console is too narrow as several: accuracy, then cost.

    A table that is too wide would be cut through its figures.
    """
    everything = list(range(1, len(view.headings)))
    widths = _widths(view, notes=[note for row in view.rows for note in row.notes])
    if _total(widths, everything) > width:
        # Notes may be broken between words.
        widths = _widths(view, notes=[word for row in view.rows for note in row.notes for word in note.split()])
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
        parts.append(part)
    return [_table(view, part, widths) for part in parts]


def _widths(view: View, *, notes: Sequence[str]) -> list[int]:
    """Return the width of each column: its longest cell; for the names the longest line or note, up to a limit."""
    columns = list(zip(*(row.cells for row in view.rows), strict=True))
    widths = [
        max(cell_len(heading.short), *map(cell_len, cells))
        for heading, cells in zip(view.headings, columns, strict=True)
    ]
    lines = [line for name in columns[0] for line in _foldable(name).split("\n")]
    widths[0] = min(LONGEST_LINE, max(map(cell_len, [view.headings[0].short, *lines, *notes])))
    return widths


def _total(widths: Sequence[int], columns: Sequence[int]) -> int:
    return widths[0] + sum(widths[index] + GAP for index in columns)


def _table(view: View, columns: Sequence[int], widths: Sequence[int]) -> Table:
    # The box parts columns by one space of its own.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), show_edge=False)
    table.add_column(view.headings[0].short, overflow="fold", width=widths[0])
    for index in columns:
        table.add_column(view.headings[index].short, justify="right", no_wrap=True, width=widths[index])
    for row in view.rows:
        style = "bold" if row.is_reference else ""
        name = Text(_foldable(row.cells[0]), style=style)
        if 1 in columns:
            for note in row.notes:
                name.append(f"\n{note}", style="not bold dim")
        table.add_row(name, *(Text(row.cells[index], style=style) for index in columns))
    return table


def _foldable(variant: str) -> str:
    """Break a long name where a reader would: before its settings."""
    if len(variant) <= ONE_LINE:
        return variant
    name, bracket, rest = variant.partition("[")
    return f"{name}\n  {bracket}{rest}" if bracket else variant
