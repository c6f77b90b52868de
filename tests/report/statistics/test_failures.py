"""Cells that failed stand before what the others say; what equal seeds gained; what a reader must mind."""

from typing import Any

import numpy as np
import pytest

from poolbench.report.content import Content
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.report.statistics.failures import Failures


def content(results: Any) -> Content:
    return gather(load(results.folder))


def right(hits: int, images: int = 300) -> list[int]:
    return [1] * hits + [0] * (images - hits)


def write(results: Any, failed: dict[str, list[str]], gained: int = 30) -> None:
    """Write five seeds of two arms; the first cells of each end as `failed` says."""
    for variant, more in (("max", 0), ("avg", gained)):
        for seed in range(5):
            ended = failed.get(variant, [])
            if seed < len(ended):
                results.add(variant, seed, status=ended[seed], reason="no")
            else:
                results.add(variant, seed, right=right(200 + more + seed % 2 * (more > 0)))


class TestFailuresCount:
    def test_more_of_an_arms_cells_stand_before_better(self, results: Any) -> None:
        write(results, {"avg": ["diverged", "diverged"]})
        found = content(results)
        row = found.tables["accuracy"].set_index("variant").loc["avg"]
        assert row["verdict"] == "fails more often"
        assert row["difference_mean"] > 0.09
        assert "2 of 5 cells diverged (max: none of 5 cells failed)" in row["flags"]
        (said,) = found.words
        assert said.index("fails more often") < said.index("2 of 5 cells diverged")
        assert "better" not in said

    @pytest.mark.quick(3)
    @pytest.mark.parametrize(
        ("failed", "verdict"),
        [
            ({"avg": ["failed"]}, "fails more often"),
            ({"avg": ["failed"], "max": ["diverged"]}, "better"),
            ({"max": ["failed", "failed"]}, "better"),
            ({"avg": ["interrupted", "interrupted"]}, "better"),
            ({}, "better"),
        ],
    )
    def test_as_many_or_fewer_do_not(self, results: Any, failed: dict[str, list[str]], verdict: str) -> None:
        write(results, failed)
        row = content(results).tables["accuracy"].set_index("variant").loc["avg"]
        assert row["verdict"] == verdict
        assert ("cells" in row["flags"]) == any("failed" in ended or "diverged" in ended for ended in failed.values())

    def test_worse_stays_worse_and_names_them(self, results: Any) -> None:
        write(results, {"avg": ["diverged"]}, gained=-40)
        for seed in range(1, 5):
            results.add("avg", seed, right=right(160 + seed))
        row = content(results).tables["accuracy"].set_index("variant").loc["avg"]
        assert row["verdict"] == "worse"
        assert "1 of 5 cells diverged" in row["flags"]

    def test_shares_are_compared_not_numbers(self) -> None:
        assert Failures(2, 1, 0).more_often_than(Failures(10, 2, 1))
        assert not Failures(10, 1, 0).more_often_than(Failures(5, 0, 1))
        assert not Failures(0, 0, 0).more_often_than(Failures(0, 0, 0))


class TestMind:
    def test_few_images(self, results: Any) -> None:
        for variant in ("max", "avg"):
            for seed in range(3):
                results.add(variant, seed, right=right(20 + seed, 29))
        assert any("only 29 test examples" in line for line in content(results).warnings)

    @pytest.mark.parametrize("images", [30, 300])
    def test_enough_images(self, results: Any, images: int) -> None:
        results.add("max", right=right(20, images))
        assert not any("test examples" in line for line in content(results).warnings)

    @pytest.mark.parametrize(("number", "said"), [(19, True), (20, False), (300, False)])
    def test_few_groups(self, results: Any, number: int, said: bool) -> None:
        for variant in ("max", "avg"):
            for seed in range(3):
                results.add(variant, seed, right=right(250 + seed), groups=np.arange(300) % number)
        assert any("groups that weigh as" in line for line in content(results).warnings) == said

    def test_one_group_is_said_and_counts_for_nothing(self, results: Any) -> None:
        for variant in ("max", "avg"):
            for seed in range(3):
                results.add(variant, seed, right=right(250 + seed * (variant == "avg")), groups=np.zeros(300, int))
        found = content(results)
        assert (
            "intervals count only seeds as noise where it is not known what other test examples would add: all test "
            "examples are of one group, so that nothing says how much others would vary"
        ) in found.warnings
        assert found.tables["accuracy"]["difference_noise"].tolist() == ["", "seeds"]
        assert any("since it is not known what other test examples would add" in line for line in found.head)

    def test_mixed_margins_name_the_silent_and_the_one_that_counts(self, results: Any) -> None:
        for seed, margin in enumerate((0.01, 0.01, None)):
            results.add("max", seed, right=right(200), margin=margin)
            results.add("avg", seed, right=right(201 + seed), margin=margin)
        found = content(results)
        assert (
            "slides on digits: records name different margins of a tie: 0.5 points (2 records), 1 points (4 records), "
            "2 of them none; the smallest, 0.5 points, counts"
        ) in found.warnings
        assert set(found.tables["accuracy"]["margin"].dropna()) == {0.005}

    def test_one_margin_is_nothing_to_mind(self, results: Any) -> None:
        for seed in range(2):
            results.add("max", seed, right=right(200), margin=0.01)
        assert not any("margin" in line for line in content(results).warnings)


class TestPairing:
    def test_by_hand(self, results: Any) -> None:
        hits = {"max": [150, 180, 210], "avg": [153, 180, 213], "gap": [150, 160, 180]}
        for variant, own in hits.items():
            for seed, number in enumerate(own):
                results.add(variant, seed, right=right(number))
        variance = {name: np.var(own, ddof=1) for name, own in hits.items()}
        paired = sum(np.var(np.subtract(hits[name], hits["max"]), ddof=1) for name in ("avg", "gap"))
        apart = variance["avg"] + variance["gap"] + 2 * variance["max"]
        (said,) = content(results).pairing
        assert said.startswith(f"slides on digits: with equal seeds a difference has {paired / apart:.2f} times")
        assert "over 2 variants" in said

    @pytest.mark.parametrize(("further", "said"), [([], 0), ([150, 160, 180], 1)])
    def test_the_reference_under_another_name_says_nothing(self, results: Any, further: list[int], said: int) -> None:
        hits = {"max": [150, 180, 210], "avg": [150, 180, 210]} | ({"gap": further} if further else {})
        for variant, own in hits.items():
            for seed, number in enumerate(own):
                # The same network has the same digest.
                audit = {} if variant == "gap" else {"network_digest": "same"}
                results.add(variant, seed, right=right(number), audit=audit)
        found = content(results)
        assert found.rows[results.add("avg", 0, right=right(150))["arm_id"]]["verdict"] == "identical"
        assert len(found.pairing) == said
        assert all("over 1 variant" in one and "variants" not in one for one in found.pairing)

    def test_two_seeds_say_nothing(self, results: Any) -> None:
        for variant in ("max", "avg"):
            for seed in range(2):
                results.add(variant, seed, right=right(200 + seed))
        assert content(results).pairing == []


def test_overfitting_by_hand(results: Any) -> None:
    train = {"max": [0.99, 0.98, 0.97], "avg": [0.90, 0.92, 0.91]}
    hits = {"max": [240, 246, 243], "avg": [246, 249, 240]}
    for variant, own in train.items():
        for seed, accuracy in enumerate(own):
            results.add(variant, seed, right=right(hits[variant][seed]), metrics={"train_accuracy": accuracy})
    rows = content(results).tables["accuracy"].set_index("variant")
    gaps = {name: np.array(train[name]) - np.array(hits[name]) / 300 for name in train}
    d = gaps["avg"] - gaps["max"]
    assert rows.loc["avg", "train_accuracy_mean"] == pytest.approx(0.91)
    assert rows.loc["avg", "train_test_gap_mean"] == pytest.approx(gaps["avg"].mean())
    assert rows.loc["avg", "train_test_gap_difference_mean"] == pytest.approx(d.mean())
    half = 4.302653 * d.std(ddof=1) / np.sqrt(3)
    assert rows.loc["avg", "train_test_gap_difference_ci95_low"] == pytest.approx(d.mean() - half, abs=1e-6)
    assert np.isnan(rows.loc["max", "train_test_gap_difference_mean"])
