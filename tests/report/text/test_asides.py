"""Tables beside the report's own: the choice of the best test epoch, tuned arms."""

from typing import Any

import pytest

from poolbench.report.make import gather, make_report
from poolbench.report.reading.loading import load
from poolbench.report.text.asides import asides
from poolbench.report.text.markdown import summary


def add(results: Any, variant: str, seed: int, selected: float, tested: list[float]) -> None:
    record = results.add(variant, seed, selected)
    record["history"] = [{"epoch": epoch, "test_accuracy": accuracy} for epoch, accuracy in enumerate(tested)]
    results.write(record)


def test_the_best_test_epoch_by_hand_and_said_to_be_too_high(results: Any) -> None:
    add(results, "max", 0, 0.70, [0.60, 0.72, 0.70])
    add(results, "max", 1, 0.72, [0.60, 0.72, 0.70])
    add(results, "avg", 0, 0.71, [0.75, 0.71, 0.70])
    add(results, "avg", 1, 0.70, [0.60, 0.61, 0.77])
    # No part of a column of figures that has others for every epoch.
    results.add("avg_topk", 0, 0.9)
    content = gather(load(results.folder))
    table = content.tables["best_test_epoch"].set_index("variant")
    assert list(table.index) == ["max", "avg"]
    assert table.loc["avg", "test_accuracy_mean"] == pytest.approx(0.705)
    assert table.loc["avg", "best_test_epoch_accuracy_mean"] == pytest.approx(0.76)
    assert table.loc["avg", "gain"] == pytest.approx(0.055)
    assert table.loc["avg", "difference_mean"] == pytest.approx(-0.005)
    assert table.loc["avg", "best_test_epoch_difference_mean"] == pytest.approx(0.04)
    (aside,) = asides(content)
    assert aside.rows[1] == ("slides", "digits", "avg", "70.50", "76.00", "+5.50", "−0.50", "+4.00")
    assert "too high by construction" in aside.notes[0]
    # It has no part in what is decided.
    accuracy = content.tables["accuracy"].set_index("variant")
    assert accuracy.loc["avg", "difference_mean"] == pytest.approx(-0.005)
    assert "| slides | digits | avg | 70.50 | 76.00 |" in summary(content)
    make_report(results.folder)
    page = (results.folder / "report.html").read_text()
    assert 'id="best_test_epoch"' in page
    assert (results.folder / "best_test_epoch.csv").is_file()


def test_an_epoch_without_the_figure_leaves_the_cell_out(results: Any) -> None:
    add(results, "max", 0, 0.70, [0.60, float("nan")])
    results.add("avg", 0, 0.7)
    content = gather(load(results.folder))
    assert "best_test_epoch" not in content.tables
    assert asides(content) == []


def test_of_errors_the_best_epoch_is_the_lowest_and_rows_of_two_tasks_say_their_units(results: Any) -> None:
    error = {"name": "mean_absolute_error", "unit": "m", "better": "lower", "margin": "per cent"}
    for variant, tested in (("max", [0.3, 0.2, 0.4]), ("avg", [0.3, 0.1, 0.2])):
        record = results.add(variant, 0, dataset="line")
        record["task"] = {"name": "own", "score": error}
        record["metrics"] = {"test_mean_absolute_error": 0.3, "val_mean_absolute_error": 0.3, "test_loss": 1.0}
        record["history"] = [{"epoch": n, "test_mean_absolute_error": value} for n, value in enumerate(tested)]
        results.write(record)
    table = gather(load(results.folder)).tables["best_test_epoch"].set_index("variant")
    assert table.loc["avg", "best_test_epoch_score_mean"] == pytest.approx(0.1)
    assert table.loc["avg", "best_test_epoch_difference_mean"] == pytest.approx(-0.1)
    assert table.filter(like="accuracy").isna().all(axis=None)
    add(results, "max", 0, 0.70, [0.60, 0.72])
    (aside,) = asides(gather(load(results.folder)))
    assert ("slides", "line", "avg", "0.300 m", "0.100 m", "−0.200 m", "+0.000 m", "−0.100 m") in aside.rows
    assert ("slides", "digits", "max", "70.00 %", "72.00 %", "+2.00 points", "–", "–") in aside.rows
