"""trackio: a local file with every epoch and the final figures, once, inside the experiment's folder."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from poolbench.loggers import Mirrors, Session

SPEC = {"_target_": "poolbench.loggers.trackio_run.TrackioRun"}
RECORD = {
    **{"status": "ok", "reason": "", "run_id": "run-1", "cost": {"parameters": 12}},
    "metrics": {"test_accuracy": 0.75, "selected_epoch": 1},
}
# Read by trackio itself, in a process of its own.
READ = """
import json, sys
from trackio.sqlite_storage import SQLiteStorage
import trackio
runs = list(trackio.Api().runs(sys.argv[1]))
print(json.dumps([[run.name, SQLiteStorage.get_logs(sys.argv[1], run.name, run_id=run.id),
                   SQLiteStorage.get_run_config(sys.argv[1], run.name, run_id=run.id)] for run in runs]))
"""


def show(folder: Path, epochs: int, said: list[str]) -> None:
    with Session(folder, say=said.append) as session:
        mirrors = Mirrors(
            {"trackio": SPEC}, folder=folder / "records", run_id="run-1", experiment="my own", session=session
        )
        mirrors.config({"seed": 0, "protocol": {"epochs": 3}}, revision="abc")
        for epoch in range(epochs):
            mirrors.row({"train_loss": 1.0 / (epoch + 1), "val_loss": float("nan")}, step=epoch)
        mirrors.final(RECORD)
        mirrors.close()


def read(folder: Path) -> list[Any]:
    import json
    import os

    done = subprocess.run(
        [sys.executable, "-c", READ, "my-own"],
        env=os.environ | {"TRACKIO_DIR": str(folder / "trackio")},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_each_folder_has_its_own_file_with_each_epoch_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    for name in ("one", "two"):
        show(tmp_path / name, 2, said)
        show(tmp_path / name, 3, said)  # run again
    assert said == []
    assert capsys.readouterr().out == ""
    for name in ("one", "two"):
        ((run, logs, config),) = read(tmp_path / name)
        assert run == "run-1"
        assert config["seed"] == 0
        assert config["revision"] == "abc"
        curves = [(one["step"], one["train_loss"]) for one in logs if "train_loss" in one]
        assert curves == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
        (final,) = [one for one in logs if "final/test_accuracy" in one]
        assert (final["step"], final["final/test_accuracy"], final["final/parameters"]) == (1, 0.75, 12)
        assert final["final/status"] == "ok"
    assert not list((tmp_path / "home").rglob("*.db"))
