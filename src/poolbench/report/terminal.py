"""The tables in the terminal. Text goes to rich as text, never as markup: a variant's name may hold brackets."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from poolbench.record import Problem
from poolbench.report.comparability import NotCompared
from poolbench.report.layout import View

# In a pipe or a log there is no width to ask for.
LOG_WIDTH = 100
MOST_LISTED = 12
# Spaces between two columns.
GAP = 2
# A name up to this is shown on one line, one with settings breaks before them.
ONE_LINE = 20
LONGEST_LINE = 32
ASCII = str.maketrans({"−": "-", "–": "-", "×": "x", "±": "+", "Δ": "d", "√": "v", "→": ">", "…": "."})


def open_console() -> Console:
    """Return a console on standard output, wide enough for the tables where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=max(LOG_WIDTH, console.width))


def show(
    console: Console,
    *,
    folder: Path,
    head: Sequence[str],
    views: Sequence[View],
    warnings: Sequence[str],
    not_compared: Sequence[NotCompared],
    problems: Sequence[Problem],
) -> None:
    """Print the blocks' tables, and after them all that a reader must know about them."""
    write = _Writer(console)
    write.line(Text(f"{folder}", style="bold"))
    for line in head:
        write.line(Text(line, style="dim"))
    speeds = [view.speed for view in views if view.speed]
    for view in views:
        write.line(Text())
        write.line(
            Text(view.title, style="bold").append(view.against and f"  (Δ to {view.against})", style="not bold dim")
        )
        if view.rows:
            for number, table in enumerate(_fitting(view, console)):
                if number:
                    write.line(Text())
                write.raw(table)
        else:
            write.line(Text("  no finished cell"))
        if view.speed and len(set(speeds)) > 1:
            write.line(Text(f"  speed: {view.speed}", style="dim"))
    if speeds and len(set(speeds)) == 1:
        write.line(Text())
        write.line(Text(f"Speed: {speeds[0]}", style="dim"))
    write.listing("Mind", list(warnings), "yellow")
    write.listing("Not compared", [str(entry) for entry in not_compared], "yellow")
    write.listing("Not read", [f"{_within(problem.path, folder)}: {problem.reason}" for problem in problems], "red")


def show_files(console: Console, folder: Path, files: Sequence[Path]) -> None:
    """Print what was written where."""
    write = _Writer(console)
    write.line(Text())
    write.line(Text(f"Written to {folder}: {', '.join(path.name for path in files)}"))


def _within(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path


class _Writer:
    """Prints to a console, in plain characters where it knows no others."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.unicode = console.encoding.lower().startswith("utf")

    def line(self, text: Text) -> None:
        if not self.unicode:
            text = Text(text.plain.translate(ASCII).encode("ascii", "replace").decode(), style=text.style)
        self.console.print(text, highlight=False)

    def raw(self, table: RenderableType) -> None:
        if self.unicode:
            self.console.print(table)
            return
        with self.console.capture() as captured:
            self.console.print(table)
        self.console.file.write(captured.get().translate(ASCII).encode("ascii", "replace").decode())

    def listing(self, title: str, entries: Sequence[str], style: str) -> None:
        if not entries:
            return
        self.line(Text())
        self.line(Text(f"{title} ({len(entries)})", style=f"bold {style}"))
        for entry in entries[:MOST_LISTED]:
            # Two columns, so that the further lines of a long entry are seen to belong to it.
            item = Table.grid(padding=(0, 1, 0, 0))
            item.add_row("-", Text(entry, overflow="fold"))
            self.raw(item)
        if len(entries) > MOST_LISTED:
            self.line(Text(f"  and {len(entries) - MOST_LISTED} more: summary.md lists all"))


def _fitting(view: View, console: Console) -> list[Table]:
    """Return the block as one table, or where the console is too narrow as several: accuracy, then cost.

    A table that is too wide would be cut through its figures.
    """
    widths = _widths(view)
    everything = list(range(1, len(widths)))
    if _total(widths, everything) <= console.width:
        return [_table(view, everything, widths)]
    parts: list[list[int]] = []
    for cost in (False, True):
        part: list[int] = []
        for index in everything:
            if view.headings[index].cost is not cost:
                continue
            if part and _total(widths, [*part, index]) > console.width:
                parts.append(part)
                part = []
            part.append(index)
        parts.append(part)
    return [_table(view, part, widths) for part in parts]


def _widths(view: View) -> list[int]:
    """Return the width of each column: its longest cell, for the variants' names the longest line up to a limit."""
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
