"""Tuned arms in a report: apart from the shared recipe, chosen on validation, with what it cost."""

import json
import shutil
from typing import Any

import pytest
from scipy import stats

from poolbench.record import write_record
from poolbench.report.make import gather, make_report
from poolbench.report.reading.loading import load
from poolbench.report.reading.trials import FILE, TRIALS, TUNED, Trial, Trials
from poolbench.report.text.asides import asides

RATE = "protocol.optimizer.lr"
# Validation accuracy of each arm at each rate; `avg` diverges at the larger one.
SCORES = {"max": {0.01: 0.91, 0.1: 0.95}, "avg": {0.01: 0.93, 0.1: None}}
BEST = {"max": 0.1, "avg": 0.01}


def recipe(rate: float) -> dict[str, Any]:
    return {"protocol": {"optimizer": {"name": "adamw", "lr": rate}}}


@pytest.fixture
def tuned(results: Any) -> Any:
    """Give a folder in which `avg` is worse at the shared recipe, and better when tuned."""
    arms = {}
    for seed in range(3):
        for variant, accuracy in (("max", 0.9), ("avg", 0.8)):
            record = results.add(variant, seed, accuracy + 0.001 * seed * (variant == "avg"))
            arms[variant] = record["arm_id"]
    trials, there = type(results)(results.folder / TRIALS), type(results)(results.folder / TUNED)
    runs, tuned_runs = {}, {}
    for variant, scores in SCORES.items():
        for point, (rate, score) in enumerate(scores.items()):
            # On the test set the other point looks better: that must not count.
            metrics = {"val_accuracy": score}
            status = "diverged" if score is None else "ok"
            made = trials.add(variant, 99, 1 - rate, config=recipe(rate), metrics=metrics, status=status)
            runs[made["run_id"]] = Trial(arms[variant], point, {RATE: rate})
        for seed in range(3):
            accuracy = (0.92 if variant == "max" else 0.97) + 0.001 * seed * (variant == "avg")
            made = there.add(variant, seed, accuracy, config=recipe(BEST[variant]))
            tuned_runs[made["run_id"]] = arms[variant]
    # Left from an earlier choice of the best point: no part of it.
    there.add("max", 0, 0.1, config=recipe(0.5))
    Trials(99, runs, tuned_runs).write(results.folder)
    return results


def test_arms_stand_at_the_shared_recipe_and_tuned(tuned: Any) -> None:
    content = gather(load(tuned.folder))
    rows = {row["variant"]: row for row in content.tables["tuned"].to_dict("records")}
    assert {name: row["best_point"] for name, row in rows.items()} == {
        name: f"{RATE}={rate}" for name, rate in BEST.items()
    }
    avg = rows["avg"]
    assert (avg["n_points"], avg["n_points_finished"], avg["val_accuracy_low"]) == (2, 1, 0.93)
    assert (avg["shared_verdict"], avg["tuned_verdict"]) == ("worse", "better")
    assert avg["tuned_difference_mean"] == pytest.approx(0.051)
    assert avg["gain"] == pytest.approx(0.17)
    assert (rows["max"]["shared_n_seeds"], rows["max"]["tuned_n_seeds"]) == (3, 3)
    assert rows["max"]["tuned_test_accuracy_mean"] == pytest.approx(0.92)
    assert rows["max"]["trials_s"] == pytest.approx(5.0)
    # The verdicts of the report stay those of the shared recipe.
    accuracy = content.tables["accuracy"].set_index("variant")
    assert accuracy.loc["avg", "verdict"] == "worse"
    assert list(accuracy.index) == ["max", "avg"]


def test_it_is_said_whether_the_order_changed(tuned: Any) -> None:
    (sentence,) = gather(load(tuned.folder)).tuning
    assert "2 points of the recipe for each arm, scored on validation with seed 99 (10.0 s)" in sentence
    assert "changed in 1 of 1 pairs; the best was max at the shared recipe, avg when tuned" in sentence
    assert "validation 91.00 % to 95.00 % over the space" in sentence


def test_what_is_not_there_yet_is_said(tuned: Any) -> None:
    for path in tuned.folder.glob(f"{TUNED}/records/*/record.json"):
        path.unlink()
    (sentence,) = gather(load(tuned.folder)).tuning
    assert "avg (not run)" in sentence
    assert "Fewer than two arms have both" in sentence


def test_nothing_tuned_says_nothing_and_a_torn_file_is_a_problem(results: Any) -> None:
    results.add("max", 0)
    content = gather(load(results.folder))
    assert content.tuning == []
    assert "tuned" not in content.tables
    (results.folder / TRIALS).mkdir()
    (results.folder / TRIALS / FILE).write_text('{"runs": 3}')
    content = gather(load(results.folder))
    assert [problem.path.name for problem in content.problems] == [FILE]


def test_latex_shows_them_as_markdown_does(tuned: Any) -> None:
    text = make_report(tuned.folder).folder.joinpath("summary.tex").read_text()
    table = text[text.index(r"\label{tab:poolbench-tuned}") :]
    columns = table[table.index(r"\begin{tabular}{") :].partition("\n")[0]
    assert columns == r"\begin{tabular}{lllrrrrrllp{0.2\linewidth}}"
    rows = [line.rstrip(" \\").split(" & ") for line in table.splitlines() if line.endswith(r"\\")]
    assert [len(row) for row in rows] == [11] * 3
    assert rows[0][4] == r"Validation over the space, \%"
    assert rows[2][2:8] == ["avg", "1 of 2", r"93.00 \dots{} 93.00", "80.10", "97.10", "+17.00"]
    assert rows[2][8:] == ["worse $-$9.90", "better +5.10", r"protocol.optimizer.lr=0.01"]


def test_another_score_goes_by_its_name_and_unit(tuned: Any) -> None:
    error = {"name": "mean_absolute_error", "unit": "m", "better": "lower", "margin": "per cent"}
    for path in tuned.folder.rglob("record.json"):
        record = json.loads(path.read_text())
        record["task"] = {"name": "own", "score": error}
        record["metrics"] = {k.replace("accuracy", error["name"]): v for k, v in record["metrics"].items()}
        write_record(path, record)
    content = gather(load(tuned.folder))
    avg = content.tables["tuned"].set_index("variant").loc["avg"]
    assert (avg["score"], avg["unit"], avg["better"]) == ("mean_absolute_error", "m", "lower")
    assert avg["tuned_score_mean"] == pytest.approx(0.971)
    assert avg["gain"] == pytest.approx(0.17)
    assert avg.filter(like="accuracy").isna().all()
    (aside,) = asides(content)
    headings = [heading for heading, _ in aside.columns]
    assert {"validation over the space, m", "at the shared recipe, m", "tuned, m"} <= set(headings)
    assert aside.rows[1][5:10] == ("0.801", "0.971", "+0.170", "better −0.099", "worse +0.051")


def test_what_is_torn_below_the_folder_is_named(tuned: Any) -> None:
    trial, one = (min(tuned.folder.glob(f"{part}/records/*/record.json")) for part in (TRIALS, TUNED))
    trial.write_text("{")
    one.write_text("{")
    found = gather(load(tuned.folder))
    assert {problem.path for problem in found.problems} == {trial, one}
    for path in tuned.folder.glob(f"{TUNED}/records/*/record.json"):
        path.write_text("{")
    found = gather(load(tuned.folder))
    assert {problem.path for problem in found.problems} == {trial, tuned.folder / TUNED}
    assert len(found.tables["tuned"]) == 2


@pytest.mark.parametrize(("group", "key"), [("backbone", "width"), ("dataset", "resize")])
def test_arms_tuned_in_network_or_data_stay_one_family(tuned: Any, group: str, key: str) -> None:
    for seed in range(3):
        tuned.add("gap", seed, 0.9)
    shared = gather(load(tuned.folder)).tables["accuracy"].set_index("variant")["arm_id"]
    trials = Trials.read(tuned.folder)
    assert trials is not None
    tried = type(tuned)(tuned.folder / "elsewhere").add("gap", 99, config=recipe(0.2))
    shutil.move(tuned.folder / "elsewhere" / "records" / tried["run_id"], tuned.folder / TRIALS / "records")
    shutil.rmtree(tuned.folder / TUNED)
    there, runs = type(tuned)(tuned.folder / TUNED), {}
    for seed in range(3):
        for at, (variant, accuracy) in enumerate((("max", 0.9), ("avg", 0.95 + 0.001 * seed), ("gap", 0.9))):
            change = 0.02 * (seed - 1) * (variant == "gap")
            record = there.add(variant, seed, accuracy + change, config={group: {key: at}})
            runs[record["run_id"]] = shared[variant]
    Trials(99, {**trials.runs, tried["run_id"]: Trial(shared["gap"], 0, {RATE: 0.2})}, runs).write(tuned.folder)
    content = gather(load(tuned.folder))
    rows = content.tables["tuned"].set_index("variant")
    assert rows["tuned_verdict"].to_dict() == {"max": "reference", "avg": "better", "gap": "undecided"}
    # Of two arms, not of one: Holm's procedure rejected the other first.
    own = rows.loc["avg"]
    half = (own["tuned_difference_holm_high"] - own["tuned_difference_holm_low"]) / 2
    assert half == pytest.approx(stats.t.ppf(1 - 0.05 / 2 / 2, 2) * 0.001 / 3**0.5)
    assert not [one for one in content.warnings if one.startswith("tuned: ")]


def test_the_notes_of_tuned_arms_are_warnings(tuned: Any) -> None:
    for path in tuned.folder.glob(f"{TUNED}/records/*-max-*/record.json"):
        path.unlink()
    found = gather(load(tuned.folder)).warnings
    assert any(one.startswith("tuned: slides on digits: no finished cell of the reference max") for one in found)


@pytest.mark.parametrize(
    ("status", "seeds", "said"),
    [
        ("diverged", 3, "avg (tuned: 3 of 3 cells diverged)"),
        ("interrupted", 3, "avg (tuned: no cell finished)"),
        ("failed", 1, "over the space, tuned: 1 of 3 cells failed)"),
    ],
)
def test_tuned_cells_that_did_not_finish_are_said(tuned: Any, status: str, seeds: int, said: str) -> None:
    for seed in range(seeds):
        (path,) = tuned.folder.glob(f"{TUNED}/records/*-avg-*-s{seed}-*/record.json")
        record = json.loads(path.read_text())
        write_record(path, record | {"status": status, "reason": "loss is nan", "metrics": {}, "files": {}})
    content = gather(load(tuned.folder))
    (sentence,) = content.tuning
    assert said in sentence
    (entry,) = content.not_compared
    shown = "seeds 0–2" if seeds == 3 else "seed 0"
    assert str(entry) == f"tuned: slides on digits, avg, {shown}: {status}: loss is nan"
    row = content.tables["tuned"].set_index("variant").loc["avg"]
    assert (row["shared_n_failed"], row["tuned_n_failed"]) == (0, 0 if status == "interrupted" else seeds)
