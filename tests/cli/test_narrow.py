"""Tables in a terminal that is too narrow for them."""

import io

from rich.console import Console

from poolbench.cli.narrow import tables

HEADINGS = ("site", "operator", "in", "parameters")
ROWS = [("pool1", "AvgTopKPool2d(k=2)", "6×16×16", "12,345"), ("pool[b]2", "MaxPool2d", "16×8×8", "0")]


def printed(width: int) -> list[list[str]]:
    out = Console(file=io.StringIO(), width=width)
    found = []
    for table in tables(out, HEADINGS, ROWS, names=1, left=2, title="T[a]"):
        out.file = io.StringIO()
        out.print(table)
        found.append(out.file.getvalue().splitlines())
    return found


def test_one_table_where_it_fits() -> None:
    (lines,) = printed(60)
    assert "T[a]" in lines[0]
    assert all(any(text in line for line in lines) for text in (*HEADINGS, *ROWS[0], *ROWS[1]))


def test_several_where_it_does_not_and_nothing_is_cut() -> None:
    found = printed(36)
    assert len(found) > 1
    for lines in found:
        assert max(map(len, lines)) <= 36
        assert all(any(row[0] in line for line in lines) for row in ROWS)
    everything = "\n".join("\n".join(lines) for lines in found)
    assert all(text in everything for row in ROWS for text in row)
    assert everything.count("T[a]") == 1
