"""How to read the tables: what is said of scores whose margin is relative, or of which less is better."""

from typing import Any

import pytest

from poolbench.report.make import gather
from poolbench.report.reading.loading import load

LOWER = "Where a lower score is better, such as an error, a difference below 0 is better"
MARGIN = "the margin is a fraction of the reference's mean"


@pytest.mark.parametrize(
    ("better", "margin", "says"),
    [
        ("lower", "per cent", [f"{LOWER}, and {MARGIN}."]),
        ("lower", "points", [f"{LOWER}."]),
        ("higher", "per cent", [f"By some gain, {MARGIN}."]),
        ("higher", "points", []),
    ],
)
def test_direction_and_margin_are_independent(results: Any, better: str, margin: str, says: list[str]) -> None:
    score = {"name": "some_gain", "unit": "degrees", "better": better, "margin": margin}
    record = results.add("max", 0, metrics={"test_some_gain": 1.0})
    results.write(record | {"task": {"name": "regression", "score": score}})
    head = gather(load(results.folder)).head
    assert [line for line in head if LOWER in line or MARGIN in line] == says
