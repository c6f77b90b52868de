"""`poolbench report … logger=wandb`: the report, and every record as a run, also those made without W&B."""

from pathlib import Path

import pandas as pd
import pytest
from loggers.conftest import read_runs
from report.conftest import Results

from poolbench.cli import main
from poolbench.loggers import Reported
from poolbench.report import figures, page


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"<p>page</p>")
    found = Results(tmp_path / "results" / "mine")
    records = {}
    for variant, accuracy in (("max", 0.9), ("avg", 0.8)):
        for seed in range(3):
            records[variant] = found.add(variant, seed, accuracy + seed / 100)
    found.speed(records["avg"], records["max"])
    found.add("gap", 0, None, status="failed", reason="its code called sys.exit(4)")
    return found


@pytest.mark.usefixtures("offline")
def test_records_made_without_it_become_runs_with_the_columns_of_the_tables(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns_of, asked = Reported.columns, []
    monkeypatch.setattr(Reported, "columns", lambda self: asked.append(self) or columns_of(self))
    command = ["report", str(results.folder), "logger=wandb", "--quiet", "logger.wandb.project=pools"]
    for _ in range(2):  # again: no twin
        assert main(command) == 0
        runs = read_runs(results.folder)
        report = runs.pop("report-mine")
        assert len(runs) == 7
    assert len(asked) == 2  # once a report, not once a cell
    summary = pd.read_csv(results.folder / "summary.csv").set_index("arm_id")
    for run in runs.values():
        assert run.run["project"] == "pools"
        assert len(run.history) == (10 if run.summary["status"] == "ok" else 0)
        row = summary.loc[run.summary["arm_id"]].dropna()
        assert run.summary.get("verdict") == row.get("verdict")
        for name in ("difference_mean", "training_ratio", "parameters", "n_seeds"):
            assert run.summary.get(name) == (pytest.approx(row[name], rel=1e-9) if name in row else None)
    assert sorted(run.exits for run in runs.values()) == [[0]] * 6 + [[4]]
    assert report.run["project"] == "pools"
    assert "avg" in report.summary["verdict"]
    columns, data = report.table("tables/summary")
    assert len(data) == len(summary)
    assert "training_ratio" in columns


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["logger=csv"], "logger=csv mirrors cells while they are trained and shows no report; logger=wandb does"),
        (["logger=none"], "asks for no logger; give logger=wandb"),
        (["logger=wand"], "did you mean wandb"),
        (["logger=wandb", "+logger.wandb.projekt=x"], "did you mean project"),
        (["logger=wandb", "+logger.wandb.api_key=x"], "would stand in the plan and in every record"),
        (["results", "logger=wandb"], "the comparison of two folders is shown by no logger"),
    ],
)
def test_a_mistake_is_told(results: Results, capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    assert main(["report", str(results.folder), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (results.folder / "wandb").exists()
