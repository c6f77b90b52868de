"""A sweep that is mirrored to W&B without an account: every run read back by W&B's own tool equals its record."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cells import SHORT
from loggers.conftest import Run, clean, read_runs
from loggers.server import serving
from PIL import Image

from poolbench.cli import main
from poolbench.report import figures, page

BAD = """
import sys
from torch import nn

class Fails(nn.MaxPool2d):
    def forward(self, x):
        if self.training and x.shape[0] > 2:
            raise ValueError("this pool fails")
        return super().forward(x)

class Exits(nn.MaxPool2d):
    def forward(self, x):
        if self.training and x.shape[0] > 2:
            sys.exit(3)
        return super().forward(x)
"""


@dataclass
class Sweep:
    """What the sweep left."""

    folder: Path
    home: Path
    said: str
    asked: list[str] = field(default_factory=list)

    def records(self) -> dict[str, dict[str, Any]]:
        found = [json.loads(path.read_text()) for path in self.folder.parent.glob("*/records/*/record.json")]
        return {record["run_id"]: record for record in found}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """Two good arms of two seeds, one that fails and one that calls `sys.exit(3)`; whatever asks a network is heard."""
    folder = tmp_path_factory.mktemp("wandb") / "it's mine"
    folder.mkdir()
    (folder / "bad_of_wandb.py").write_text(BAD)
    with pytest.MonkeyPatch.context() as patch, serving("html") as server:
        clean(patch, folder / "home")
        patch.syspath_prepend(str(folder))
        patch.chdir(folder)
        for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
            patch.setenv(name, server.url)
        before = _of_loggers()
        hooks = sys.exit, sys.excepthook
        said = []
        from rich.console import Console

        patch.setattr(Console, "print", lambda self, *words, **_: said.append(" ".join(map(str, words))))
        # Drawing and page take longer than the training, and are tested elsewhere.
        picture = io.BytesIO()
        Image.new("RGB", (4, 3)).save(picture, "PNG")
        patch.setattr(figures, "files", lambda *_: {"accuracy.png": picture.getvalue()})
        patch.setattr(page, "html", lambda _: b"<!DOCTYPE html><title>page</title><p>of the report")
        short = [*SHORT, "protocol.epochs=2", "logger=[csv,wandb]"]
        assert main(["train", *short, "pooling=max,avg", "seed=0,1"]) == 0
        bad = "pooling.downsample._target_=bad_of_wandb.Fails,bad_of_wandb.Exits"
        assert main(["train", *short, bad, "name=bad"]) == 1
        assert _of_loggers() == before
        assert (sys.exit, sys.excepthook) == hooks
        yield Sweep(folder / "results" / "adhoc", folder / "home", "\n".join(said), list(server.asked))


def _of_loggers() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("WANDB_", "TRACKIO_"))}


@pytest.fixture(scope="module")
def runs(sweep: Sweep) -> dict[str, Run]:
    found = read_runs(sweep.folder) | read_runs(sweep.folder.parent / "bad")
    return {run_id: run for run_id, run in found.items() if not run_id.startswith("report")}


def test_one_run_a_cell_with_the_id_of_its_record(sweep: Sweep, runs: dict[str, Run]) -> None:
    assert runs.keys() == sweep.records().keys()
    for run_id, record in sweep.records().items():
        run = runs[run_id].run
        assert run["run_group"] == record["experiment"]
        assert run["job_type"] == "train"
        assert set(run["tags"]) == set(record["labels"].values())
        assert run["git"]["commit"] == record["provenance"]["revision"]


def test_configuration_history_and_summary_are_the_records(sweep: Sweep, runs: dict[str, Run]) -> None:
    for run_id, record in sweep.records().items():
        run = runs[run_id]
        assert run.config == {**record["config"], "labels": record["labels"]}
        rows = [{k: v for k, v in row.items() if not k.startswith("_")} for row in run.history]
        assert rows == [{k: v for k, v in row.items() if v is not None} for row in record["history"]]
        figures = {k: v for k, v in record["metrics"].items() if isinstance(v, int | float)}
        figures |= {k: v for k, v in record["cost"].items() if isinstance(v, int | float)}
        assert {k: run.summary[k] for k in figures} == figures
        assert run.summary["status"] == record["status"]
        assert run.summary["reason"] == record["reason"]


def test_curves_are_drawn_over_the_epoch(runs: dict[str, Run]) -> None:
    for run in runs.values():
        metrics = [one["metric"] for one in run.records if one["type"] == "metric"]
        assert {one.get("glob_name"): one.get("step_metric") for one in metrics}["*"] == "epoch"


def test_audit_and_confusions_are_tables(sweep: Sweep, runs: dict[str, Run]) -> None:
    import numpy as np

    for run_id, record in sweep.records().items():
        if record["status"] != "ok":
            continue
        columns, data = runs[run_id].table("audit")
        assert [row[columns.index("name")] for row in data] == [site["name"] for site in record["audit"]["sites"]]
        columns, data = runs[run_id].table("confusion")
        assert columns == ["actual", "predicted", "images"]
        right = sum(count for actual, predicted, count in data if actual == predicted)
        outcomes = np.load(sweep.folder / "records" / run_id / "outcomes.npz")
        assert sum(count for *_, count in data) == len(outcomes["target"])
        assert right / len(outcomes["target"]) == record["metrics"]["test_accuracy"]


def test_each_run_is_closed_with_the_status_of_its_cell(sweep: Sweep, runs: dict[str, Run]) -> None:
    found = {sweep.records()[run_id]["labels"]["variant"]: run for run_id, run in runs.items()}
    assert {name: run.exits for name, run in found.items()} == {"max": [0], "avg": [0], "Fails": [1], "Exits": [3]}
    assert {name: run.whole["state"] for name, run in found.items()} == {
        **{"max": "finished", "avg": "finished"},
        **{"Fails": "failed", "Exits": "failed"},
    }


def test_the_report_is_a_run_of_the_group_and_its_columns_are_at_the_cells(sweep: Sweep, runs: dict[str, Run]) -> None:
    import pandas as pd

    report = read_runs(sweep.folder, "*-report-adhoc")["report-adhoc"]
    assert report.run["job_type"] == "report"
    assert report.run["run_group"] == "adhoc"
    table = pd.read_csv(sweep.folder / "accuracy.csv")
    columns, data = report.table("verdicts")
    assert [row[columns.index("variant")] for row in data] == list(table["variant"])
    assert [row[columns.index("verdict")] for row in data] == list(table["verdict"])
    shown = [row[columns.index("difference_mean")] for row in data]
    assert [value is None for value in shown] == list(table["difference_mean"].isna())
    for value, written in zip(shown, table["difference_mean"], strict=True):
        assert value is None or value == pytest.approx(written, rel=1e-9)
    assert {"figures/accuracy", "report", "tables/parameters"} <= report.summary.keys()
    assert (report.folder / "files" / report.summary["report"]["path"]).read_bytes() == (
        sweep.folder / "report.html"
    ).read_bytes()
    verdicts = dict(zip(table["arm_id"], table["verdict"], strict=True))
    for run_id, run in runs.items():
        if sweep.records()[run_id]["experiment"] == "adhoc":
            assert run.summary["verdict"] == verdicts[sweep.records()[run_id]["arm_id"]]


def test_nothing_is_asked_of_a_network_and_nothing_written_elsewhere(sweep: Sweep) -> None:
    assert sweep.asked == []
    caches = {path.name for path in sweep.home.rglob("*") if path.is_file()}
    assert not [name for name in caches if "wandb" in name.lower()]
    assert not [path for path in sweep.home.rglob("*") if "wandb" in path.name.lower()]
    beside = {path.name for path in sweep.folder.parents[1].iterdir()} - {"__pycache__"}
    assert beside == {"home", "results", "bad_of_wandb.py"}


@pytest.mark.slow
def test_where_the_runs_are_is_said_once_with_a_command_that_works_also_for_a_copy(
    sweep: Sweep, runs: dict[str, Run], tmp_path: Path
) -> None:
    lines = [line for line in sweep.said.splitlines() if "kept offline" in line]
    assert len(lines) == 2  # once for each command
    assert "no API key" in lines[0]
    command = re.search(r"later: make (.*) \(or, without make: (wandb sync .*)\)", lines[0])
    assert command
    assert shlex.split(command[1]) == ["wandb-sync", f"RESULTS={sweep.folder}"]
    copy = tmp_path / "copied"
    shutil.copytree(sweep.folder, copy)
    given = [shlex.split(command[2]), ["wandb", "sync", "--yes", str(copy / "wandb")]]
    for words in given:
        done = subprocess.run(
            [sys.executable, "-m", *words, "--dry-run"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"HOME": str(tmp_path), "WANDB_DIR": str(tmp_path)},
        )
        listed = set(re.findall(r"run-([^/\s]+)\.wandb", done.stdout + done.stderr))
        assert listed == {*(run_id for run_id, run in runs.items() if run.run["run_group"] == "adhoc"), "report-adhoc"}
    # What is sent is all inside: no record names a place elsewhere.
    for path in copy.glob("wandb/offline-run-*/*.wandb"):
        assert str(sweep.folder).encode() not in path.read_bytes()


def test_all_runs_below_a_folder_are_sent_by_one_command(sweep: Sweep, runs: dict[str, Run]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "poolbench", "wandb-sync", str(sweep.folder.parent), "--dry-run"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(sweep.home)},
    )
    listed = set(re.findall(r"run-([^/\s]+)\.wandb", done.stdout + done.stderr))
    assert listed == {*runs, "report-adhoc", "report-bad"}


@pytest.mark.slow
def test_a_copied_folder_is_sent_whole(sweep: Sweep, runs: dict[str, Run], tmp_path: Path) -> None:
    """The place where the runs were made is gone: each table, picture and page arrives all the same."""
    copy, away = tmp_path / "copied", sweep.folder.with_name("away")
    shutil.copytree(sweep.folder, copy)
    sweep.folder.rename(away)
    try:
        with serving("right") as server:
            environment = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "HOME": str(tmp_path)}
            done = subprocess.run(
                [sys.executable, "-m", "poolbench", "wandb-sync", str(copy)],
                capture_output=True,
                text=True,
                check=False,
                env=os.environ | environment,
            )
    finally:
        away.rename(sweep.folder)
    assert done.returncode == 0, done.stderr
    mine = {run_id: run for run_id, run in runs.items() if run.run["run_group"] == "adhoc"}
    assert server.runs.keys() == {*mine, "report-adhoc"}
    for folder in copy.glob("wandb/offline-run-*"):
        (log,) = folder.glob("run-*.wandb")
        sent = server.files[log.stem.removeprefix("run-")]
        media = [path for path in folder.rglob("files/media/**/*") if path.is_file()]
        assert media
        for path in media:
            assert sent[path.relative_to(folder / "files").as_posix()] == path.read_bytes()
    for run_id, run in mine.items():
        rows = [server.history[run_id][number] for number in sorted(server.history[run_id])]
        assert [row["val_accuracy"] for row in rows] == [row["val_accuracy"] for row in run.history]
        assert server.runs[run_id]["groupName"] == "adhoc"
        assert server.runs[run_id]["jobType"] == "train"
