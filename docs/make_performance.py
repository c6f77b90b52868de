"""Make docs/performance.md from what benchmarks printed (docs/performance/*.json), kept by benchmarks/record.py."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "performance.md"
HEAD = """# How fast it is

`python docs/make_performance.py` makes this page from what the commands printed; `python benchmarks/record.py NAME`
runs one and keeps its output in `docs/performance/`. A ratio is measured in turns in one run; 95 % intervals are in
brackets. Machines differ, and one machine differs from hour to hour: compare ratios, not absolute numbers.

| what | figure | command | machine, date |
| --- | --- | --- | --- |
"""


def figure_of(known: dict[str, Any], kept: dict[str, Any]) -> str:
    """Return the figure of a benchmark out of what it printed, with its unit.

    Raises `ValueError` where the output has no such figure: the pattern in figures.yaml is out of date.
    """
    if "figure" not in known:
        return str(known["unit"])
    found = re.search(known["figure"], kept["output"])
    if not found:
        raise ValueError(f"{kept['command']}: its output has no {known['figure']!r}")
    return f"{' / '.join(found.groups())} ({known['unit']})"


def anchor(name: str) -> str:
    """Return the address of a section on the page."""
    return name.replace("_", "-")


def page(figures: dict[str, Any], kept: dict[str, dict[str, Any]]) -> str:
    """Return the page: a row for each benchmark that was kept, then what each printed."""
    rows, sections = [], []
    for name, known in figures.items():
        if name not in kept:
            continue
        one = kept[name]
        where = f"{one['machine']}, {one['cores']} cores, torch {one['torch']}, {one['date']}"
        figure = figure_of(known, one).replace("|", "\\|")
        rows.append(f"| {known['title']} | [{figure}](#{anchor(name)}) | `{one['command']}` | {where} |")
        busy = f"; the machine's load before it was {one['load_before']}" if one["load_before"] > 0.5 else ""
        sections.append(
            f"## {anchor(name)}\n\n{known['title']}\n\n`{one['command']}`, {where}, {one['seconds']} s{busy}\n\n"
            f"```text\n{one['output'].strip()}\n```\n"
        )
    missing = [f"`{known['command'].strip()}`" for name, known in figures.items() if name not in kept]
    if missing:
        sections.append("## Not measured on this version yet\n\n" + "\n".join(f"- {each}" for each in missing) + "\n")
    return HEAD + "\n".join(rows) + "\n\n" + "\n".join(sections)


def main() -> None:
    """Write the page."""
    figures = yaml.safe_load((DOCS.parent / "benchmarks" / "figures.yaml").read_text(encoding="utf-8"))
    kept = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (DOCS / "performance").glob("*.json")}
    PAGE.write_text(page(figures, kept), encoding="utf-8")


if __name__ == "__main__":
    main()
