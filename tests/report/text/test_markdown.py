"""summary.md: names of all kinds stand in it as they are, and it leads to nothing that is not there."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from poolbench.record import PICTURES_FILE, write_bytes, write_json
from poolbench.report.content import Content
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.report.tables.frames import frame
from poolbench.report.text.asides import asides
from poolbench.report.text.markdown import _aside, summary


def content(results: Any) -> Content:
    return gather(load(results.folder))


def cells(line: str) -> list[str]:
    """Return the cells of a table's row, parted at the bars that are not escaped."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_headings_of_blocks_and_strata_are_escaped(results: Any) -> None:
    results.grid(blocks=[("a|b <x> $y_z$", "digits"), ("slides", "digits")], variants=["max", "avg"], seeds=3)
    made = content(results)
    text = summary(made)
    (heading,) = (line for line in text.splitlines() if line.startswith("| arm | n | Δ over blocks"))
    assert cells(heading)[-2] == r"a\|b \<x\> \$y\_z\$ on digits"
    (of_block,) = {line for line in text.splitlines() if line.startswith("| variant | n | test accuracy")}
    assert "Δ to `max`, points" in of_block
    row = {"backbone": "slides", "dataset": "digits", "variant": "max", "stratum": "male|old", "score_mean": 0.5}
    strata = frame("strata", [row | {"score": "accuracy", "unit": "fraction of 1", "better": "higher"}])
    made.tables["strata"] = strata  # type: ignore[index]
    (aside,) = (one for one in asides(made) if one.name == "strata")
    first, rule, own = _aside(aside)[-1].splitlines()
    assert cells(first)[-1] == r"male\|old"
    assert len(cells(first)) == len(cells(rule)) == len(cells(own)) == 4


def test_line_breaks_begin_nothing(results: Any) -> None:
    figure = {"variant": "max", "dataset": "digits", "backbone": "slides", "test_accuracy": 0.9}
    figure |= {"source": "Smith 2020,\ntable 3\n", "recipe": "200 epochs,\r\nother augmentation"}
    question = "Does it?\n# A heading\n\n- an item"
    write_json(results.folder / "experiment.json", {"question": question, "published": [figure]})
    results.add("max", 0)
    text = summary(content(results))
    assert "**Question.** Does it? # A heading  - an item\n" in text
    (row,) = (line for line in text.splitlines() if "Smith" in line)
    assert cells(row)[-2:] == ["200 epochs, other augmentation", "Smith 2020, table 3"]


@pytest.mark.parametrize("damage", ["other", "no archive"])
def test_without_pictures_that_fit_none_are_named(results: Any, damage: str) -> None:
    record = results.add("max", 0)
    named = sha256(b"other" if damage == "other" else b"pictures").hexdigest()
    write_bytes(results.folder / "records" / record["run_id"] / PICTURES_FILE, b"pictures")
    results.write(record | {"files": {PICTURES_FILE: named}})
    made = content(results)
    assert not made.has_pictures
    assert "pictures.svg" not in summary(made)


def test_without_a_finished_cell_no_mean_is_explained(results: Any) -> None:
    results.add("max", 0, status="failed", reason="no memory")
    made = content(results)
    assert not any("seeds of each variant" in line for line in made.head)
    assert "n = 0" not in summary(made)
    assert "\n\n\n" not in summary(made)
    results.add("avg", 0)
    assert any("mean over the n = 1 seed of each variant" in line for line in content(results).head)


def test_the_folders_name_is_escaped(results: Any, tmp_path: Path) -> None:
    results.add("max", 0)
    folder = tmp_path / "_some_*name*"
    results.folder.rename(folder)
    assert summary(gather(load(folder))).startswith("# \\_some\\_\\*name\\*\n")
