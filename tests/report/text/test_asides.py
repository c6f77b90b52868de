"""Tables beside the report's own: the choice of the best test epoch, tuned arms."""

from typing import Any

import pytest

from poolbench.report import make_report
from poolbench.report.make import gather
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
    assert "too high by construction" in aside.told[0]
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
