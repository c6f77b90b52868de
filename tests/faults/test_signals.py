"""Signals to a sweep and to its workers: cells are interrupted in order, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cells import SHORT
from faults.crowd import Crowd, asked, planned, records

from poolbench.record import RECORD_FILE
from poolbench.sweep.claims import Claims
from poolbench.sweep.plan import PlanFolder
from poolbench.sweep.processes import Job, Nursery

LONG = {"epochs": 400, "images": 600}


def until(found: Callable[[], object], limit_s: float = 240) -> None:
    end = time.monotonic() + limit_s
    while not found():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@contextmanager
def begun(folder: Path, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A command with two workers at cells that have begun."""
    command = [
        *(sys.executable, "-m", "poolbench", "train", *SHORT, "seed=0,1", "protocol.epochs=400"),
        *("protocol.checkpoint_every_s=0", "launcher=processes", "launcher.workers=2"),
    ]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, **options) as process:
        until(lambda: len(list(folder.glob("results/adhoc/records/*/checkpoint*.pt"))) >= 2)
        yield process


def children(pid: int) -> list[tuple[int, str]]:
    """Return the processes that a process has started, and their command lines."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [(int(one), Path(f"/proc/{one}/cmdline").read_text()) for one in found]


@pytest.mark.slow
def test_a_worker_that_is_asked_to_end_keeps_its_checkpoint_and_another_goes_on(
    tmp_path: Path, nursery: Nursery
) -> None:
    plan, sweep = planned(tmp_path, [asked("avg", **LONG)])
    worker = nursery.start(Job(plan.folder, sweep.id, {}))
    until(lambda: list(plan.folder.glob("records/*/checkpoint*.pt")))
    os.kill(worker.pid or 0, signal.SIGTERM)
    worker.join()
    assert worker.exitcode == 128 + signal.SIGTERM
    (record,) = records(plan).values()
    assert (record["status"], record["reason"]) == ("interrupted", "ended by SIGTERM")
    assert record["history"], "the epochs that it had"
    assert list(plan.folder.glob("records/*/checkpoint*.pt"))
    assert Claims(plan.claims).all() == {}
    again = nursery.start(Job(plan.folder, sweep.id, {}))
    until(lambda: any(held.epoch for held in Claims(plan.claims).all().values()))
    again.kill()
    again.join()


@pytest.mark.slow
def test_a_stopped_worker_writes_nothing_when_it_wakes(
    tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, sweep = planned(tmp_path, [asked("avg", epochs=40, images=600)])
    first = nursery.start(Job(plan.folder, sweep.id, {}))
    until(lambda: list(plan.folder.glob("records/*/checkpoint*.pt")))
    os.kill(first.pid or 0, signal.SIGSTOP)
    # Another that waits no two minutes takes the cell over, and has done nothing yet when the first one wakes.
    (run_id,) = sweep.run_ids
    hasty = Claims(plan.claims, patience_s=1)
    taken = []
    until(lambda: taken.append(hasty.take(run_id)) or taken[-1])
    before = {path: path.stat().st_mtime_ns for path in plan.folder.rglob("records/**/*") if path.is_file()}
    os.kill(first.pid or 0, signal.SIGCONT)
    # It finds another cell's holder at its cell, waits for it, and is ended.
    until(lambda: first.is_alive() and time.sleep(12) is None)
    assert {path: path.stat().st_mtime_ns for path in plan.folder.rglob("records/**/*") if path.is_file()} == before
    assert not (plan.folder / "records" / run_id / RECORD_FILE).exists()
    taken[-1].release()
    until(lambda: records(plan))
    first.join()
    (record,) = records(plan).values()
    assert record["status"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_the_command_ends_its_workers_in_order(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "results" / "adhoc"
    with begun(tmp_path) as process:
        process.send_signal(getattr(signal, name))
        told = process.communicate(timeout=240)[1]
    assert process.returncode == 128 + getattr(signal, name)
    assert f"ended by {name}" in told
    plan = PlanFolder(folder)
    assert {record["status"] for record in records(plan).values()} == {"interrupted"}
    assert Claims(plan.claims).all() == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_all_at_once_as_a_terminals_is_no_other(tmp_path: Path, name: str) -> None:
    """Ctrl-C reaches the command and its workers; these write their records before the command ends."""
    with begun(tmp_path, start_new_session=True) as process:
        os.killpg(process.pid, getattr(signal, name))
        told = process.communicate(timeout=240)[1]
        statuses = {record["status"] for record in records(PlanFolder(tmp_path / "results" / "adhoc")).values()}
    assert process.returncode == 128 + getattr(signal, name)
    assert f"ended by {name}" in told
    assert "Traceback" not in told
    assert statuses == {"interrupted"}
    assert Claims(PlanFolder(tmp_path / "results" / "adhoc").claims).all() == {}


@pytest.mark.slow
@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_a_second_signal_ends_the_command_at_once_and_its_workers_in_order(tmp_path: Path, second: str) -> None:
    plan = PlanFolder(tmp_path / "results" / "adhoc")
    with begun(tmp_path) as process:
        (worker,) = [one for one in children(process.pid) if "forkserver" in one[1]]
        workers = [pid for pid, _ in children(worker[0])]
        assert len(workers) == 2
        # Workers that do not answer.
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None, "it waits for its workers"
        process.send_signal(getattr(signal, second))
        assert process.wait(timeout=10) == -getattr(signal, second)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    until(lambda: len(records(plan)) == 2)
    until(lambda: not Claims(plan.claims).all())
    assert {record["status"] for record in records(plan).values()} == {"interrupted"}


@pytest.mark.slow
def test_a_worker_whose_reader_has_gone_trains_on(tmp_path: Path) -> None:
    """As `poolbench train … 2>&1 | head -1`: what a worker says goes nowhere then, and its cell is trained."""
    command = [
        *(sys.executable, "-m", "poolbench", "train", *SHORT, "pooling.downsample._target_=faults.bad_pools.Talks"),
        *("seed=0,1", "launcher=processes", "launcher.workers=2"),
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        assert process.wait(timeout=240) == 0
    found = records(PlanFolder(tmp_path / "results" / "adhoc"))
    assert [record["status"] for record in found.values()] == ["ok", "ok"]


@pytest.mark.slow
def test_workers_end_in_order_when_the_command_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "adhoc"
    with begun(tmp_path) as process:
        process.kill()
    plan = PlanFolder(folder)
    until(lambda: len(records(plan)) == 2)
    until(lambda: not Claims(plan.claims).all())
    assert {record["status"] for record in records(plan).values()} == {"interrupted"}


@pytest.mark.slow
def test_a_worker_that_dies_takes_no_other_along(tmp_path: Path, nursery: Nursery) -> None:
    plan, sweep = planned(tmp_path, [asked("avg", seed, epochs=6) for seed in range(3)])
    with Crowd(plan, sweep, 2, nursery) as crowd:
        crowd.kill_some(1, every_s=0.2)
        assert crowd.kills == 1, "the cells were done before one was killed"
        crowd.require_done_once()
    found = records(plan).values()
    assert {record["status"] for record in found} == {"ok"}
    assert any(record["provenance"].get("attempts") for record in found), "no kill hit a cell"
