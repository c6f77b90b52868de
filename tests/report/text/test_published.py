"""Published figures beside one's own: matched by the names, set apart, in no statistic."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from poolbench.experiment import Experiment, write_experiment
from poolbench.report.content import Content
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.report.tables.columns import names
from poolbench.report.text import markdown, published


def figure(variant: str = "max", accuracy: float = 0.95, **more: Any) -> dict[str, Any]:
    return {
        "source": "Doe 2020, table 3",
        "backbone": "slides",
        "dataset": "digits",
        "variant": variant,
        "test_accuracy": accuracy,
        "recipe": "300 epochs",
    } | more


def reported(results: Any, figures: Sequence[dict[str, Any]]) -> Content:
    write_experiment(results.folder, Experiment.of("example", None, None, figures))
    return gather(load(results.folder))


def first(content: Content) -> dict[str, Any]:
    return dict(content.tables["published"].iloc[0])


def test_the_gap_by_hand(results: Any) -> None:
    for seed, accuracy in enumerate((0.90, 0.92, 0.94)):
        results.add("max", seed, accuracy)
    content = reported(results, [figure(accuracy=0.95, test_accuracy_std=0.0012, n_runs=5)])
    row = first(content)
    # The mean of three is .92; its interval 4.3027 · .02 / √3 to either side.
    assert row["n_seeds"] == 3
    assert row["test_accuracy_mean"] == pytest.approx(0.92)
    assert row["test_accuracy_ci95_high"] == pytest.approx(0.92 + 0.0496827, abs=1e-6)
    assert row["gap"] == pytest.approx(-0.03)
    assert published.cells(content.tables["published"]) == [
        (
            *("slides", "digits", "max"),
            *("95.00 (std 0.12), 5 runs", "92.00 ± 4.97, n = 3", "−3.00"),
            *("300 epochs", "Doe 2020, table 3"),
        )
    ]


def test_a_figure_that_says_little(results: Any) -> None:
    results.add("max", 0, 0.96)
    content = reported(results, [figure(accuracy=1, n_runs=1)])
    (cells,) = published.cells(content.tables["published"])
    assert cells[3:6] == ("100.00, 1 run", "96.00, n = 1", "−4.00")


@pytest.mark.parametrize(
    "other", [figure("avg"), figure(backbone="lenet5"), figure(dataset="cifar10")], ids=["variant", "backbone", "data"]
)
def test_without_an_arm_of_these_names_ones_own_columns_are_empty(results: Any, other: dict[str, Any]) -> None:
    results.add("max", 0, 0.9)
    table = reported(results, [other, figure()]).tables["published"]
    own = ["n_seeds", "test_accuracy_mean", "test_accuracy_ci95_low", "test_accuracy_ci95_high", "gap"]
    assert table.loc[0, own].isna().all()
    assert table.loc[1, "gap"] == pytest.approx(-0.05)
    assert published.cells(table)[0][4:6] == ("–", "–")


def test_without_a_finished_cell_likewise(results: Any) -> None:
    results.add("max", 0, 0.9)
    results.add("avg", 0, status="failed", reason="no")
    content = reported(results, [figure("avg")])
    assert published.cells(content.tables["published"])[0][4:6] == ("–", "–")


def test_two_figures_of_one_arm_stand_in_their_order(results: Any) -> None:
    results.add("max", 0, 0.9)
    table = reported(results, [figure(source="B"), figure(source="A", accuracy=0.5)]).tables["published"]
    assert table["source"].tolist() == ["B", "A"]
    assert table["gap"].tolist() == pytest.approx([-0.05, 0.4])


def test_the_columns_are_as_defined(results: Any) -> None:
    results.add()
    assert reported(results, [figure()]).tables["published"].columns.tolist() == names("published")


def test_they_change_no_other_table_and_no_verdict(results: Any) -> None:
    results.grid(blocks=[("slides", "digits")], variants=["max", "avg"], seeds=3)
    before = gather(load(results.folder))
    after = reported(results, [figure(), figure("avg", 0.1)])
    for name, table in before.tables.items():
        assert table.equals(after.tables[name]), name
    assert (before.words, before.warnings) == (after.words, after.warnings)
    assert "published" not in before.tables


def test_markdown_has_a_table_of_its_own(results: Any) -> None:
    results.add("max", 0, 0.9)
    text = markdown.summary(reported(results, [figure(recipe="a | b", source="Doe *et al.*")]))
    part = text.partition("## Beside published figures\n\n")[2].partition("\n\n## ")[0]
    told, table = part.split("\n\n")
    assert "enter no statistic" in told
    lines = table.splitlines()
    assert len(lines) == 3
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {9}
    assert lines[2].endswith(r"| a \| b | Doe \*et al.\* |")
    assert "Doe" not in text.replace(part, "")
    assert "`published.csv`" in text


def test_markdown_has_none_without_them(results: Any) -> None:
    results.add()
    text = markdown.summary(gather(load(results.folder)))
    assert "ublished" not in text
    assert "Question" not in text


def test_the_question_stands_at_the_top(results: Any) -> None:
    results.add()
    write_experiment(results.folder, Experiment.of("example", "Which *one*?", "The first.", None))
    text = markdown.summary(gather(load(results.folder)))
    assert text.startswith("# example\n\n**Question.** Which \\*one\\*?\n\n**Expected.** The first.\n\n")


def test_a_published_difference_stands_beside_the_difference_here(results: Any) -> None:
    for seed, (own, reference) in enumerate(((0.93, 0.90), (0.94, 0.92), (0.95, 0.94))):
        results.add("max", seed, reference)
        results.add("avg", seed, own)
    claim = {key: value for key, value in figure("avg", n_runs=6).items() if key != "test_accuracy"}
    content = reported(results, [claim | {"difference": 0.0432}])
    row = first(content)
    assert row["difference_mean"] == pytest.approx(0.02)
    assert row["gap"] == pytest.approx(0.02 - 0.0432)
    (cells,) = published.cells(content.tables["published"])
    assert cells[3] == "+4.32 points over the reference, 6 runs"
    assert cells[4].startswith("+2.00 ± ")
    assert cells[5] == "−2.32"
