"""What articles claim of their operators, beside what the experiments of this repository found."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from poolbench.report.text.units import written_row
from poolbench.report.text.values import deciding, given
from poolbench.score import ACCURACY

HERE = Path(__file__).resolve().parent
REFERENCE = HERE.parents[1] / "results" / "reference"
KEYS = {"task", "claim", "read"}


def claims(path: Path = HERE / "claims.yaml") -> dict[str, dict[str, str]]:
    """Return what is claimed of each operator, by name: `task`, `claim`, `read`.

    Raises:
        ValueError: an entry has other keys.
    """
    found: dict[str, dict[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, entry in found.items():
        if set(entry) != KEYS:
            raise ValueError(f"`{name}` of {path.name} must say {', '.join(sorted(KEYS))}, got {', '.join(entry)}")
    return found


def year_of(source: str) -> str:
    """Return the year that a source names first, "–" where there is none.

    >>> year_of("Graham, Fractional Max-Pooling (2014), section 2."), year_of("")
    ('2014', '–')
    """
    match = re.search(r"\((\d{4})\b", source) or re.search(r"\b((?:19|20)\d{2})\b", source)
    return match[1] if match else "–"


def findings(folder: Path = REFERENCE) -> dict[str, list[str]]:
    """Return what the committed experiments found of each variant, by its name: a line for each block.

    Read from the reports' tables of scores; a variant with other arguments than its file's is named with them. One seed
    finds nothing.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/scores.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["difference_ci95_low"]:
                    name = row["variant"].partition("[")[0]
                    found.setdefault(name, []).append(_finding(path.parent.name, row))
    return found


def _finding(experiment: str, row: Mapping[str, str]) -> str:
    ends = deciding(row)
    if not given(ends[0]):
        ends = row["difference_ci95_low"], row["difference_ci95_high"]
    how = written_row({**row, "score_mean": float(row["score_mean"])})
    low, high, mean = (how.scale * float(value) for value in (*ends, row["difference_mean"]))
    named = f" as {row['variant']}" if "[" in row["variant"] else ""
    unit = how.difference_unit
    if row["score"] != ACCURACY.name:
        unit = f"{unit} of {how.score.words}{how.direction}" if unit else f"of {how.score.words}{how.direction}"
    digits = how.decimals
    points = f"{mean:+.{digits}f} {unit} [{low:+.{digits}f}, {high:+.{digits}f}]".replace("-", "−")
    where = f"{row['dataset']}, {row['backbone']}{named}"
    return f"{where}: {points} beside {row['reference']}, {row['verdict']}, {row['n_paired']} seeds ({experiment})"
