"""Mirrors of a cell in Lightning's loggers: what they hold, and that one that breaks or hangs costs nothing else."""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from loggers.conftest import Wait
from tensorboardX.proto.event_pb2 import Event

from poolbench.errors import ConfigurationError
from poolbench.loggers import Mirrors, Session

CSV = {"_target_": "lightning.pytorch.loggers.CSVLogger", "name": "", "version": "csv"}
TENSORBOARD = {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "name": "", "version": "tensorboard"}
ROWS = [{"train_loss": 1.0 / (epoch + 1), "val_accuracy": 0.25 * epoch} for epoch in range(3)]
RECORD = {
    "status": "ok",
    "reason": "",
    "run_id": "run-1",
    "metrics": {"test_accuracy": 0.75, "val_accuracy": 0.5, "selected_epoch": 1},
    "history": [{"epoch": epoch, **row} for epoch, row in enumerate(ROWS)],
}


def show(folder: Path, session: Session | None = None, limit_s: float = 15.0, **specs: Any) -> Mirrors:
    mirrors = Mirrors(
        specs, folder=folder, run_id="run-1", experiment="test", tags=["a"], session=session, limit_s=limit_s
    )
    mirrors.config({"seed": 0, "protocol": {"epochs": 3}})
    for epoch, row in enumerate(ROWS):
        mirrors.row(row, step=epoch)
    mirrors.final(RECORD)
    mirrors.close()
    return mirrors


def test_csv_holds_every_epoch_and_ends_with_a_summary_and_no_further_row(tmp_path: Path) -> None:
    for _ in range(2):  # a cell that is run again takes the place of what was there
        show(tmp_path, csv=CSV)
        rows = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
        assert len(rows) == 4  # names, and one for each epoch
        assert "val_accuracy" in rows[0]
        assert "test_accuracy" not in rows[0]
        told = yaml.safe_load((tmp_path / "csv" / "hparams.yaml").read_text())
        final = {"status": "ok", "test_accuracy": 0.75, "val_accuracy": 0.5, "selected_epoch": 1}
        assert told == {"seed": 0, "protocol": {"epochs": 3}, "final": final}


def test_a_folder_that_is_given_holds_a_folder_for_each_cell(tmp_path: Path) -> None:
    show(tmp_path / "record", csv={**CSV, "save_dir": str(tmp_path / "given")})
    assert len((tmp_path / "given" / "run-1" / "csv" / "metrics.csv").read_text().splitlines()) == 4
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize(
    ("given", "kept"),
    [("s3://bucket/x", "s3://bucket/x/run-1"), ("/own", "/own/run-1"), (None, "beside")],
)
def test_a_folder_that_is_given_may_be_an_address_or_none(tmp_path: Path, given: str | None, kept: str) -> None:
    Recalled.given.clear()
    show(tmp_path / "beside", own={"_target_": f"{__name__}.Recalled", "name": "", "save_dir": given})
    assert Recalled.given == [str(tmp_path / "beside") if kept == "beside" else kept]


class Recalled:
    """A mirror that keeps the folder that it is given."""

    given: ClassVar[list[str]] = []

    def __init__(self, save_dir: str, name: str) -> None:
        assert name == ""
        self.given.append(save_dir)

    def config(self, config: Any, revision: Any) -> None: ...
    def row(self, row: Any, epoch: int) -> None: ...
    def final(self, record: Any, columns: Any) -> None: ...
    def close(self, exit_code: int) -> None: ...


def test_tensorboard_in_a_folder_that_is_given_holds_each_epoch_once(tmp_path: Path) -> None:
    for _ in range(2):
        show(tmp_path / "record", tensorboard={**TENSORBOARD, "save_dir": str(tmp_path / "given")})
    curves = scalars(tmp_path / "given" / "run-1" / "tensorboard")
    assert curves["val_accuracy"] == [(0, 0.0), (1, 0.25), (2, 0.5)]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the curves in a folder of TensorBoard's: steps and values by name."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for path in folder.glob("events*"):
        content, begin = path.read_bytes(), 0
        while begin < len(content):
            # A record: its length, a check of that, the event, a check of that.
            end = begin + 12 + struct.unpack_from("<Q", content, begin)[0]
            event = Event.FromString(content[begin + 12 : end])
            begin = end + 4
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    curves.setdefault(value.tag, []).append((event.step, value.simple_value))
    return curves


def test_tensorboard_holds_each_epoch_once_and_no_figure_that_is_none(tmp_path: Path) -> None:
    for _ in range(2):
        show(tmp_path, tensorboard=TENSORBOARD)
    curves = scalars(tmp_path / "tensorboard")
    assert curves["final/test_accuracy"] == [(1, 0.75)]
    assert curves["val_accuracy"] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    finals = {f"final/{name}" for name in ("test_accuracy", "val_accuracy", "selected_epoch")}
    assert set(curves) == finals | {"train_loss", "val_accuracy"}


class Broken:
    """A logger that fails in what it is told."""

    def __init__(self, where: str) -> None:
        self.where = where

    def config(self, config: Any, revision: Any) -> None:
        self._fail("config")

    def row(self, row: Any, epoch: int) -> None:
        self._fail("row")

    def final(self, record: Any, columns: Any) -> None:
        self._fail("final")

    def close(self, exit_code: int) -> None:
        self._fail("close")

    def _fail(self, where: str) -> None:
        if where == self.where:
            raise SystemExit(3) if where == "final" else OSError("server down")


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Custom loggers on the path, and what lets a hanging one go on."""
    import fractions

    release = threading.Event()

    class Hanging(Broken):
        def _fail(self, where: str) -> None:
            if where == self.where:
                release.wait(30)

    monkeypatch.setattr(fractions, "Broken", Broken, raising=False)
    monkeypatch.setattr(fractions, "Hanging", Hanging, raising=False)
    yield release
    release.set()


@pytest.mark.parametrize("where", ["config", "row", "final", "close"])
@pytest.mark.usefixtures("targets")
def test_a_logger_that_fails_is_dropped_and_the_others_go_on(tmp_path: Path, where: str) -> None:
    said: list[str] = []
    session = Session(tmp_path, say=said.append)
    for _ in range(2):
        show(tmp_path, session, broken={"_target_": "fractions.Broken", "where": where}, csv=CSV)
    assert len(said) == 1, said
    assert said[0].startswith("logger broken dropped, the record is not affected: ")
    assert len((tmp_path / "csv" / "metrics.csv").read_text().splitlines()) == 4


@pytest.mark.quick(1)
@pytest.mark.parametrize("where", ["config", "close"])
@pytest.mark.usefixtures("targets")
def test_a_logger_that_hangs_costs_a_bounded_time_once(tmp_path: Path, where: str, waits: list[Wait]) -> None:
    show(tmp_path, csv=CSV)  # imports what it needs
    waits.clear()
    said: list[str] = []
    session = Session(tmp_path, say=said.append)
    for limit_s in (1.0, 15.0, 15.0):
        show(tmp_path, session, limit_s, hanging={"_target_": "fractions.Hanging", "where": where}, csv=CSV)
    # In vain for the first cell's alone, and both its loggers share the limit; then for CSV.
    (hung,) = (one for one in waits if not one.ended)
    assert hung is waits[0]
    assert len(waits) == 4
    assert waits[1].limit_s <= 0 < hung.limit_s <= 1
    assert said == ["logger hanging did not end within 1 s and is used no more here; the records are not affected"]
    assert session.hung == {"hanging"}
    assert len((tmp_path / "csv" / "metrics.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({**CSV, "verzion": "x"}, "did you mean version"),
        ({"_target_": "lightning.pytorch.loggers.WandbLogger", "log_model": True}, "log_model` does nothing here"),
        ({"_target_": "lightning.pytorch.loggers.WandbLogger"}, "take logger=wandb"),
        ({"_target_": "poolbench.loggers.wandb_run.WandbRun", "projekt": "x"}, "did you mean project"),
        ({"_target_": "poolbench.loggers.wandb_run.WandbRun", "project": "a/b"}, r"project` must be a name .* 'a/b'"),
        ({"_target_": "poolbench.loggers.wandb_run.WandbRun", "project": ""}, "project` must be a name"),
        ({"_target_": "poolbench.loggers.wandb_run.WandbRun", "mode": "of"}, "mode` must be one of online, offline"),
        ({"_target_": "poolbench.loggers.wandb_run.WandbRun", "offline": "yes"}, "offline` must be true or false"),
        ({"_target_": "poolbench.loggers.wandb_run.WandbRun", "tags": "one"}, "tags` must be a list, got 'one'"),
        ({"_target_": "poolbench.loggers.trackio_run.TrackioRun", "projekt": "x"}, "did you mean project"),
    ],
)
def test_a_mistake_in_a_logger_is_told_before_training(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Mirrors.check({"own": spec})
