"""The figures of docs/masks.md are those of the committed runs that it names."""

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "masks.md").read_text(encoding="utf-8")
# A run that is named, and the tables behind it up to the next heading.
RUN = re.compile(r"`(results/reference/\w+/summary\.md)`(.*?)(?=`results/reference/|\n## |\Z)", re.DOTALL)


def test_rows_stand_in_the_summary_of_the_run() -> None:
    found = RUN.findall(PAGE)
    assert found
    for path, behind in found:
        lines = (TOP / path).read_text(encoding="utf-8").splitlines()
        rows = [line for line in behind.splitlines() if line.startswith("|") and " ± " in line]
        assert rows, f"{path} is named without a table"
        for row in rows:
            assert row in lines, f"docs/masks.md: not in {path}: {row}"
