"""The mean over the blocks: the committed quickstart of 72 cells, by hand, and what is said where blocks contradict."""

import math
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report.conftest import Results

from poolbench.report.content import Content
from poolbench.report.make import gather
from poolbench.report.reading.arms import group
from poolbench.report.reading.loading import Loaded, load
from poolbench.report.statistics.comparison import compare_blocks
from poolbench.report.statistics.over_blocks import OverBlocks, over_blocks, shared_images
from poolbench.report.statistics.verdicts import decide
from poolbench.report.text import latex
from poolbench.report.text import over_blocks as words

# Records and outcomes of `experiment=quickstart` as committed at 1869e81, when it had 4 blocks of 6 arms and 3 seeds.
ARCHIVE = Path(__file__).parents[1] / "data" / "quickstart_72.tar.xz"


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("quickstart")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    found = load(folder)
    assert len(found.records) == 72
    assert not found.problems
    return found


def over(loaded: Loaded, **options: Any) -> dict[str, OverBlocks]:
    blocks, _ = group(loaded.records)
    compared = compare_blocks(blocks, loaded.outcomes)
    return {one.variant: one for one in over_blocks(blocks, compared, loaded.outcomes, **options)}


def half(one: OverBlocks) -> float:
    """Half the arm's own 95 % interval, in points."""
    assert one.compared.found is not None
    low, high = one.compared.found.interval(0.95)
    return 100 * (high - low) / 2


class TestQuickstart:
    # Computed apart from the project, to a hundredth of a point.
    @pytest.mark.parametrize(
        ("variant", "mean", "independent", "shared"),
        [
            ("adaptive", 3.21, 1.13, 1.17),
            ("gap", 11.84, 3.51, 3.54),
            ("avg", -2.18, 0.82, 0.82),
            ("strided_conv", -1.59, 0.64, 0.65),
        ],
    )
    def test_differences(
        self, quickstart: Loaded, variant: str, mean: float, independent: float, shared: float
    ) -> None:
        for share, expected in ((False, independent), (True, shared)):
            one = over(quickstart, share_images=share)[variant]
            assert one.compared.found is not None
            assert 100 * one.compared.found.mean == pytest.approx(mean, abs=0.005)
            assert half(one) == pytest.approx(expected, abs=0.01)
            assert one.compared.decision is not None
            assert one.compared.decision.p_holm < 0.05
            assert (len(one.blocks), one.seeds) == (4, (0, 1, 2))

    @pytest.mark.parametrize("share_images", [True, False])
    def test_verdicts(self, quickstart: Loaded, share_images: bool) -> None:
        found = over(quickstart, share_images=share_images)
        assert {name: one.compared.verdict for name, one in found.items()} == {
            "adaptive": "mixed",
            "avg": "worse",
            "avg_topk": "undecided",
            "gap": "better",
            "strided_conv": "worse",
        }

    def test_mixed_names_both_sides(self, quickstart: Loaded) -> None:
        content = gather(quickstart)
        assert (
            "mixed: adaptive (worse on slides on digits −4.47; better on lenet5 on translated_digits +12.06, "
            "slides on translated_digits +6.20)"
        ) in content.words[1]

    def test_the_two_digit_sets_share_their_images(self, quickstart: Loaded) -> None:
        blocks, _ = group(quickstart.records)
        compare_blocks(blocks, quickstart.outcomes)
        assert shared_images(blocks, quickstart.outcomes) == (("digits", "translated_digits"),)
        assert any("share test examples" in line for line in gather(quickstart).across.left_out)

    def test_every_view_shows_it(self, quickstart: Loaded) -> None:
        content: Content = gather(quickstart)
        table = content.tables["over_blocks"]
        assert table["variant"].tolist() == ["adaptive", "avg", "avg_topk", "gap", "strided_conv"]
        assert table["verdict"].tolist() == ["mixed", "worse", "undecided", "better", "worse"]
        assert "slides on digits -4.47 worse" in table["blocks"][0]
        shown = content.over_view
        assert shown is not None
        assert [row.cells[0] for row in shown.rows] == table["variant"].tolist()
        text = latex.tables(content.blocks, content.views, content.rows, shown)
        assert r"\label{tab:poolbench-over-blocks}" in text
        assert "gap & 3 & +11.84" in text


def right(hits: int, images: int = 200) -> list[int]:
    return [1] * hits + [0] * (images - hits)


class TestByHand:
    def made(self, results: Any, hits: dict[str, list[list[int]]], **more: Any) -> Content:
        """Write for each arm a list a block of right images a seed."""
        for variant, blocks in hits.items():
            for block, seeds in enumerate(blocks):
                for seed, number in enumerate(seeds):
                    results.add(variant, seed, dataset=f"data{block}", right=right(number), **more)
        return gather(load(results.folder))

    def test_seeds_are_averaged_first(self, results: Any) -> None:
        content = self.made(
            results, {"max": [[150, 150, 150], [100, 100, 100]], "avg": [[154, 158, 156], [104, 102, 106]]}
        )
        (row,) = content.tables["over_blocks"].to_dict("records")
        # By seed: (.02 + .02)/2, (.04 + .01)/2, (.03 + .03)/2.
        d = np.array([0.02, 0.025, 0.03])
        assert row["difference_mean"] == pytest.approx(d.mean())
        assert row["difference_std"] == pytest.approx(d.std(ddof=1))
        assert row["difference_seed_variance"] == pytest.approx(d.var(ddof=1) / 3)
        assert (row["n_blocks"], row["n_seeds"]) == (2, 3)

    def test_only_common_seeds_count_and_it_is_said(self, results: Any) -> None:
        content = self.made(results, {"max": [[150] * 4, [100] * 4], "avg": [[160, 161, 162, 163], [101, 103, 105]]})
        (row,) = content.tables["over_blocks"].to_dict("records")
        assert row["n_seeds"] == 3
        assert "only the seeds of all blocks (0–2)" in row["flags"]

    def test_no_common_seed_is_too_few(self, results: Any) -> None:
        for variant, more in (("max", 0), ("avg", 9)):
            for block in range(2):
                for seed in range(3):
                    results.add(variant, seed + 3 * block, dataset=f"data{block}", right=right(100 + more + seed))
        (row,) = gather(load(results.folder)).tables["over_blocks"].to_dict("records")
        assert row["verdict"] == "too few runs"
        assert row["n_seeds"] == 0

    def test_an_arm_of_some_blocks_says_so(self, results: Any) -> None:
        content = self.made(
            results,
            {
                "max": [[150, 151, 152]] * 3,
                "avg": [[160, 162, 164]] * 3,
                "gap": [[160, 161, 166], [150, 152, 155], []],
                "lip": [[140, 141, 142], [], []],
            },
        )
        rows = {row["variant"]: row for row in content.tables["over_blocks"].to_dict("records")}
        assert set(rows) == {"avg", "gap"}
        assert "only 2 of 3 blocks" in rows["gap"]["flags"]
        assert rows["avg"]["flags"] == ""

    def test_one_block_has_none(self, results: Any) -> None:
        content = self.made(results, {"max": [[150, 151, 152]], "avg": [[160, 162, 164]]})
        assert content.tables["over_blocks"].empty
        assert content.over_view is None
        assert "Mean over" not in " ".join(content.words)

    def test_contradiction_is_mixed_whatever_the_mean(self, results: Any) -> None:
        content = self.made(
            results,
            {"max": [[100, 101, 102, 100]] * 2, "avg": [[180, 183, 181, 180], [50, 54, 51, 52]]},
        )
        (row,) = content.tables["over_blocks"].to_dict("records")
        assert row["verdict"] == "mixed"
        assert math.isnan(row["chance_5_seeds"])
        assert "mixed: avg (worse on slides on data1" in content.words[1]

    def test_failures_of_any_block_count(self, results: Any) -> None:
        self.made(results, {"max": [[100, 101, 102]] * 2, "avg": [[180, 183, 181], [170, 171, 174]]})
        for seed in (3, 4):
            results.add("avg", seed, dataset="data1", status="diverged", reason="the loss was nan")
        (row,) = gather(load(results.folder)).tables["over_blocks"].to_dict("records")
        assert row["verdict"] == "fails more often"
        assert "2 of 8 cells diverged (max: none of 6 cells failed)" in row["flags"]

    def test_identical_networks_are_identical(self, results: Any) -> None:
        same = {"audit": {"network_digest": "same"}}
        content = self.made(results, {"max": [[100, 101, 102]] * 2, "avg": [[100, 101, 102]] * 2}, **same)
        (row,) = content.tables["over_blocks"].to_dict("records")
        assert row["verdict"] == "identical"

    def test_without_outcomes_the_seeds_count_alone(self, results: Any) -> None:
        for variant, more in (("max", 0.0), ("avg", 0.03)):
            for block in range(2):
                for seed in range(3):
                    results.add(variant, seed, 0.8 + more + 0.001 * seed * (more > 0), dataset=f"data{block}")
        (row,) = gather(load(results.folder)).tables["over_blocks"].to_dict("records")
        assert row["difference_noise"] == "seeds"
        assert row["verdict"] == "better"

    def test_many_blocks_are_counted(self, results: Any) -> None:
        content = self.made(results, {"max": [[100, 101, 102]] * 10, "avg": [[110, 113, 111]] * 10})
        shown = words.view(content.over_blocks, content.tables["over_blocks"])
        assert shown is not None
        assert shown.headings[-1].full == "in the blocks"
        assert pd.Series(shown.rows[0].cells).str.contains("10 ").any()


@pytest.mark.slow
@pytest.mark.parametrize("spread", [(1.0, 1.0, 1.0, 1.0), (0.2, 0.2, 0.2, 4.0)], ids=["even", "uneven"])
def test_false_alarms_over_even_and_uneven_blocks(spread: tuple[float, ...]) -> None:
    """1,500 families of 5 equal arms and 3 seeds: 5 % in the long run; 7 % has a probability below .001."""
    from poolbench.report.statistics.paired import over_sets

    draw = np.random.default_rng(2026)
    alarms = 0
    for _ in range(1500):
        reference = draw.standard_normal((4, 3)) * np.array(spread)[:, None]
        arms = draw.standard_normal((5, 4, 3)) * np.array(spread)[:, None]
        family = [over_sets((arm - reference).mean(axis=0) / 100, ()) for arm in arms]
        alarms += any(one.verdict in ("better", "worse") for one in decide(family, margin=0.0))
    assert alarms / 1500 < 0.07


def test_blocks_are_matched_by_name_and_the_order_does_not_matter(new_results: Callable[[str], Any]) -> None:
    made = []
    for name, order in (("one", (0, 1)), ("two", (1, 0))):
        results = new_results(name)
        for block in order:
            for variant in ("max", "avg")[:: 1 - 2 * block]:
                for seed in range(3):
                    results.add(variant, seed, dataset=f"data{block}", right=right(100 + seed + 9 * (variant == "avg")))
        made.append(gather(load(results.folder)).tables["over_blocks"])
    pd.testing.assert_frame_equal(made[0], made[1])


@pytest.mark.parametrize("outcomes", [True, False])
@pytest.mark.parametrize("more", [12, 1, -12])
def test_what_subtraction_rounds_off_is_no_spread_of_the_seeds(results: Results, more: int, outcomes: bool) -> None:
    """As many images more (or fewer) with every seed: of 540/600 and 552/600, 550 and 562, the last bits differ."""
    for dataset in ("digits", "scenes"):
        for seed, hits in enumerate((540, 550, 561)):
            for variant, right in (("max", hits), ("avg", hits + more)):
                if outcomes:
                    results.add(variant, seed, right=[1] * right + [0] * (600 - right), dataset=dataset)
                else:
                    results.add(variant, seed, right / 600, dataset=dataset)
    content = gather(load(results.folder))
    for name in ("accuracy", "over_blocks"):
        table = content.tables[name]
        (*rows,) = table[table["variant"] == "avg"].to_dict("records")
        assert rows
        for row in rows:
            assert row["difference_mean"] == pytest.approx(more / 600)
            assert row["difference_std"] == 0
            assert math.isnan(row["difference_p"])
            assert row["verdict"] == "undecided"
