"""docs/performance.md is what docs/make_performance.py makes of the kept outputs; its commands exist."""

import json
import shlex
from pathlib import Path

import make_performance
import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]
FIGURES = yaml.safe_load((TOP / "benchmarks" / "figures.yaml").read_text(encoding="utf-8"))
KEPT = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (TOP / "docs/performance").glob("*.json")}


def test_the_page_is_made_from_what_was_kept() -> None:
    assert make_performance.PAGE.read_text(encoding="utf-8") == make_performance.page(FIGURES, KEPT)


def test_what_was_kept_belongs_to_a_figure() -> None:
    assert set(KEPT) <= set(FIGURES)
    for name, kept in KEPT.items():
        assert kept["command"] == " ".join(FIGURES[name]["command"].split())


@pytest.mark.parametrize("name", FIGURES)
def test_a_command_is_one_that_there_is(name: str) -> None:
    program, script, *_ = shlex.split(FIGURES[name]["command"])
    assert program in ("python", "poolbench")
    assert (TOP / script).is_file() if program == "python" else script == "bench"


def test_a_pattern_without_a_match_is_an_error() -> None:
    kept = {"command": "x", "output": "nothing"}
    with pytest.raises(ValueError, match="has no"):
        make_performance.figure_of({"figure": "([0-9]+) s", "unit": "s"}, kept)
