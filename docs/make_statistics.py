"""Put the tables that simulations printed (docs/simulations/*.json, see benchmarks/record.py) into docs/statistics.md.

The page has a place for each: `<!-- simulated: NAME N -->` … `<!-- end -->`, N the table of that output, from 1 on.
"""

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "statistics.md"
KEPT = DOCS / "simulations"
PLACE = re.compile(r"<!-- simulated: (\w+) (\d+) -->\n.*?<!-- end -->", re.DOTALL)
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


def shown(kept: dict[str, Any], number: int) -> str:
    """Return one table of an output, and by which command and when it was made.

    Raises `ValueError` where the output has no such table.
    """
    tables = TABLE.findall(kept["output"] + "\n")
    if not 1 <= number <= len(tables):
        raise ValueError(f"{kept['command']} printed {len(tables)} tables, and the page asks for table {number}")
    table = "".join(f"{line.rstrip()}\n" for line in tables[number - 1].splitlines())
    return f"{table}\n`{kept['command']}`, {kept['date']}, {kept['seconds']} s"


def filled(page: str, kept: dict[str, dict[str, Any]]) -> str:
    """Return the page with every table in its place; where no output is kept, what stands there stays."""

    def put(found: re.Match[str]) -> str:
        name, number = found[1], int(found[2])
        if name not in kept:
            return found[0]
        return f"<!-- simulated: {name} {number} -->\n{shown(kept[name], number)}\n<!-- end -->"

    return PLACE.sub(put, page)


def outputs() -> dict[str, dict[str, Any]]:
    """Return what is kept, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(KEPT.glob("*.json"))}


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), outputs()), encoding="utf-8")


if __name__ == "__main__":
    main()
