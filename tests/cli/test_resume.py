"""A cell that is interrupted, fails or is killed leaves its history, and goes on where it stood when asked again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cells import SHORT, records

from poolbench.data import Batches
from poolbench.paths import conf_dir
from poolbench.training import Protocol

CELL = ["pooling=stochastic", "dataset.train_images=300", "protocol.epochs=5", "protocol.deterministic=true"]
# What may differ between equal cells.
ASIDE = ("times", "seal")


def content(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a sweep's only record, without what may differ, and the bytes of the files that it names."""
    (record,) = records(folder).values()
    assert record["status"] == "ok", record["reason"]
    run = folder / "records" / record["run_id"]
    assert not list(run.glob("*checkpoint*"))
    own = ("command", "resumed_epochs", "attempts")
    record["provenance"] = {k: v for k, v in record["provenance"].items() if k not in own}
    files = {name: (run / name).read_bytes() for name in record["files"]}
    return {k: v for k, v in record.items() if k not in ASIDE}, files


def resumed(folder: Path) -> list[int]:
    (record,) = records(folder).values()
    return record["provenance"]["resumed_epochs"]


@pytest.fixture
def at_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], Any]], None]:
    """Let something happen where an epoch's batches are drawn."""

    def when(epoch: int, action: Callable[[], Any]) -> None:
        def set_epoch(self: Batches, number: int) -> None:
            self.epoch = number
            if number == epoch:
                action()

        monkeypatch.setattr(Batches, "set_epoch", set_epoch)

    return when


def boom() -> None:
    raise RuntimeError("boom")


def test_a_signal_and_the_same_command_again(train, at_epoch, tmp_path: Path) -> None:
    assert train(*CELL, "results_dir=whole") == 0
    at_epoch(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(*CELL, "results_dir=pieces") == 143
    (record,) = records(tmp_path / "pieces" / "adhoc").values()
    assert record["status"] == "interrupted"
    assert [row["epoch"] for row in record["history"]] == [0, 1]
    assert list((tmp_path / "pieces" / "adhoc" / "records" / record["run_id"]).glob("checkpoint*.pt"))
    at_epoch(-1, boom)
    assert train(*CELL, "results_dir=pieces") == 0
    assert resumed(tmp_path / "pieces" / "adhoc") in ([1], [2])
    assert content(tmp_path / "pieces" / "adhoc") == content(tmp_path / "whole" / "adhoc")


def test_a_failed_cell_keeps_its_history_and_goes_on(train, at_epoch, tmp_path: Path) -> None:
    always = "protocol.checkpoint_every_s=0"
    at_epoch(3, boom)
    assert train(*CELL, always) == 1
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert (record["status"], record["reason"]) == ("failed", "RuntimeError: boom")
    assert [row["epoch"] for row in record["history"]] == [0, 1, 2]
    assert record["audit"]
    assert record["streams"]
    assert record["data"]["train_images"] == 270
    at_epoch(-1, boom)
    assert train(*CELL, always, "force=failed") == 0
    assert resumed(tmp_path / "results" / "adhoc") == [3]


def test_a_finished_record_stands_until_another_takes_its_place(train, at_epoch, tmp_path: Path) -> None:
    cell = [*CELL, "protocol.checkpoint_every_s=0"]
    assert train(*cell) == 0
    (path,) = tmp_path.glob("results/adhoc/records/*/record.json")
    whole = path.read_bytes()
    at_epoch(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(*cell, "force=true") == 143
    assert path.read_bytes() == whole
    at_epoch(-1, boom)
    assert train(*cell, "force=true") == 0
    assert resumed(tmp_path / "results" / "adhoc") == [3]
    assert train(*cell, "force=true") == 0
    assert resumed(tmp_path / "results" / "adhoc") == []


def test_a_limit_of_time_is_a_failure_and_no_other_cell(train, tmp_path: Path) -> None:
    assert train(*CELL, "protocol.time_limit=0.000001") == 1
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert record["status"] == "failed"
    assert "TimeLimitError: training passed `protocol.time_limit` (1e-06 s) in step 1 of" in record["reason"]
    assert train(*CELL, "protocol.time_limit=1000", "force=failed") == 0
    assert set(records(tmp_path / "results" / "adhoc")) == {"stochastic/0"}


def test_divergence_ends_the_epoch_and_keeps_the_history(train, tmp_path: Path) -> None:
    rate = ["protocol=sgd", "protocol.schedule=null", "protocol.optimizer.lr=1e25", "protocol.epochs=3"]
    assert train("dataset.train_images=300", *rate) == 1
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert record["status"] == "diverged"
    assert "in epoch 1, step 2 of 2" in record["reason"]
    assert [row["epoch"] for row in record["history"]] == [0]


@pytest.mark.slow
def test_a_short_cell_writes_no_checkpoint(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolbench.training.checkpoint.Checkpoints.write", lambda *_: boom())
    assert train(*CELL) == 0
    assert resumed(tmp_path / "results" / "adhoc") == []


def test_defaults_are_the_same_in_code_and_configuration() -> None:
    recipe = yaml.safe_load((conf_dir() / "protocol" / "default.yaml").read_text())
    names = ("checkpoint_every_s", "time_limit", "attempts")
    without = {key: value for key, value in recipe.items() if key not in names}
    assert Protocol.of(without) == Protocol.of(recipe)
    for path in (conf_dir() / "protocol").glob("*.yaml"):
        # `sgd` stands by itself, and has them as `default` does.
        assert not set(names) & set(yaml.safe_load(path.read_text())) or path.stem in ("default", "sgd")


def test_protocols_of_committed_records_are_still_read() -> None:
    paths = sorted((conf_dir().parent / "results" / "reference").glob("*/records/*/record.json"))
    assert paths
    for path in paths:
        assert Protocol.of(json.loads(path.read_text())["config"]["protocol"]).time_limit is None


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["stochastic", "lps"])
def test_killed_from_outside_at_its_first_checkpoints(train, tmp_path: Path, pooling: str) -> None:
    cell = [f"pooling={pooling}", "protocol=fast", *CELL[1:], "protocol.epochs=12", "protocol.checkpoint_every_s=0"]
    assert train(*cell, "results_dir=whole") == 0
    command = [sys.executable, "-m", "poolbench", "train", *SHORT, *cell, "results_dir=pieces"]
    for least in (2, 7):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
        until = time.monotonic() + 300
        while not [p for p in tmp_path.glob("pieces/*/records/*/checkpoint-*.pt") if int(p.stem[-6:]) >= least]:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.communicate()
    assert not list(tmp_path.glob("pieces/*/records/*/record.json"))
    assert train(*cell, "results_dir=pieces") == 0
    first, second = resumed(tmp_path / "pieces" / "adhoc")
    assert 2 <= first < second
    (record,) = records(tmp_path / "pieces" / "adhoc").values()
    assert [one["end"] for one in record["provenance"]["attempts"]] == ["its process ended"] * 2
    assert content(tmp_path / "pieces" / "adhoc") == content(tmp_path / "whole" / "adhoc")
