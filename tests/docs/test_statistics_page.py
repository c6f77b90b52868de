"""docs/statistics.md has the tables that simulations printed; its commands exist."""

import shlex
from pathlib import Path

import make_statistics
import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]
SIMULATIONS = yaml.safe_load((TOP / "benchmarks" / "simulations.yaml").read_text(encoding="utf-8"))


def test_the_tables_are_those_that_were_printed() -> None:
    page = make_statistics.PAGE.read_text(encoding="utf-8")
    assert make_statistics.filled(page, make_statistics.outputs()) == page
    assert make_statistics.PLACE.search(page)


def test_what_was_kept_was_printed_by_the_command_of_now() -> None:
    for name, kept in make_statistics.outputs().items():
        assert kept["command"] == SIMULATIONS[name]


def test_a_command_is_one_that_there_is() -> None:
    for command in SIMULATIONS.values():
        program, script, *_ = shlex.split(command)
        assert program == "python"
        assert (TOP / script).is_file()


def test_a_place_is_one_of_a_simulation_and_an_output_without_its_table_an_error() -> None:
    named = {found[1] for found in make_statistics.PLACE.finditer(make_statistics.PAGE.read_text(encoding="utf-8"))}
    assert named == set(SIMULATIONS)
    kept = {"ties": {"command": "x", "output": "| a |\n| - |\n", "date": "d", "seconds": 1}}
    place = "<!-- simulated: {} {} -->\n<!-- end -->"
    assert "| a |\n| - |\n\n`x`, d, 1 s" in make_statistics.filled(place.format("ties", 1), kept)
    with pytest.raises(ValueError, match="printed 1 tables, and the page asks for table 2"):
        make_statistics.filled(place.format("ties", 2), kept)
    assert make_statistics.filled(place.format("looks", 1), kept) == place.format("looks", 1)
