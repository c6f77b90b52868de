"""A real SLURM: an array of workers, one preempted, one killed, a cell that raises, the controller restarted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cells import SHORT
from faults.crowd import records

from poolbench.record import read_record
from poolbench.sweep.claims import Claims, Held
from poolbench.sweep.plan import PlanFolder


def answers() -> bool:
    """Whether there is a SLURM here, with a node that takes jobs."""
    if shutil.which("sinfo") is None:
        return False
    try:
        done = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return False
    return any(state.startswith(("idle", "mix", "alloc")) for state in done.stdout.split())


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not answers(), reason="no SLURM here: `sinfo` shows no node that takes jobs"),
]


def until(found: Callable[[], object], limit_s: float = 600, sweep: subprocess.Popen[str] | None = None) -> None:
    """Wait for something, in vain once the sweep has ended."""
    end = time.monotonic() + limit_s
    while not found():
        assert time.monotonic() < end, "it took too long"
        assert sweep is None or sweep.poll() is None, "the sweep had ended"
        time.sleep(0.1)


def at_work(plan: PlanFolder) -> list[tuple[str, Held]]:
    return [(run_id, held) for run_id, held in Claims(plan.claims).all().items() if not held.end and held.process.job]


def restart_controller() -> bool:
    """End SLURM's controller and start it again, where it is ours to restart."""
    shown = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("SlurmctldPidFile")]
    pid_file = Path(line.partition("=")[2].strip())
    if not pid_file.is_file() or pid_file.stat().st_uid != os.getuid():
        return False
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{pid}").exists(), 60)
    time.sleep(5)
    subprocess.run(["slurmctld"], check=True, timeout=60)
    until(lambda: "UP" in subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False).stdout)
    return True


def test_twelve_cells_by_an_array_of_three_workers(tmp_path: Path) -> None:
    pools = "pooling.downsample._target_=torch.nn.MaxPool2d,torch.nn.AvgPool2d,faults.bad_pools.Raises"
    command = [
        *(sys.executable, "-m", "poolbench", "train", *SHORT, pools, "seed=0,1,2,3", "pooling=avg"),
        *("protocol.epochs=60", "protocol.checkpoint_every_s=0", "protocol.attempts=20"),
        *("launcher=slurm", "launcher.workers=3", "launcher.time_limit_min=30", "launcher.mem_gb=1.5"),
    ]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    plan = PlanFolder(tmp_path / "results" / "adhoc")
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            until(lambda: len(at_work(plan)) >= 2 and list(plan.folder.glob("records/*/checkpoint*.pt")), sweep=process)
            preempted = at_work(plan)[0][1].process
            subprocess.run(["scancel", "--signal=USR2", preempted.job], check=True)
            until(lambda: all(held.process.pid != preempted.pid for _, held in at_work(plan)), sweep=process)
            until(lambda: at_work(plan), sweep=process)
            killed = at_work(plan)[0][1].process
            os.kill(killed.pid, signal.SIGKILL)
            restarted = restart_controller()
            told = process.communicate(timeout=1500)[1]
        finally:
            process.terminate()
    assert process.returncode == 1, told
    found = records(plan)
    assert len(found) == 12
    by_pool: dict[str, list[str]] = {}
    for record in found.values():
        by_pool.setdefault(record["labels"]["variant"], []).append(record["status"])
    assert by_pool == {"MaxPool2d": ["ok"] * 4, "AvgPool2d": ["ok"] * 4, "Raises": ["failed"] * 4}
    assert any(record["provenance"].get("attempts") for record in found.values()), "the worker that was killed"
    assert any(record["provenance"].get("resumed_epochs") for record in found.values()), (
        "a cell that was taken up again"
    )
    assert Claims(plan.claims).all() == {}
    assert "force=" in told, "the command that runs a failed cell again"
    assert restarted or os.getuid() != 0
    for path_of_record in plan.folder.glob("records/*/record.json"):
        assert read_record(path_of_record)["run_id"] == json.loads(path_of_record.read_text())["run_id"]


def test_options_that_are_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "poolbench", "train", *SHORT, "launcher=slurm", "launcher.partition=nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "could not be submitted" in done.stderr
