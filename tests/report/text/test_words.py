"""The verdict in words: one sentence a block, and what there is to say where nothing is compared."""

from typing import Any

import pytest

from poolbench.report.make import gather
from poolbench.report.reading.arms import Arm, Block
from poolbench.report.reading.loading import load
from poolbench.report.text.words import verdict_words

Rows = dict[str, dict[str, Any]]
UNDECIDED = "undecided (chance that a new run of 5, 10 or 20 seeds decides)"
CHANCES = {"chance_5_seeds": 0.321, "chance_10_seeds": 0.46, "chance_20_seeds": 0.57, "chance_any_seeds": 0.9}


def row(verdict: str, difference: float | None = None, **more: Any) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "difference_mean": difference,
        "margin": 0.005,
        "seeds_to_decide": None,
        "difference_holm_low": -0.02,
        "n_paired": 3,
        "flags": "",
        "reference": "max",
    } | more


def block(rows: Rows, backbone: str = "slides", dataset: str = "digits", **named: dict[str, Any]) -> Block:
    """Return a block with an arm for each name, and put their rows under the arms' digests."""
    arms = []
    for variant, found in named.items():
        arm_id = f"{backbone}/{dataset}/{variant}"
        rows[arm_id] = found | {"variant": variant, "arm_id": arm_id}
        record = {"status": "ok", "seed": 0}
        arms.append(Arm(arm_id, "block", backbone, dataset, variant, variant, {0: record}, {}))
    return Block("block", backbone, dataset, "max", arms)


def sentence(**named: dict[str, Any]) -> str:
    """Return what is said of one block with these arms beside its reference."""
    rows: Rows = {}
    (said,) = verdict_words([block(rows, max=row("reference"), **named)], rows)
    return said


class TestOneBlock:
    @pytest.mark.parametrize(
        ("found", "says"),
        [
            (row("better", 0.0123), "better: avg (+1.23 points)"),
            (row("worse", -0.002), "worse: avg (−0.20 points)"),
            (row("tie", 0.001), "tie within 0.5 points: avg"),
            (row("tie", 0.001, margin=0.0025), "tie within 0.25 points: avg"),
            (row("undecided", 0.01, seeds_to_decide=4, **CHANCES), f"{UNDECIDED}: avg (32, 46, 57 %)"),
            (
                row("undecided", 0.01, test_images=1597, **CHANCES | {"chance_any_seeds": 0.3}),
                f"{UNDECIDED}: avg (32, 46, 57 %; with any number of seeds 30 %, "
                "since 1,597 test examples are too few)",
            ),
            (row("undecided", 0.01), f"{UNDECIDED}: avg (its seeds do not vary)"),
            (
                row("undecided", 0.0, difference_p=1.0, difference_std=0.0, test_images=100),
                f"{UNDECIDED}: avg (the same on all 100 test examples)",
            ),
            (
                row("tie", 0.0, difference_p=1.0, difference_std=0.0, test_images=1000),
                "tie within 0.5 points: avg (the same on all 1,000 test examples)",
            ),
            (
                row("fails more often", 0.042, flags="2 of 5 cells diverged (max: none of 5 cells failed)"),
                "fails more often: avg (+4.20 points where both finished, "
                "caution: 2 of 5 cells diverged (max: none of 5 cells failed))",
            ),
            (row("too few runs", 0.1), "too few runs (fewer than 3 seeds): avg"),
            (row("identical"), "identical: avg"),
            (row("better", 0.01, flags="own geometry"), "better: avg (+1.00 points, caution: own geometry)"),
            (row("tie", 0.0, flags="uncommitted changes"), "tie within 0.5 points: avg (caution: uncommitted changes)"),
        ],
    )
    def test_each_verdict(self, found: dict[str, Any], says: str) -> None:
        assert sentence(avg=found) == f"slides on digits, against max: {says}."

    def test_all_in_their_order(self) -> None:
        said = sentence(
            a=row("identical"),
            b=row("too few runs", 0.1),
            c=row("undecided", 0.01, **CHANCES),
            d=row("tie", 0.0),
            e=row("worse", -0.01),
            f=row("better", 0.01),
        )
        assert said == (
            "slides on digits, against max: better: f (+1.00 points); worse: e (−1.00 points); "
            f"tie within 0.5 points: d; {UNDECIDED}: c (32, 46, 57 %); "
            "too few runs (fewer than 3 seeds): b; identical: a."
        )

    def test_the_largest_difference_comes_first(self) -> None:
        said = sentence(a=row("worse", -0.01), b=row("worse", -0.03), c=row("better", 0.01), d=row("better", 0.02))
        assert "better: d (+2.00 points), c (+1.00 points); worse: b (−3.00 points), a (−1.00 points)" in said

    def test_many_names_are_counted(self) -> None:
        eight = {f"arm{number}": row("tie", 0.0) for number in range(8)}
        assert sentence(**eight).endswith("tie within 0.5 points: " + ", ".join(eight) + ".")
        ten = eight | {"arm8": row("tie", 0.0), "arm9": row("tie", 0.0)}
        assert sentence(**ten).endswith("arm6, arm7 and 2 more.")

    def test_references_of_several_recipes(self) -> None:
        said = sentence(avg=row("tie", 0.0, reference="max[lr=0.1]"), gap=row("tie", 0.0, reference="max[lr=0.2]"))
        assert said.startswith("slides on digits, against the max of the same recipe: ")


class TestSeveralBlocks:
    def words(self, *blocks: dict[str, dict[str, Any]]) -> list[str]:
        rows: Rows = {}
        return verdict_words(
            [
                block(rows, dataset=f"data{number}", max=row("reference"), **named)
                for number, named in enumerate(blocks, 1)
            ],
            rows,
        )

    def test_all_together_then_each(self) -> None:
        said = self.words(
            {"avg": row("better", 0.02), "gap": row("worse", -0.01), "gmp": row("tie", 0.0)},
            {"avg": row("better", 0.01), "gap": row("worse", -0.01), "gmp": row("worse", -0.01)},
        )
        assert said == [
            "6 comparisons with the reference in 2 blocks, corrected for their number within each block: "
            "2 better, 3 worse, 1 tie. "
            "Better in every block: avg; worse in every block: gap.",
            "slides on data1, against max: better: avg (+2.00 points); worse: gap (−1.00 points); "
            "tie within 0.5 points: gmp.",
            "slides on data2, against max: better: avg (+1.00 points); worse: gap (−1.00 points), gmp (−1.00 points).",
        ]

    def test_none_is_alike_everywhere(self) -> None:
        said = self.words({"avg": row("better", 0.02)}, {"avg": row("undecided", 0.01)})
        assert said[0].endswith("1 better, 1 undecided. No variant is better, worse or a tie in every block.")

    def test_in_one_block_only_is_not_everywhere(self) -> None:
        said = self.words({"avg": row("better", 0.02), "gap": row("tie", 0.0)}, {"gap": row("tie", 0.0)})
        assert "Tie in every block: gap." in said[0]
        assert "avg" not in said[0]

    def test_a_block_that_compares_nothing_says_why_and_does_not_count(self) -> None:
        said = self.words({"avg": row("tie", 0.0)}, {"avg": row("")})
        assert said == [
            "slides on data1, against max: tie within 0.5 points: avg.",
            "slides on data2: not compared, the reference max has no finished cell.",
        ]


class TestNothing:
    def said(self, results: Any) -> list[str]:
        return gather(load(results.folder)).words

    def test_no_cell_finished(self, results: Any) -> None:
        results.add("max", status="failed", reason="no")
        results.add("avg", status="diverged", reason="no")
        assert self.said(results) == ["No cell finished: there is nothing to compare."]

    def test_the_reference_alone(self, results: Any) -> None:
        results.add("max")
        results.add("avg", status="failed", reason="no")
        assert self.said(results) == ["Nothing to compare: no arm beside the reference finished."]

    def test_no_reference_finished(self, results: Any) -> None:
        results.add("max", status="failed", reason="no")
        results.add("avg")
        assert self.said(results) == ["Nothing to compare: the reference (max) has no finished cell."]

    def test_one_block_lacks_the_reference_another_all_else(self, results: Any) -> None:
        results.add("max", dataset="digits")
        results.add("avg", dataset="cifar10")
        (said,) = self.said(results)
        assert "no arm beside the reference finished" not in said
        assert said.startswith("Nothing to compare: ")


def test_from_records_with_a_flag(results: Any) -> None:
    for seed in range(4):
        results.add("max", seed, right=[1] * 50 + [0] * 50)
        gained = (
            [1] * 50 + [int(image not in (seed, seed + 1)) for image in range(30 - seed % 2)] + [0] * (20 + seed % 2)
        )
        results.add("avg", seed, right=gained, provenance={"dirty": True})
    assert gather(load(results.folder)).words == [
        "slides on digits, against max: better: avg (+27.50 points, caution: uncommitted changes)."
    ]
