"""The tables' columns, the figures in them, and which arm is compared with which."""

import io
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from poolbench.record import write_json
from poolbench.report import figures, page
from poolbench.report.make import Report, make_report
from poolbench.report.tables.columns import TABLES, described, names
from poolbench.report.tables.cost_columns import PARAMETERS, THROUGHPUT
from poolbench.report.tables.key_columns import ARM_ID, KEYS
from poolbench.report.tables.score_columns import ACCURACY

DOCUMENT = Path(__file__).parents[3] / "docs" / "tables.md"


@pytest.fixture(autouse=True)
def _no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    # It would take most of the time; test_report.py draws it.
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")


def report(results: Any) -> Report:
    return make_report(results.folder, console=Console(file=io.StringIO(), width=100))


def row(made: Report, table: str, variant: str, **keys: str) -> pd.Series:
    frame = made.tables[table]
    chosen = frame[frame["variant"] == variant]
    for key, value in keys.items():
        chosen = chosen[chosen[key] == value]
    assert len(chosen) == 1, f"{variant} {keys}: {len(chosen)} rows of {frame['variant'].tolist()}"
    return chosen.iloc[0]


class TestSchema:
    def test_accuracy_begins_as_published(self) -> None:
        assert names("accuracy")[:8] == [
            "backbone",
            "dataset",
            "variant",
            "n_seeds",
            "test_accuracy_mean",
            "test_accuracy_std",
            "test_accuracy_ci95_low",
            "test_accuracy_ci95_high",
        ]

    def test_files_have_the_columns_in_order(self, results: Any) -> None:
        results.grid(blocks=[("slides", "digits"), ("slides", "cifar10")], variants=["max", "avg", "gap"], seeds=3)
        published = {"source": "A", "backbone": "slides", "dataset": "digits", "variant": "max", "recipe": "other"}
        write_json(results.folder / "experiment.json", {"published": [published | {"test_accuracy": 0.9}]})
        report(results)
        # `versus` is of another command; the others need trials, strata, a task's further scores, a network that others
        # are compared with, or the test set read at each epoch.
        for table in TABLES.keys() - {"versus", "tuned", "strata", "beside", "networks", "best_test_epoch"}:
            assert pd.read_csv(results.folder / f"{table}.csv").columns.tolist() == names(table)

    @pytest.mark.parametrize("table", sorted(TABLES.keys() - {"summary"}))
    def test_document_and_definition_agree(self, table: str) -> None:
        text = DOCUMENT.read_text()
        shown = text.partition(f"## {table}.csv\n\n")[2].partition("\n\n")[0].strip()
        assert shown == described(table), f"docs/tables.md: put this under {table}.csv:\n{described(table)}"

    @pytest.mark.parametrize("table", ["summary", "scores", "over_blocks", "versus", "beside"])
    def test_where_arms_have_scores_of_all_kinds_the_columns_are_of_the_score(self, table: str) -> None:
        found = {column.name: column for column in TABLES[table]}
        for name in ("difference_mean", "difference_holm_low", "tie_high", "margin"):
            assert found[name].unit == "of the score", name
        assert "test_accuracy" not in found["difference_mean"].meaning
        # At a declared look α is the look's.
        assert "below α" in found["difference_holm_low"].meaning
        assert {column.unit for column in TABLES["accuracy"] if column.name == "margin"} == {"fraction of 1"}

    def test_summary_is_the_three_joined(self) -> None:
        other = [c.name for part in (ACCURACY, PARAMETERS, THROUGHPUT) for c in part if c not in (*KEYS, ARM_ID)]
        assert names("summary") == [*(c.name for c in KEYS), *other, ARM_ID.name]
        assert len(set(names("summary"))) == len(names("summary"))

    def test_every_column_is_explained(self) -> None:
        for columns in TABLES.values():
            for column in columns:
                assert column.meaning
                assert column.unit or column.kind in ("text", "flag"), column.name


class TestAccuracy:
    def test_statistics_by_hand(self, results: Any) -> None:
        # max .90 .92 .94; avg .91 .91 .97: differences .01 −.01 .03, mean .01, s = .02, half 4.3027 · .02 / √3
        for seed, (of_max, of_avg) in enumerate([(0.90, 0.91), (0.92, 0.91), (0.94, 0.97)]):
            results.add("max", seed, of_max, data={"test_images": 100})
            results.add("avg", seed, of_avg)
        made = report(results)
        reference = row(made, "accuracy", "max")
        assert reference["n_seeds"] == 3
        assert reference["test_accuracy_mean"] == pytest.approx(0.92)
        assert reference["test_accuracy_std"] == pytest.approx(0.02)
        assert reference["test_accuracy_ci95_low"] == pytest.approx(0.92 - 0.049683, abs=1e-6)
        by_hand = (math.sqrt(0.90 * 0.10) + math.sqrt(0.92 * 0.08) + math.sqrt(0.94 * 0.06)) / 3 / 10
        assert reference["test_accuracy_image_se"] == pytest.approx(by_hand)
        assert pd.isna(reference["n_paired"])
        assert math.isnan(reference["difference_mean"])

        arm = row(made, "accuracy", "avg")
        assert arm["n_paired"] == 3
        assert arm["difference_mean"] == pytest.approx(0.01)
        assert arm["difference_std"] == pytest.approx(0.02)
        assert arm["difference_ci95_low"] == pytest.approx(0.01 - 0.049683, abs=1e-6)
        assert arm["difference_ci95_high"] == pytest.approx(0.01 + 0.049683, abs=1e-6)
        # centred (−.02, −.02, .04) and (−.02, 0, .02): .0012 / √(.0024 · .0008)
        assert arm["correlation_with_reference"] == pytest.approx(0.0012 / math.sqrt(0.0024 * 0.0008))
        assert arm["reference"] == "max"

    def test_other_metrics(self, results: Any) -> None:
        for seed, loss in enumerate([0.1, 0.3]):
            results.add(seed=seed, metrics={"test_loss": loss, "ece": loss / 10, "val_accuracy": 1 - loss})
        found = row(report(results), "accuracy", "max")
        assert found["test_loss_mean"] == pytest.approx(0.2)
        assert found["test_loss_std"] == pytest.approx(math.sqrt(0.02))
        assert found["ece_mean"] == pytest.approx(0.02)
        assert found["val_accuracy_mean"] == pytest.approx(0.8)

    def test_pairs_only_common_seeds(self, results: Any) -> None:
        for seed, accuracy in ((0, 0.90), (1, 0.92), (2, 0.94)):
            results.add("max", seed, accuracy)
        for seed, accuracy in ((1, 0.95), (2, 0.95), (5, 0.10)):
            results.add("avg", seed, accuracy)
        made = report(results)
        arm = row(made, "accuracy", "avg")
        assert (arm["n_seeds"], arm["n_paired"]) == (3, 2)
        assert arm["difference_mean"] == pytest.approx(0.02)  # .03 and .01
        assert math.isnan(arm["correlation_with_reference"])
        assert any("different seeds" in warning and "avg lacks 0" in warning for warning in made.warnings)

    def test_no_common_seed(self, results: Any) -> None:
        results.add("max", 0)
        results.add("avg", 1)
        made = report(results)
        assert row(made, "accuracy", "avg")["n_paired"] == 0
        assert math.isnan(row(made, "accuracy", "avg")["difference_mean"])
        assert any("no seed in common with the reference: avg" in warning for warning in made.warnings)

    def test_one_seed_leaves_the_interval_empty(self, results: Any) -> None:
        results.add()
        report(results)
        header, line = (results.folder / "accuracy.csv").read_text().splitlines()
        cells = dict(zip(header.split(","), line.split(","), strict=True))
        assert (cells["n_seeds"], cells["test_accuracy_mean"]) == ("1", "0.9")
        assert cells["test_accuracy_std"] == cells["test_accuracy_ci95_low"] == cells["n_paired"] == ""

    @pytest.mark.parametrize("value", [None, "0.9", True])
    def test_undefined_metric_is_left_out_and_said(self, results: Any, value: Any) -> None:
        results.add(seed=0, accuracy=0.8)
        results.add(seed=1, metrics={"test_accuracy": value})
        made = report(results)
        found = row(made, "accuracy", "max")
        assert (found["n_seeds"], found["test_accuracy_mean"]) == (1, 0.8)
        assert any("test_accuracy is undefined and left out: max (1 of 2 records)" in w for w in made.warnings)

    def test_image_error_needs_the_number_of_images(self, results: Any) -> None:
        results.add(data={})
        assert math.isnan(row(report(results), "accuracy", "max")["test_accuracy_image_se"])

    def test_statuses_are_counted(self, results: Any) -> None:
        results.add("max", 0)
        for seed, status in enumerate(("failed", "diverged", "diverged", "unsupported", "interrupted")):
            results.add("avg", seed, status=status, reason="because")
        found = row(report(results), "accuracy", "avg")
        assert found["n_seeds"] == 0
        assert math.isnan(found["test_accuracy_mean"])
        counts = [found[f"n_{status}"] for status in ("failed", "diverged", "unsupported", "interrupted")]
        assert counts == [1, 2, 1, 1]

    def test_own_geometry(self, results: Any) -> None:
        site = {"name": "pool1", "operator": "MaxPool2d", "arguments": "", "geometry": "own"}
        results.add("max")
        results.add("avg", audit={"sites": [site]})
        made = report(results)
        assert row(made, "accuracy", "max")["geometry"] == "equal"
        assert row(made, "accuracy", "avg")["geometry"] == "own"

    @pytest.mark.parametrize(
        ("of_max", "of_avg", "says"),
        [
            pytest.param({"kernel_size": [3, 3]}, {"kernel_size": [3, 3]}, "equal", id="both_own_and_alike"),
            pytest.param({"kernel_size": [3, 3]}, {}, "own", id="of_the_reference"),
            pytest.param({"kernel_size": [3, 3]}, {"kernel_size": [5, 5]}, "own", id="both_own_and_unlike"),
            pytest.param({"ceil_mode": True}, {"ceil_mode": False}, "own", id="ceil_mode"),
            pytest.param({}, {"kernel_size": 2, "stride": 2, "padding": 0}, "equal", id="one_number"),
        ],
    )
    def test_geometry_is_that_of_the_reference_site_by_site(
        self, results: Any, of_max: dict[str, Any], of_avg: dict[str, Any], says: str
    ) -> None:
        for variant, changed in (("max", of_max), ("avg", of_avg)):
            window = {"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0], "ceil_mode": False} | changed
            site = {"name": "pool1", "geometry": "own" if "kernel_size" in changed else "equal"} | window
            results.add(variant, audit={"sites": [site], "network_digest": variant})
        found = row(report(results), "accuracy", "avg")
        assert (found["geometry"], "own geometry" in found["flags"]) == (says, says == "own")

    def test_identical_networks_name_each_other_reference_first(self, results: Any) -> None:
        for variant in ("max", "adaptive", "gap", "avg"):
            results.add(variant, audit={"network_digest": "other" if variant == "avg" else "same"})
        made = report(results)
        assert row(made, "accuracy", "gap")["identical_to"] == "max; adaptive"
        assert row(made, "accuracy", "max")["identical_to"] == "adaptive; gap"
        assert row(made, "accuracy", "avg")["identical_to"] == ""

    def test_same_network_by_another_recipe_is_not_identical(self, results: Any) -> None:
        results.add("max", audit={"network_digest": "same"})
        results.add("gap", audit={"network_digest": "same"}, config={"protocol": {"epochs": 99}})
        assert (report(results).tables["accuracy"]["identical_to"] == "").all()

    def test_order_of_rows(self, results: Any) -> None:
        for backbone in ("slides", "lenet5"):
            for variant in ("avg", "max", "adaptive"):
                results.add(variant, backbone=backbone)
        frame = report(results).tables["accuracy"]
        assert list(zip(frame["backbone"], frame["variant"], strict=True)) == [
            (backbone, variant) for backbone in ("lenet5", "slides") for variant in ("max", "adaptive", "avg")
        ]

    def test_another_reference(self, results: Any) -> None:
        results.add("max", accuracy=0.8, reference="avg")
        results.add("avg", accuracy=0.9, reference="avg")
        made = report(results)
        assert made.tables["accuracy"]["variant"].tolist() == ["avg", "max"]
        assert row(made, "accuracy", "max")["difference_mean"] == pytest.approx(-0.1)

    def test_reference_absent(self, results: Any) -> None:
        results.add("avg")
        made = report(results)
        assert row(made, "accuracy", "avg")["reference"] == ""
        assert any("no finished cell of the reference max" in warning for warning in made.warnings)


class TestNames:
    def test_colliding_variants_get_what_differs(self, results: Any) -> None:
        for lr in (0.1, 0.01):
            for variant, accuracy in (("max", 0.9), ("avg", 0.9 + lr)):
                results.add(variant, 0, accuracy, config={"protocol": {"optimizer": {"name": "sgd", "lr": lr}}})
        made = report(results)
        assert made.tables["accuracy"]["variant"].tolist() == [
            "max[protocol.optimizer.lr=0.01]",
            "max[protocol.optimizer.lr=0.1]",
            "avg[protocol.optimizer.lr=0.01]",
            "avg[protocol.optimizer.lr=0.1]",
        ]
        # Each is compared with the reference of its own recipe.
        for lr in ("0.01", "0.1"):
            arm = row(made, "accuracy", f"avg[protocol.optimizer.lr={lr}]")
            assert arm["reference"] == f"max[protocol.optimizer.lr={lr}]"
            assert arm["difference_mean"] == pytest.approx(float(lr))
        assert any("arms differ in protocol.optimizer.lr: 0.01 (2 arms), 0.1 (2 arms)" in w for w in made.warnings)

    def test_settings_join_those_that_the_name_has(self, results: Any) -> None:
        for epochs in (1, 2):
            results.add("avg_topk[k=3]", config={"protocol": {"epochs": epochs}})
        variants = report(results).tables["accuracy"]["variant"].tolist()
        assert variants == ["avg_topk[k=3,protocol.epochs=1]", "avg_topk[k=3,protocol.epochs=2]"]

    def test_a_name_beside_a_class_is_enough(self, results: Any) -> None:
        for name in ("gap", "gmp"):
            results.add(config={"head": {"name": name, "_target_": f"poolbench.pooling.{name}"}})
        results.add()
        assert report(results).tables["accuracy"]["variant"].tolist() == [
            "max[head.name=gap]",
            "max[head.name=gmp]",
            "max[head=null]",
        ]

    def test_where_a_dataset_lies_is_no_difference(self, results: Any) -> None:
        results.add(seed=0, config={"dataset": {"root": "/here"}})
        results.add(seed=1, config={"dataset": {"root": "/there"}})
        assert report(results).tables["accuracy"]["n_seeds"].tolist() == [2]

    def test_device_tells_arms_apart(self, results: Any) -> None:
        results.add()
        results.add(provenance={"device": "cuda"})
        assert report(results).tables["accuracy"]["variant"].tolist() == ["max[device=cpu]", "max[device=cuda]"]

    def test_many_differences_give_way_to_the_digest(self, results: Any) -> None:
        first = results.add(config={"protocol": dict.fromkeys("abcd", 1)})
        second = results.add(config={"protocol": dict.fromkeys("abcd", 2)})
        expected = sorted(f"max[#{record['arm_id'][:6]}]" for record in (first, second))
        assert report(results).tables["accuracy"]["variant"].tolist() == expected

    def test_colliding_blocks(self, results: Any) -> None:
        results.add(config={"backbone": {"width": 8}})
        results.add(config={"backbone": {"width": 16}, "dataset": {"train_images": 100}})
        frame = report(results).tables["accuracy"]
        assert frame["backbone"].tolist() == ["slides[backbone.width=16]", "slides[backbone.width=8]"]
        assert frame["dataset"].tolist() == ["digits[dataset.train_images=100]", "digits"]

    def test_blocks_that_differ_in_content_alone(self, results: Any) -> None:
        ids = [results.add(fingerprint=content)["block_id"] for content in ("one", "two")]
        frame = report(results).tables["accuracy"]
        assert frame["dataset"].tolist() == sorted(f"digits[#{block_id[:6]}]" for block_id in ids)


class TestParameters:
    def test_figures_and_operators(self, results: Any) -> None:
        results.add("max")
        results.add("strided_conv")
        results.add("avg_topk")
        made = report(results)
        found = row(made, "parameters", "strided_conv")
        assert (found["parameters"], found["parameters_pooling"]) == (270_942 + 3_968, 3_968)
        assert found["multiply_adds"] == 4_380_000
        assert row(made, "parameters", "avg_topk")["downsample_operators"] == "AvgTopKPool2d(k=2) ×2"
        assert found["head_operator"] == "Flatten"
        assert (found["head_features"], found["sites"]) == (64, 2)

    def test_arm_without_a_finished_cell_has_empty_figures(self, results: Any) -> None:
        results.add("max")
        results.add("avg", status="unsupported", reason="cannot be")
        found = row(report(results), "parameters", "avg")
        assert pd.isna(found["parameters"])
        assert pd.isna(found["sites"])


class TestThroughput:
    def test_a_row_an_arm_and_machine(self, results: Any) -> None:
        reference, arm = results.add("max"), results.add("avg")
        results.speed(reference, reference, training=1_000.0)
        results.speed(arm, reference, training=870.0, ratio=0.87)
        made = report(results)
        assert len(made.tables["throughput"]) == 2
        found = row(made, "throughput", "avg")
        assert found["training_images_per_s"] == 870.0
        assert (found["training_ratio"], found["training_ratio_ci95_low"]) == pytest.approx((0.87, 0.8613))
        assert (found["latency_ms"], found["latency_ratio"]) == pytest.approx((0.4321, 1 / 0.87))
        assert (found["threads"], found["memory_format"], found["batch_size"]) == (2, "channels_last", 64)
        assert bool(found["training_settled"])
        assert found["speed_reference"] == "max"
        itself = row(made, "throughput", "max")
        assert itself["training_ratio"] == 1.0
        assert math.isnan(itself["training_ratio_ci95_low"])

    def test_older_records_lack_what_was_not_measured_then(self, results: Any) -> None:
        older, arm = results.add("max"), results.add("avg")
        results.speed(older, older)
        newer = {"unit": "images/s", "median": 500.0, "ratio": 0.9, "ratio_ci95_low": 0.89, "ratio_ci95_high": 0.91}
        quantities = {"training": newer, "forward_backward": {**newer, "settled": True}}
        results.speed(arm, older, quantities=quantities, compiled=True, clock="processor")
        made = report(results)
        before = row(made, "throughput", "max")
        assert before[["forward_backward_ratio", "forward_backward_settled", "compiled"]].isna().all()
        assert before["clock"] == ""
        after = row(made, "throughput", "avg")
        assert (after["forward_backward_images_per_s"], after["forward_backward_ratio"]) == (500.0, 0.9)
        assert (after["forward_backward_settled"], after["compiled"], after["clock"]) == (True, True, "processor")

    def test_summary_takes_the_machine_with_most_arms(self, results: Any) -> None:
        reference, arm = results.add("max"), results.add("avg")
        for record in (reference, arm):
            results.speed(record, reference, machine_id="old", training=1.0)
        results.speed(arm, reference, machine_id="new", training=2.0, measured="2027-01-01T00:00:00+00:00")
        made = report(results)
        assert len(made.tables["throughput"]) == 3
        assert made.tables["summary"]["machine_id"].tolist() == ["old", "old"]
        assert any("several machines" in warning for warning in made.warnings)

    def test_summary_takes_the_newest_of_equals(self, results: Any) -> None:
        record = results.add()
        results.speed(record, record, machine_id="new", measured="2027-01-01T00:00:00+00:00")
        results.speed(record, record, machine_id="old")
        assert report(results).tables["summary"]["machine_id"].tolist() == ["new"]

    def test_arm_without_speed_stays_in_the_summary(self, results: Any) -> None:
        reference = results.add("max")
        results.add("avg")
        results.speed(reference, reference)
        found = row(report(results), "summary", "avg")
        assert found["parameters"] == 270_942
        assert pd.isna(found["training_ratio"])

    def test_speed_of_an_unknown_arm_is_said(self, results: Any) -> None:
        record = results.add()
        results.speed(record, record, arm_id="ffffffffffff")
        made = report(results)
        assert made.tables["throughput"].empty
        assert any("1 speed record of arms without a record" in warning for warning in made.warnings)
