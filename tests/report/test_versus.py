"""Two results folders side by side: what is matched, what came out, what is warned of, what is written."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from poolbench.cli import main
from poolbench.declared import Declared
from poolbench.errors import ConfigurationError
from poolbench.experiment import Experiment, write_experiment
from poolbench.report.tables.columns import names
from poolbench.report.versus import Versus, make_versus

NewResults = Callable[[str], Any]
SEEDS = range(5)
FILES = ["versus.csv", "versus.md", "versus.parquet"]
# Of a hundred images, 80 right; seed s is wrong on image s as well, so that the seeds differ.
RIGHT = [[int(image < 80 and image != seed) for image in range(100)] for seed in SEEDS]
# The same and 15 images more; seed s gains one of them the less, seed 0 another less, seed 2 one more.
GAINED = [
    [
        int(image < 95 + (seed == 2) and image not in (seed, 80 + seed) and (seed, image) != (0, 90))
        for image in range(100)
    ]
    for seed in SEEDS
]


def compare(first: Any, second: Any, **more: Any) -> Versus:
    return make_versus(first.folder, second.folder, console=Console(file=io.StringIO(), width=100), **more)


def write(results: Any, variants: dict[str, list[list[int]]]) -> None:
    for variant, images in variants.items():
        for seed, right in enumerate(images):
            results.add(variant, seed, right=right)


def row(made: Versus, variant: str) -> pd.Series:
    return made.table.set_index("variant").loc[variant]


@pytest.fixture
def folders(new_results: NewResults) -> tuple[Any, Any]:
    return new_results("before"), new_results("after")


class TestVerdicts:
    @pytest.mark.parametrize(
        ("which", "says"), [((0,), "the first folder"), ((0, 1), "the first and the second folder")]
    )
    def test_declared_looks_do_not_count_and_that_is_said(
        self, folders: tuple[Any, Any], which: tuple[int, ...], says: str
    ) -> None:
        for results in folders:
            write(results, {"max": RIGHT, "avg": GAINED})
        assert not compare(*folders).warnings
        for number in which:
            folder = folders[number].folder
            write_experiment(folder, replace(Experiment(folder.name), declared=Declared(tuple(range(20)))))
        (said,) = compare(*folders).warnings
        assert f"looks were declared for {says}; this comparison does not go by them" in said

    def test_equal_records_tie(self, folders: tuple[Any, Any]) -> None:
        for results in folders:
            # A thousand images: the same on all of a hundred could still be three points apart.
            write(results, {"max": [row * 10 for row in RIGHT], "avg": [row * 10 for row in GAINED]})
        made = compare(*folders)
        assert made.table["verdict"].tolist() == ["tie", "tie"]
        assert made.table["difference_mean"].tolist() == [0.0, 0.0]
        assert made.table["difference_p"].tolist() == [1.0, 1.0]
        assert made.words == ["slides on digits, verdicts on the second by number of arms: tie 2."]
        assert made.warnings == []

    def test_a_change_is_better_one_way_and_worse_the_other(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        write(before, {"max": RIGHT, "avg": RIGHT})
        write(after, {"max": RIGHT, "avg": GAINED})
        made = compare(before, after)
        assert made.table["variant"].tolist() == ["max", "avg"]
        assert made.table["verdict"].tolist() == ["undecided", "better"]
        assert made.words == [
            "slides on digits, verdicts on the second by number of arms: undecided 1, better 1 (avg +14.00 points)."
        ]
        back = compare(after, before)
        assert back.table["verdict"].tolist() == ["undecided", "worse"]
        assert back.words == [
            "slides on digits, verdicts on the second by number of arms: undecided 1, worse 1 (avg −14.00 points)."
        ]

    def test_both_sides_and_their_difference(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        write(before, {"avg": RIGHT})
        write(after, {"avg": GAINED[:4]})
        found = row(compare(before, after), "avg")
        # 79 right of a hundred before, 93 after; the fifth seed has no partner.
        assert (found["n_seeds_a"], found["n_seeds_b"], found["n_paired"]) == (5, 4, 4)
        assert found["test_accuracy_mean_a"] == pytest.approx(0.79)
        assert found["test_accuracy_mean_b"] == pytest.approx(0.93)
        assert found["difference_mean"] == pytest.approx(0.14)
        assert found["difference_noise"] == "seeds and images"
        assert found["flags"] == "unpaired seeds (4)"

    def test_the_arms_of_a_block_are_one_family(self, folders: tuple[Any, Any]) -> None:
        for results in folders:
            for variant in ("max", "avg", "gap"):
                for seed, noise in enumerate((0.0, 0.01, 0.03)):
                    results.add(variant, seed, 0.8 + noise * (results is folders[1]))
        made = compare(*folders)
        # Three equal p: Holm multiplies each by three.
        assert made.table["difference_p_holm"].tolist() == pytest.approx((3 * made.table["difference_p"]).tolist())

    def test_the_margin_is_the_seconds(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        for seed in SEEDS:
            before.add("max", seed, 0.80, margin=0.001)
            after.add("max", seed, 0.81 + 0.001 * (seed % 2), margin=0.05)
        found = row(compare(before, after), "max")
        assert (found["margin"], found["verdict"]) == (0.05, "tie")

    def test_of_an_error_it_is_a_share_of_the_counterparts_mean(self, folders: tuple[Any, Any]) -> None:
        error = {"name": "mean_absolute_error", "unit": "m", "better": "lower", "margin": "per cent"}
        for results, change in zip(folders, (0.0, 0.1), strict=True):
            for variant, size in (("avg", 1.0), ("gap", 100.0)):
                for seed in SEEDS:
                    metrics = {"test_mean_absolute_error": size + change + 0.001 * seed * change}
                    record = results.add(variant, seed, metrics=metrics)
                    results.write(record | {"task": {"name": "regression", "score": error}})
        made = compare(*folders)
        assert made.table["margin"].tolist() == pytest.approx([0.005, 0.5])
        assert made.table["verdict"].tolist() == ["worse", "tie"]

    def test_a_change_of_what_it_costs_is_shown(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        for seed in SEEDS:
            before.add("max", seed, cost={"parameters": 1_000})
            after.add("max", seed, cost={"parameters": 1_250})
        made = compare(before, after)
        assert (row(made, "max")["parameters_a"], row(made, "max")["parameters_b"]) == (1_000, 1_250)
        text = (after.folder / "versus-before" / "versus.md").read_text()
        assert "1,000 → 1,250" in text
        assert "multiply_adds" not in text

    def test_no_cell_finished_on_one_side(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        before.add("max", status="failed", reason="no")
        after.add("max")
        made = compare(before, after)
        assert made.table["verdict"].tolist() == [""]
        assert made.words == ["slides on digits: nothing to compare."]


class TestWarnings:
    def test_no_arm_in_common(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        before.add("max")
        after.add("avg", backbone="lenet5")
        with pytest.raises(ConfigurationError) as error:
            compare(before, after)
        said = str(error.value)
        assert f"{before.folder} and {after.folder} share no arm" in said
        assert "the first has slides · digits · max" in said
        assert "the second lenet5 · digits · avg" in said
        assert list(after.folder.iterdir()) == [after.folder / "records"]

    def test_arms_of_one_only(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        for seed in SEEDS:
            before.add("max", seed)
            after.add("max", seed)
            before.add("gap", seed)
            for number in range(6):
                after.add(f"avg_topk[k={number}]", seed)
        made = compare(before, after)
        assert made.table["variant"].tolist() == ["max"]
        assert "only the first folder has slides · digits · gap" in made.warnings
        (second,) = [warning for warning in made.warnings if warning.startswith("only the second")]
        assert "avg_topk[k=3] and 2 more" in second

    def test_equal_names_with_other_settings(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        for seed in SEEDS:
            before.add("max", seed)
            after.add("max", seed, config={"protocol": {"epochs": 20}})
        made = compare(before, after)
        assert "equal names, but not equal settings, data or device: slides · digits · max" in made.warnings
        assert row(made, "max")["flags"] == "other recipe (protocol.epochs)"

    def test_outcomes_that_are_not_known(self, folders: tuple[Any, Any]) -> None:
        before, after = folders
        write(before, {"max": RIGHT})
        for seed in SEEDS:
            after.add("max", seed, 0.8)
        made = compare(before, after)
        assert row(made, "max")["difference_noise"] == "seeds"
        (warning,) = made.warnings
        assert warning.endswith("max, seed 0: the record names no outcomes.npz")

    def test_files_that_do_not_count(self, folders: tuple[Any, Any]) -> None:
        for results in folders:
            write(results, {"max": RIGHT})
        results.write(results.add("max", 9) | {"schema": 99})
        assert "1 file of the second folder does not count" in compare(*folders).warnings

    def test_absent(self, folders: tuple[Any, Any], tmp_path: Path) -> None:
        folders[0].add()
        with pytest.raises(ConfigurationError, match=r"no record in .*after"):
            compare(*folders)
        with pytest.raises(ConfigurationError, match=r"there is no results folder .*nowhere"):
            make_versus(folders[0].folder, tmp_path / "results" / "nowhere")


class TestSpeed:
    def measure(self, results: Any, images_per_s: float, **changes: Any) -> None:
        record = results.add("max")
        results.speed(record, record, training=images_per_s, **changes)

    def test_on_one_machine_there_is_a_ratio(self, folders: tuple[Any, Any]) -> None:
        self.measure(folders[0], 1_000.0)
        self.measure(folders[1], 1_250.0)
        made = compare(*folders)
        assert row(made, "max")["training_speed_ratio"] == pytest.approx(1.25)
        assert row(made, "max")["latency_ratio"] == pytest.approx(1.0)
        assert "| training speed, second / first |" in (folders[1].folder / "versus-before/versus.md").read_text()

    def test_on_two_there_is_none(self, folders: tuple[Any, Any]) -> None:
        self.measure(folders[0], 1_000.0)
        self.measure(folders[1], 1_250.0, machine_id="another")
        made = compare(*folders)
        found = row(made, "max")
        assert (found["training_images_per_s_a"], found["training_images_per_s_b"]) == (1_000.0, 1_250.0)
        assert made.table[["training_speed_ratio", "latency_ratio"]].isna().all(axis=None)
        assert "training speed" not in (folders[1].folder / "versus-before/versus.md").read_text()

    @pytest.mark.parametrize("changes", [{"batch_size": 128}, {"threads": 1}, {"precision": "bfloat16"}])
    def test_nor_by_other_settings_of_the_measurement(self, folders: tuple[Any, Any], changes: dict[str, Any]) -> None:
        self.measure(folders[0], 1_000.0)
        self.measure(folders[1], 1_250.0, **changes)
        assert pd.isna(row(compare(*folders), "max")["training_speed_ratio"])

    def test_nor_where_one_was_not_measured(self, folders: tuple[Any, Any]) -> None:
        self.measure(folders[0], 1_000.0)
        folders[1].add("max")
        assert pd.isna(row(compare(*folders), "max")["training_speed_ratio"])


class TestFiles:
    def test_they_lie_in_the_second_folder(self, folders: tuple[Any, Any]) -> None:
        for results in folders:
            write(results, {"max": RIGHT})
        made = compare(*folders)
        into = folders[1].folder / "versus-before"
        assert sorted(path.name for path in into.iterdir()) == FILES
        assert sorted(made.files) == [into / name for name in FILES]
        assert list(folders[0].folder.iterdir()) == [folders[0].folder / "records"]
        assert pd.read_csv(into / "versus.csv").columns.tolist() == names("versus")
        text = (into / "versus.md").read_text()
        assert text.startswith("# after against before\n")
        assert "Where the second come from" in text

    def test_or_where_they_are_wanted(self, folders: tuple[Any, Any], tmp_path: Path) -> None:
        for results in folders:
            write(results, {"max": RIGHT})
        compare(*folders, into=tmp_path / "some" / "where")
        assert sorted(path.name for path in (tmp_path / "some" / "where").iterdir()) == FILES
        assert list(folders[1].folder.iterdir()) == [folders[1].folder / "records"]

    def test_a_file_in_the_place_of_the_folder(self, folders: tuple[Any, Any], tmp_path: Path) -> None:
        for results in folders:
            results.add()
        (tmp_path / "taken").write_text("mine")
        with pytest.raises(ConfigurationError, match=r"taken cannot be made"):
            compare(*folders, into=tmp_path / "taken")
        assert (tmp_path / "taken").read_text() == "mine"

    def test_equal_records_give_equal_bytes(self, folders: tuple[Any, Any], tmp_path: Path) -> None:
        write(folders[0], {"max": RIGHT, "avg": RIGHT})
        write(folders[1], {"max": RIGHT, "avg": GAINED})
        found = []
        for name in ("once", "twice"):
            compare(*folders, into=tmp_path / name)
            found.append({file: (tmp_path / name / file).read_bytes() for file in FILES})
        assert found[0] == found[1]

    def test_parquet_holds_the_same(self, folders: tuple[Any, Any], tmp_path: Path) -> None:
        for results in folders:
            write(results, {"max": RIGHT})
        made = compare(*folders, into=tmp_path)
        pd.testing.assert_frame_equal(
            pd.read_parquet(tmp_path / "versus.parquet"), made.table, check_dtype=False, check_exact=True
        )


class TestCommand:
    def test_two_folders(self, folders: tuple[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
        write(folders[0], {"max": RIGHT})
        write(folders[1], {"max": GAINED})
        assert main(["report", *(str(results.folder) for results in folders)]) == 0
        assert sorted(path.name for path in (folders[1].folder / "versus-before").iterdir()) == FILES
        assert "verdicts on the second by number of arms: better 1" in " ".join(capsys.readouterr().out.split())

    def test_into(self, folders: tuple[Any, Any], tmp_path: Path) -> None:
        for results in folders:
            results.add()
        assert main(["report", *(str(r.folder) for r in folders), "--into", str(tmp_path / "there")]) == 0
        assert sorted(path.name for path in (tmp_path / "there").iterdir()) == FILES

    @pytest.mark.parametrize("flag", ["--open", "--quiet", "--explain"])
    def test_a_flag_of_one_folders_report_is_refused_before_anything_is_read(
        self, flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "before").mkdir()
        assert main(["report", str(tmp_path / "before"), str(tmp_path / "after"), flag]) == 2
        assert f"{flag} is for the report of one folder, got " in capsys.readouterr().err

    def test_into_needs_a_second(self, folders: tuple[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
        folders[0].add()
        assert main(["report", str(folders[0].folder), "--into", "there"]) == 2
        assert "--into is for the comparison of two folders" in capsys.readouterr().err

    def test_no_arm_in_common_is_a_usage_error(
        self, folders: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        folders[0].add("max")
        folders[1].add("avg")
        assert main(["report", *(str(results.folder) for results in folders)]) == 2
        assert "share no arm" in capsys.readouterr().err
