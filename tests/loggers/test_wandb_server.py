"""A server that is away, late or wrong, and what users set: a sweep takes one look, says it once, keeps everything."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cells import SHORT
from loggers.conftest import Run, Wait, read_runs
from loggers.server import serving

from poolbench.cli import main
from poolbench.loggers import Mirrors, Session, decided
from poolbench.loggers.mirrors import LIMIT_S
from poolbench.loggers.wandb_place import END_S, LOOK_S

KEY = "0123456789abcdef0123456789abcdef01234567"
SPEC = {"_target_": "poolbench.loggers.wandb_run.WandbRun", "project": "p"}
RECORD = {
    **{"status": "ok", "reason": "", "run_id": "run-1", "metrics": {"test_accuracy": 0.5}, "history": []},
    "provenance": {"revision": "0" * 40},
}


def cell(session: Session, folder: Path, run_id: str = "run-1", epochs: int = 3, **spec: Any) -> None:
    mirrors = Mirrors(
        {"wandb": SPEC | spec}, folder=folder / "records" / run_id, run_id=run_id, experiment="e", session=session
    )
    mirrors.config({"seed": 0}, revision="0" * 40)
    for epoch in range(epochs):
        mirrors.row({"train_loss": 1.0 / (epoch + 1)}, step=epoch)
    mirrors.final(RECORD | {"run_id": run_id})
    mirrors.close()


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("dead", ""),
        pytest.param("viewer alone", "", marks=pytest.mark.slow),
        pytest.param("slow", "", marks=pytest.mark.slow),
        pytest.param("500", "", marks=pytest.mark.slow),
        pytest.param("401", "no", marks=pytest.mark.slow),
        ("html", "invalid character"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_server_that_does_not_serve_is_looked_at_once_and_all_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[Wait], answer: str, reason: str
) -> None:
    said: list[str] = []
    with serving(answer) as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        mode = decided({"wandb": SPEC}, tmp_path, said.append)
        # One look, and the end of W&B's client where it was begun.
        assert 1 <= len(waits) <= 2
        assert sum(one.limit_s for one in waits) <= LOOK_S + END_S
        waits.clear()
        # One that answers the look and then takes no run is found out by the first cell, as quickly.
        assert mode == {"wandb": "online" if answer == "viewer alone" else "offline"}
        asked = len(server.asked)
        with Session(tmp_path, mode, said.append) as session:
            for number in range(2):
                cell(session, tmp_path, f"run-{number}")
            assert len(waits) == 2
            assert max(one.limit_s for one in waits) <= LIMIT_S
            assert all(one.ended for one in waits)
        assert answer == "viewer alone" or len(server.asked) == asked
    assert len(said) == 1, said
    assert said[0].startswith("W&B: runs are kept offline (")
    assert reason in said[0]
    assert KEY not in said[0]
    runs = read_runs(tmp_path)
    assert {run_id: len(run.history) for run_id, run in runs.items()} == {"run-0": 3, "run-1": 3}


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_with_a_server_runs_are_sent_and_kept_offline_from_where_it_went_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[Wait]
) -> None:
    said: list[str] = []
    with serving("right") as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        with Session(tmp_path, say=said.append) as session:
            cell(session, tmp_path, "run-0", epochs=2)
            cell(session, tmp_path, "run-0", epochs=3)  # run again: written over, from the first line
            assert session.decided == {"wandb": "online"}
            rows = server.history["run-0"]
            assert [rows[number]["epoch"] for number in sorted(rows)] == [0, 1, 2]
            assert server.runs.keys() == {"run-0"}
            assert server.runs["run-0"]["commit"] == "0" * 40
            assert said == []
            server.answer = "500"
            waits.clear()
            cell(session, tmp_path, "run-1")
            (wait,) = waits
            assert wait.ended
            assert wait.limit_s <= LIMIT_S
    assert len(said) == 1
    assert "kept offline" in said[0]
    (run,) = read_runs(tmp_path).values()
    assert (run.run["run_id"], len(run.history)) == ("run-1", 3)


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_server_that_goes_away_under_a_run_costs_a_bounded_time_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[Wait]
) -> None:
    said: list[str] = []
    with serving("right") as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        with Session(tmp_path, {"wandb": "online"}, said.append) as session:
            mirrors = Mirrors({"wandb": SPEC}, folder=tmp_path, run_id="run-0", experiment="e", session=session)
            mirrors.config({"seed": 0})
            end = time.monotonic() + 30
            while "run-0" not in server.runs and time.monotonic() < end:
                time.sleep(0.05)
            server.answer = "500"
            for epoch in range(3):
                mirrors.row({"train_loss": 1.0}, step=epoch)
            mirrors.final(RECORD | {"run_id": "run-0"})
            waits.clear()
            mirrors.close()
            (wait,) = waits
            assert wait.ended
            assert wait.limit_s <= LIMIT_S
            cell(session, tmp_path, "run-1")
            assert not session.hung
    assert len(said) == 1, said
    assert "kept offline" in said[0]
    assert read_runs(tmp_path).keys() == {"run-1"}
    # What was begun with the server is on disk, and sent by the same command.
    (folder,) = (tmp_path / "wandb").glob("run-*-run-0")
    assert [row["epoch"] for row in Run(folder).history] == [0, 1, 2]
    assert "--include-online" in said[0]


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_sweep_with_a_dead_server_looks_once_for_all_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("500") as server:
        environment = os.environ | {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.url}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "poolbench", "train", *SHORT, "logger=wandb", "seed=0,1"),
                *("launcher=processes", "launcher.workers=2"),
            ],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        asked = len(server.asked)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("kept offline") == 1
    assert asked <= 4  # the look, and what W&B's client repeats of it
    runs = read_runs(tmp_path / "results" / "adhoc")
    assert len([run_id for run_id in runs if not run_id.startswith("report")]) == 2


@pytest.mark.parametrize(
    ("key", "entity", "reason"),
    [("abc", None, "API key must have 40"), (KEY, "nobody", "unknown entity 'nobody'; the key belongs to me, team")],
)
@pytest.mark.usefixtures("offline")
def test_a_malformed_key_and_an_unknown_entity_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, entity: str | None, reason: str
) -> None:
    said: list[str] = []
    with serving("viewer alone") as server:
        monkeypatch.setenv("WANDB_API_KEY", key)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert decided({"wandb": SPEC | {"entity": entity}}, tmp_path, said.append) == {"wandb": "offline"}
    assert reason in said[0]


@pytest.mark.usefixtures("offline")
def test_what_the_user_set_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("WANDB_MODE", "offline")
    said: list[str] = []
    with Session(tmp_path / "e", say=said.append) as session:
        cell(session, tmp_path / "e")
    assert "as WANDB_MODE asks" in said[0]
    assert read_runs(tmp_path / "mine").keys() == {"run-1"}
    assert not list(tmp_path.glob("e/wandb/*run-*"))
    assert os.environ["WANDB_DIR"] == str(tmp_path / "mine")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with Session(tmp_path / "off", say=said.append) as session:
        cell(session, tmp_path / "off")
    assert len(said) == 1
    assert not list(tmp_path.glob("off/wandb/*run-*"))


@pytest.mark.usefixtures("offline")
def test_a_place_that_cannot_be_written_is_said_and_nothing_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "file"))
    said: list[str] = []
    with Session(tmp_path / "e", say=said.append) as session:
        for number in range(2):
            cell(session, tmp_path / "e", f"run-{number}")
    assert len(said) == 1
    assert "logger wandb dropped, the record is not affected" in said[0]
    assert str(tmp_path / "file") in said[0]


@pytest.mark.usefixtures("offline")
def test_a_cell_that_is_run_again_is_one_run_with_each_epoch_once(tmp_path: Path) -> None:
    with Session(tmp_path, {"wandb": "offline"}) as session:
        interrupted = Mirrors({"wandb": SPEC}, folder=tmp_path, run_id="run-1", experiment="e", session=session)
        interrupted.config({"seed": 0})
        for epoch in range(2):
            interrupted.row({"train_loss": 1.0}, step=epoch)
        interrupted.final(RECORD | {"status": "interrupted", "reason": "ended by SIGTERM"})
        interrupted.close(exit_code=143)
        (run,) = read_runs(tmp_path).values()
        assert (run.exits, run.whole["state"]) == ([143], "failed")
        cell(session, tmp_path, epochs=4)
    (run,) = read_runs(tmp_path).values()
    assert [row["epoch"] for row in run.history] == [0, 1, 2, 3]
    assert run.exits == [0]


def _held() -> tuple[int, int, int]:
    """Return this process's memory in bytes, its open files, its threads."""
    own = Path("/proc/self")
    pages = int((own / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(list((own / "fd").iterdir())), len(list((own / "task").iterdir()))


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="what a process holds is read from Linux's /proc")
def test_a_hundred_cells_are_a_hundred_closed_runs_and_nothing_is_left_open(tmp_path: Path) -> None:
    usage: list[tuple[int, int, int]] = []
    with Session(tmp_path, {"wandb": "offline"}) as session:
        for number in range(100):
            cell(session, tmp_path, f"run-{number:03d}", epochs=2)
            usage.append(_held())
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len({folder.name.partition("-run-")[2] for folder in folders}) == 100
    runs = [read_runs(tmp_path, f"*run-{number:03d}") for number in (0, 50, 99)]
    assert [run.exits for one in runs for run in one.values()] == [[0], [0], [0]]
    settled, last = usage[20], usage[-1]
    assert last[0] - settled[0] < 20 * 2**20
    assert last[1] <= settled[1] + 2
    assert last[2] <= settled[2] + 2


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "override",
    [
        *(
            "+logger.wandb.api_key=abcdef123",
            "+logger.wandb.key=abcdef123",
            "+logger.wandb.settings=[{api_key:abcdef123}]",
        ),
        *(f"+logger.wandb.notes={KEY}", "+logger.wandb.notes=wandb_v1_abcdefghijklmnopqrstuvwxyz"),
        *("+backbone.api_key=abcdef123", "+protocol.optimizer.password=abcdef123"),
    ],
)
def test_a_key_in_the_configuration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], override: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SHORT, "logger=wandb", override]) == 2
    told = capsys.readouterr().err
    assert "would stand in the plan and in every record" in told
    assert "abcdef123" not in told
    assert KEY not in told
    assert not list(tmp_path.iterdir())
