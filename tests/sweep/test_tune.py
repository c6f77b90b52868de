"""`tune=N`: trials, best points and tuned arms, trained on real digits and taken up again."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cells import SHORT, records

from poolbench.cli import main
from poolbench.errors import ConfigurationError
from poolbench.report import figures, page
from poolbench.sweep.asked import Asked
from poolbench.sweep.tune import SEED, comparable, trials_of
from poolbench.tuning import Tune, space_of

RECIPE = {"optimizer": {"lr": 0.1, "weight_decay": 0.01}, "epochs": 1}


def asked(variant: str, seed: int = 0) -> Asked:
    return Asked({"pooling": {"name": variant}, "protocol": RECIPE, "seed": seed}, {"variant": variant}, {})


def test_every_arm_is_tried_once_at_the_same_points_with_a_seed_of_its_own() -> None:
    found = trials_of(Tune(4), [asked("max"), asked("max", 1), asked("avg"), asked("avg", 1)])
    assert [one.shared.labels["variant"] for one in found] == ["max"] * 4 + ["avg"] * 4
    assert [one.values for one in found[:4]] == [one.values for one in found[4:]]
    assert {one.asked.config["seed"] for one in found} == {SEED}
    for one in found:
        optimizer = one.asked.config["protocol"]["optimizer"]
        assert optimizer["lr"] == one.values["protocol.optimizer.lr"]
        assert optimizer["weight_decay"] == one.values["protocol.optimizer.weight_decay"]
        assert one.shared.config["protocol"] == RECIPE


def test_a_setting_that_an_arm_has_not_and_a_seed_that_is_taken_are_refused() -> None:
    space = space_of({"protocol.optimizer.momentum": [0.1, 0.9]})
    with pytest.raises(
        ConfigurationError, match=r"`tune.space` names protocol\.optimizer\.momentum, which max has not"
    ):
        trials_of(Tune(2, space), [asked("max")])
    with pytest.raises(ConfigurationError, match="1000000 is that of the trials"):
        trials_of(Tune(2), [asked("max", SEED)])


def test_a_block_without_a_scored_trial_of_the_reference_or_of_another_arm_is_left_out_and_named() -> None:
    def one(variant: str, dataset: str) -> tuple[Asked, str]:
        return Asked({"seed": 0}, {"variant": variant, "backbone": "net", "dataset": dataset}, {}), variant

    cells = [one("max", "a"), one("avg", "a"), one("avg", "b"), one("min", "b"), one("max", "c")]
    kept, alone = comparable(cells, "max")
    assert kept == cells[:2]
    assert alone == {"net on b": "the reference", "net on c": "another arm"}


@pytest.fixture
def tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a sweep whose arms are tuned; its report has no figures and no page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")
    fixed = ("backbone=lenet5", "dataset.train_images=200", "pooling=max,avg", "seed=0,1")
    return lambda *overrides: main(["train", *SHORT, *fixed, *overrides])


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("**/record.json")}


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["variant"]: row for row in csv.DictReader((folder / "tuned.csv").read_text().splitlines())}


@pytest.mark.slow
def test_trials_are_scored_on_validation_and_the_best_is_trained(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results" / "adhoc"
    assert tune("tune=2") == 0
    assert set(records(folder)) == {"max/0", "max/1", "avg/0", "avg/1"}
    trials = [json.loads(path.read_text()) for path in folder.glob("tune/records/*/record.json")]
    assert {record["seed"] for record in trials} == {SEED}
    assert len(trials) == 4
    tuned = [json.loads(path.read_text()) for path in folder.glob("tuned/records/*/record.json")]
    assert sorted((r["labels"]["variant"], r["seed"]) for r in tuned) == [
        ("avg", 0), ("avg", 1), ("max", 0), ("max", 1)
    ]  # fmt: skip
    for variant in ("max", "avg"):
        own = [record for record in trials if record["labels"]["variant"] == variant]
        top = max(record["metrics"]["val_accuracy"] for record in own)
        best = [r["config"]["protocol"] for r in own if r["metrics"]["val_accuracy"] == top]
        assert all(r["config"]["protocol"] in best for r in tuned if r["labels"]["variant"] == variant)
        row = rows(folder)[variant]
        assert float(row["val_accuracy_high"]) == pytest.approx(top)
        assert float(row["trials_s"]) == pytest.approx(sum(record["times"]["total_s"] for record in own))
    assert "Tuned with an equal budget (1)" in capsys.readouterr().out
    # The same again trains nothing; with more points only the further ones, and what is best then.
    before = times(folder)
    assert tune("tune=2") == 0
    assert times(folder) == before
    assert tune("tune=4") == 0
    assert {path: time for path, time in times(folder).items() if path in before} == before
    assert len(list(folder.glob("tune/records/*/record.json"))) == 8
    assert {row["n_points"] for row in rows(folder).values()} == {"4"}


@pytest.mark.slow
def test_tuned_arms_of_other_seeds_stay_as_long_as_the_points_are_the_same(
    tune: Callable[..., int], tmp_path: Path
) -> None:
    folder = tmp_path / "results" / "adhoc"
    assert tune("tune=2", "seed=0") == 0
    assert tune("tune=2", "seed=1") == 0
    assert {row["tuned_n_seeds"] for row in rows(folder).values()} == {"2"}
    best = {row["variant"]: row["best_point"] for row in rows(folder).values()}
    assert tune("tune=6", "seed=1") == 0
    for row in rows(folder).values():
        assert row["tuned_n_seeds"] == ("2" if row["best_point"] == best[row["variant"]] else "1")


@pytest.mark.slow
def test_the_same_command_goes_on_where_it_was_ended(tune: Callable[..., int], tmp_path: Path) -> None:
    folder = tmp_path / "results" / "adhoc"
    assert tune("tune=2") == 0
    whole = rows(folder)
    kept = times(folder)
    for path in [path for path in kept if "-avg-" in path.parent.name and "tune" in path.parts[-4]]:
        del kept[path]
        path.unlink()
    (folder / "tune" / "tune.json").unlink()
    assert tune("tune=2") == 0
    assert {path: time for path, time in times(folder).items() if path in kept} == kept
    again = rows(folder)
    for row in (*whole.values(), *again.values()):
        assert float(row.pop("trials_s")) > 0
    assert again == whole


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "wrong",
    [
        "tune=0",
        "tune=many",
        "tune={points: 2, spaces: {}}",
        "tune={space: {a.b: [1, 2]}}",
        "tune={space: {seed: [1, 2]}}",
        "tune={space: {dataset.train_images: [100, 200]}}",
    ],
)
def test_what_is_no_tuning_is_refused_before_anything_is_trained(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    assert tune(wrong) == 2
    assert "`tune" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("protocol.epochs: [1, x]", "`protocol.epochs` must be a whole number of at least 1, got 'x'"),
        ("protocol.optimizer.lr: [0.1, 0.01]", "does nothing"),
    ],
)
def test_a_value_of_the_space_that_cannot_be_is_refused_before_anything_is_trained(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], space: str, said: str
) -> None:
    assert tune(f"tune={{points: 2, space: {{{space}}}}}") == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "results").exists()
