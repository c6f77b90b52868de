"""What is asked of SLURM, and how its answers are taken: commands of its names that write down what they were given."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from poolbench.errors import ConfigurationError, Stopped
from poolbench.sweep import slurm
from poolbench.sweep.launch import Launch
from poolbench.sweep.plan import PlanFolder, PlannedSweep

SWEEP = PlannedSweep(("one", "two", "three"), threads=2, allocator="keep")
OPTIONS = {
    "time_limit_min": 90,
    "mem_gb": 1.5,
    "gpus_per_task": 1,
    "partition": "short",
    "account": None,
    "warn_s": 60,
    "max_num_timeout": 3,
    "cpus_per_task": 2,
    "slurm": {"constraint": "a100"},
}
LAUNCH = Launch("slurm", workers=2, threads=2, processors=8, free=8, asked=True, options=OPTIONS)

Answers = Callable[..., None]


class Cells:
    """Cells that are done by themselves: so many at each look."""

    def __init__(self, *done: int) -> None:
        self.left = list(SWEEP.run_ids)
        self._done = list(done)

    def look(self) -> None:
        del self.left[: self._done.pop(0) if self._done else 0]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Put a command of SLURM's on the path: what it prints, with which status; its arguments go to NAME.log."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def put(name: str, prints: str = "", status: int = 0) -> None:
        path = folder / name
        log = tmp_path / f"{name}.log"
        path.write_text(
            f'#!/bin/sh\necho "$@" >> "{log}"\nprintf "%b" "{prints}"\necho "{prints}" >&2\nexit {status}\n'
        )
        path.chmod(0o755)

    for name in ("srun", "scancel", "squeue"):
        put(name)
    put("sbatch", r"Submitted batch job 41\n")
    return put


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "LOOK_S", 0)
    monkeypatch.setattr(slurm, "ASK_S", 0)
    monkeypatch.setattr(slurm, "PREEMPTED_S", 0.01)


def given(tmp_path: Path, name: str) -> list[str]:
    path = tmp_path / f"{name}.log"
    return path.read_text().splitlines() if path.is_file() else []


def run(tmp_path: Path, cells: Cells, launch: Launch = LAUNCH) -> PlanFolder:
    plan = PlanFolder(tmp_path / "results")
    plan.write(SWEEP, [])
    slurm.run_slurm(plan, SWEEP, launch, cells)  # type: ignore[arg-type]
    return plan


def asked(tmp_path: Path) -> set[str]:
    lines = (tmp_path / "results" / "plan" / "slurm" / "41_submission.sh").read_text().splitlines()
    return {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}


def test_an_array_of_the_workers_with_what_was_asked_for(answers: Answers, tmp_path: Path) -> None:
    run(tmp_path, Cells(3))
    lines = asked(tmp_path)
    assert {"time=90", "mem=1536MB", "cpus-per-task=2", "gpus-per-task=1", "partition=short"} <= lines
    assert {"array=0-1%2", "constraint=a100", "requeue", "signal=USR2@60", "job-name=poolbench-results"} <= lines
    assert not any(line.startswith("account") for line in lines)
    assert len(given(tmp_path, "sbatch")) == 1
    assert not given(tmp_path, "scancel")


def test_no_more_workers_than_cells(answers: Answers, tmp_path: Path) -> None:
    run(tmp_path, Cells(3), replace(LAUNCH, workers=8))
    assert "array=0-2%3" in asked(tmp_path)


def test_an_array_that_ended_with_cells_left_is_submitted_again(answers: Answers, tmp_path: Path) -> None:
    # A look, and another once squeue knows no worker any more.
    run(tmp_path, Cells(1, 0, 1, 0, 1))
    assert len(given(tmp_path, "sbatch")) == 3
    assert given(tmp_path, "squeue")[0].endswith("-j 41")


def test_arrays_in_vain_end_the_sweep(answers: Answers, tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="3 arrays of workers ended one after another and no cell was done"):
        run(tmp_path, Cells())
    assert len(given(tmp_path, "sbatch")) == 3
    assert given(tmp_path, "scancel") == ["41"]


@pytest.mark.parametrize(
    ("prints", "status", "gone"),
    [
        ("", 0, True),
        (r"RUNNING\n", 0, False),
        ("slurm_load_jobs error: Invalid job id specified", 1, True),
        ("slurm_load_jobs error: Unable to contact slurm controller", 1, False),
    ],
)
def test_no_answer_is_no_news(answers: Answers, tmp_path: Path, prints: str, status: int, gone: bool) -> None:
    answers("squeue", prints, status)
    run(tmp_path, Cells(0, 0, 3))
    # Where the workers are gone, further arrays take their place.
    assert (len(given(tmp_path, "sbatch")) > 1) == gone


def test_an_interrupted_sweep_cancels_its_workers(answers: Answers, tmp_path: Path) -> None:
    class Interrupted(Cells):
        def look(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupted())
    assert given(tmp_path, "scancel") == ["41"]
    assert PlanFolder(tmp_path / "results").stopped(SWEEP)


def test_what_sbatch_refuses_is_said(answers: Answers, tmp_path: Path) -> None:
    answers("sbatch", "sbatch: error: invalid partition specified: short", 1)
    with pytest.raises(ConfigurationError, match=r"could not be submitted: .*invalid partition specified: short"):
        run(tmp_path, Cells())
    assert not given(tmp_path, "scancel")


def test_where_there_is_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="there is no `sbatch` here; start it on a login node"):
        run(tmp_path, Cells())


@pytest.mark.parametrize(
    ("option", "value"),
    [("time_limit_min", 0), ("mem_gb", 0), ("gpus_per_task", -1), ("max_num_timeout", 1.5), ("warn_s", None)],
)
def test_an_option_that_cannot_be(answers: Answers, tmp_path: Path, option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"`launcher.{option}` must be a"):
        run(tmp_path, Cells(), replace(LAUNCH, options={**OPTIONS, option: value}))
    assert not given(tmp_path, "sbatch")


@pytest.mark.parametrize(
    ("job", "restarts", "queued"), [("7", "", True), ("7", "2", True), ("7", "3", False), (None, "", False)]
)
def test_a_worker_whose_time_ends_is_queued_again_so_often(
    answers: Answers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    job: str | None,
    restarts: str,
    queued: bool,
) -> None:
    answers("scontrol")
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if job is not None:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    slurm._requeue(3)
    assert given(tmp_path, "scontrol") == (["requeue 7"] if queued else [])


@pytest.mark.parametrize(("threads", "cpus", "each"), [(None, 4, 4), (3, 1, 3), (4, 4, 4), (1, 8, None), (8, 4, None)])
def test_a_task_gets_a_processor_for_each_thread(threads: int | None, cpus: int, each: int | None) -> None:
    settings = SimpleNamespace(launcher={"name": "slurm", "cpus_per_task": cpus}, threads=threads)
    if each is not None:
        assert Launch.of(settings).threads == each  # type: ignore[arg-type]
        return
    with pytest.raises(ConfigurationError, match=rf"`launcher.cpus_per_task={cpus}` and `threads={threads}`"):
        Launch.of(settings)  # type: ignore[arg-type]
