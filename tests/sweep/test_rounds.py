"""`until=decided`: rounds of a sweep, trained on real digits, ended and taken up again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cells import SHORT, records

from poolbench.cli import main
from poolbench.declared import Declared, Look
from poolbench.experiment import Experiment, read_experiment, write_experiment
from poolbench.report import figures, page
from poolbench.sweep.conclusion import again
from poolbench.sweep.plan import PlanFolder

ARMS = ("backbone=lenet5", "dataset.train_images=200", "pooling=max,avg")
# Two looks that are quick to reach; with a margin of nothing no arm is a tie.
QUICK = Declared((0, 1, 2, 3), (Look(3, 0.02), Look(4, 0.03)))
OPEN, TIES = "margin=0", "margin=90"


@pytest.fixture
def until(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a sweep until it is decided; its report has no figures and no page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")

    def run(*overrides: str) -> int:
        return main(["train", *SHORT, *ARMS, "until=decided", *overrides])

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "adhoc"


@pytest.mark.slow
def test_what_is_decided_at_the_first_look_is_trained_no_further(
    until: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert until(TIES) == 0
    assert set(records(folder)) == {f"{arm}/{seed}" for arm in ("max", "avg") for seed in range(3)}
    said = capsys.readouterr()
    assert "until=decided: 1 tie; 6 cells in place of 40 with 20 seeds: 85 % saved" in said.err
    assert "looks at 3, 5, 10 and 20 seeds" in " ".join(said.out.split())
    assert read_experiment(folder).declared == Declared(tuple(range(20)))
    # The same again trains nothing; without `until` what was declared stays so.
    times = {path: path.stat().st_mtime_ns for path in folder.glob("records/*/record.json")}
    assert until(TIES) == 0
    assert main(["train", *SHORT, *ARMS, TIES, "seed=3", "question='Why?'"]) == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    declared = replace(Experiment("adhoc", "Why?"), declared=Declared(tuple(range(20)), cells_before=0))
    assert read_experiment(folder) == declared
    # What says nothing of the experiment leaves what was said.
    assert main(["train", *SHORT, *ARMS, TIES, "seed=3"]) == 0
    assert until(TIES) == 0
    assert read_experiment(folder) == declared


@pytest.mark.slow
def test_undecided_arms_go_on_and_the_same_command_goes_on_at_the_right_look(
    until: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_experiment(folder, replace(Experiment("adhoc"), declared=QUICK))
    assert until(OPEN) == 0
    whole = records(folder)
    assert set(whole) == {f"{arm}/{seed}" for arm in ("max", "avg") for seed in range(4)}
    said = capsys.readouterr().err
    assert "until=decided: 1 undecided; 1 waits for 4 seeds" in said
    assert "8 cells in place of 8 with 4 seeds: 0 % saved" in said
    assert len(list(PlanFolder(folder).sweeps.glob("*.json"))) == 2
    # As after a kill in the second round.
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("records/*/record.json")}
    for path in [path for path in kept if "avg" in path.parent.name and "-s3-" in path.parent.name]:
        del kept[path]
        path.unlink()
    assert until(OPEN) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    again = records(folder)
    assert {key: record["metrics"] for key, record in again.items()} == {
        key: record["metrics"] for key, record in whole.items()
    }
    # And every cell is trained once, not once a round, where all are asked for anew.
    assert until(OPEN, "force=true") == 0
    assert "8 trained in" in capsys.readouterr().err


@pytest.mark.slow
def test_what_cannot_be_declared_is_refused_before_anything_is_trained(
    until: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert until("seed=range(0,21)") == 2
    assert "20 seeds at most" in capsys.readouterr().err
    assert until("pooling=avg,gap") == 2
    assert "max must be among the poolings of lenet5 on digits" in capsys.readouterr().err
    assert until("pooling=max") == 2
    assert "there must be another pooling beside max" in capsys.readouterr().err
    assert until("until=bored") == 2
    assert "`until`" in capsys.readouterr().err
    assert not folder.exists()
    write_experiment(folder, replace(Experiment("adhoc"), declared=Declared(tuple(range(20)))))
    assert until("seed=5") == 2
    assert "cannot be changed" in capsys.readouterr().err
    assert json.loads((folder / "experiment.json").read_text())["declared"]["order"] == list(range(20))
    assert not (folder / "records").exists()


def test_a_failed_cell_of_a_look_is_run_again_by_the_whole_command() -> None:
    """Its seed is one of the looks': the seed alone would be trained for arms that are decided, too."""
    planned: Any = SimpleNamespace(settings=SimpleNamespace(part=""), run_id="net-max-s4-0", seed=4)
    words = ("poolbench", "train", "experiment=quickstart", "force=true")
    sweep: Any = SimpleNamespace(command=(*words, "until=decided"))
    assert again(planned, "failed", sweep) == "poolbench train experiment=quickstart until=decided force=failed"
    assert again(planned, "interrupted", sweep) == "poolbench train experiment=quickstart until=decided"
    sweep = SimpleNamespace(command=words)
    assert again(planned, "failed", sweep) == "poolbench train experiment=quickstart seed=4 force=net-max-s4-0"
