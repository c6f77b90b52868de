"""A table in a terminal that is too narrow for it: several below each other, each with the names of the rows.

Cut or folded to a character a line, a table says nothing.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

# Wider than any table.
UNBOUNDED = 10_000


def tables(
    out: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], *, names: int, left: int, title: str = ""
) -> list[Table]:
    """Return one table where the console is wide enough for it, else as many as are needed.

    Args:
        out: where they are to be printed.
        headings: of the columns.
        rows: the texts of the cells.
        names: so many columns say which row it is: they begin every table.
        left: so many columns are set to the left, as words are; figures are set to the right.
        title: stands above the first.
    """
    parts: list[list[int]] = [[]]
    for index in range(names, len(headings)):
        wider = _table(headings, rows, [*range(names), *parts[-1], index], left, title)
        if parts[-1] and Measurement.get(out, out.options.update(width=UNBOUNDED), wider).maximum > out.width:
            parts.append([])
        parts[-1].append(index)
    return [
        _table(headings, rows, [*range(names), *part], left, "" if number else title)
        for number, part in enumerate(parts)
    ]


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int], left: int, title: str
) -> Table:
    table = Table(title=Text(title) if title else None, title_justify="left")
    for index in columns:
        if index < left:
            table.add_column(headings[index], overflow="fold")
        else:
            table.add_column(headings[index], justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[index]) for index in columns))
    return table
