"""`launcher=slurm`: an array of workers, submitted by submitit; queueing, placement, limits are SLURM's business.

Workers take their cells from the plan, so it matters little which of them run when. What became of a cell is read from
its record, never from SLURM: a job whose cell failed counts as completed there.
"""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolbench.checks import number_above, whole_number
from poolbench.errors import ConfigurationError, Stopped
from poolbench.output import lasting_output
from poolbench.sweep.follow import Follower
from poolbench.sweep.launch import Launch
from poolbench.sweep.plan import PLAN, PlanFolder, PlannedSweep
from poolbench.sweep.process import log

LOOK_S = 2.0
# How often the scheduler is asked whether there are still workers; it is shared with others.
ASK_S = 20.0
ASK_LIMIT_S = 30.0
# Arrays that end one after another without a cell being done in between.
MOST_VAIN = 3
# How long a worker that was asked to end waits for the signal that says that it was preempted.
PREEMPTED_S = 3.0


@dataclass(frozen=True)
class Worker:
    """A task of the array: works at the plan until no cell is left that nobody is at.

    Args:
        folder: the experiment's.
        sweep: the planned sweep's name.
        most_requeues: how often it is queued again where its time ends.
    """

    folder: str
    sweep: str
    most_requeues: int

    def __call__(self) -> dict[str, Any]:
        """Work; the return value is for submitit's files alone."""
        with lasting_output():
            return self._work()

    def _work(self) -> dict[str, Any]:
        from rich.console import Console

        from poolbench.sweep.process import prepare_process
        from poolbench.sweep.progress import SweepProgress
        from poolbench.sweep.signals import end_in_order, status_of

        # In the place of submitit's own, which know nothing of the cell at hand.
        warned = _Warned()
        signal.signal(signal.SIGUSR2, warned)
        signal.signal(signal.SIGTERM, end_in_order)
        plan = PlanFolder(Path(self.folder))
        sweep = plan.sweep(self.sweep)
        console = Console(stderr=True)
        prepare_process(sweep.allocator, sweep.threads, console)
        from poolbench.sweep.local import work

        try:
            work(plan, sweep, SweepProgress(console, len(sweep.run_ids)), waits=False)
        except (Stopped, KeyboardInterrupt) as stop:
            if warned.may_come:
                _requeue(self.most_requeues)
            raise SystemExit(status_of(stop)) from None
        return {"sweep": self.sweep}


class _Warned:
    """SLURM's warning that the time ends or that somebody else needs the place: end in order, and be queued again."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: Any) -> None:
        if not self.came:
            self.came = True
            raise Stopped("SIGUSR2")

    @property
    def may_come(self) -> bool:
        """Wait for it a moment: where a place is taken away, SIGTERM may come before it."""
        try:
            end = time.monotonic() + PREEMPTED_S
            while not self.came and time.monotonic() < end:
                time.sleep(0.1)
        except Stopped:
            pass
        return self.came


def _requeue(most: int) -> None:
    """Queue this very job again, unless that was done as often as it may be."""
    job, restarts = os.environ.get("SLURM_JOB_ID"), int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    if job is None or restarts >= most:
        return
    if _call(["scontrol", "requeue", job]) is None:
        log.warning("job %s could not be queued again: `scontrol requeue` fails or does not answer", job)
    else:
        log.info("job %s is queued again (%d of %d times)", job, restarts + 1, most)


def run_slurm(plan: PlanFolder, sweep: PlannedSweep, launch: Launch, follower: Follower) -> None:
    """Submit the workers and wait until no cell is left; an array that ended before is submitted again.

    Raises:
        Stopped, KeyboardInterrupt: asked to end; the workers are asked, too.
        ConfigurationError: there is no SLURM here, or an option is none of its.
    """
    executor = _executor(plan, launch)
    vain, left = 0, len(follower.left)
    array = ""
    try:
        while follower.left:
            if vain >= MOST_VAIN:
                raise Stopped(
                    f"{vain} arrays of workers ended one after another and no cell was done; see {_logs(plan)}"
                )
            array = _submit(executor, plan, sweep, launch, len(follower.left))
            _wait(array, follower)
            vain, left = (vain + 1, left) if len(follower.left) == left else (0, len(follower.left))
            if reason := plan.stopped(sweep):
                raise Stopped(reason)
    except BaseException as error:
        plan.stop(sweep, getattr(error, "signal_name", "SIGINT"))
        if array:
            _call(["scancel", array])
        raise
    follower.look()


def _executor(plan: PlanFolder, launch: Launch) -> Any:
    if shutil.which("sbatch") is None:
        raise ConfigurationError("launcher=slurm: there is no `sbatch` here; start it on a login node of the cluster")
    try:
        import submitit
    except ImportError as error:
        raise ConfigurationError("launcher=slurm needs submitit: pip install '.[slurm]' in its checkout") from error
    options = dict(launch.options)
    further = options.pop("slurm") or {}
    most = whole_number("launcher.max_num_timeout", options["max_num_timeout"], least=0)
    asked: dict[str, Any] = {
        "job_name": f"poolbench-{plan.folder.name}",
        "time": whole_number("launcher.time_limit_min", options["time_limit_min"]),
        "cpus_per_task": launch.threads,
        "signal_delay_s": whole_number("launcher.warn_s", options["warn_s"]),
        "array_parallelism": launch.workers or 1,
        "partition": options["partition"],
        "account": options["account"],
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, **further},
    }
    if options["mem_gb"] is not None:
        asked["mem"] = f"{int(1024 * number_above('launcher.mem_gb', options['mem_gb']))}MB"
    if whole_number("launcher.gpus_per_task", options["gpus_per_task"], least=0):
        asked["gpus_per_task"] = options["gpus_per_task"]
    executor = submitit.SlurmExecutor(_logs(plan), max_num_timeout=most)
    executor.update_parameters(**{key: value for key, value in asked.items() if value is not None})
    return executor


def _logs(plan: PlanFolder) -> Path:
    return plan.folder.absolute() / PLAN / "slurm"


def _submit(executor: Any, plan: PlanFolder, sweep: PlannedSweep, launch: Launch, cells: int) -> str:
    """Submit an array of workers and return its number."""
    count = min(launch.workers or 1, cells)
    worker = Worker(str(plan.folder.absolute()), sweep.id, executor.max_num_timeout)
    try:
        # One submission: its number is what the whole is asked after and cancelled by.
        with executor.batch():
            jobs = [executor.submit(worker) for _ in range(count)]
    except Exception as error:
        raise ConfigurationError(f"launcher=slurm: the workers could not be submitted: {error}") from error
    array = str(jobs[0].job_id).partition("_")[0]
    log.info("%d workers submitted as job %s, their logs are in %s", count, array, _logs(plan))
    return array


def _wait(array: str, follower: Follower) -> None:
    """Follow the cells until none is left, or no worker is."""
    asked = time.monotonic()
    while follower.left:
        time.sleep(LOOK_S)
        follower.look()
        if time.monotonic() - asked < ASK_S:
            continue
        asked = time.monotonic()
        answer = _call(["squeue", "-h", "-o", "%T", "-j", array])
        # No answer is no news: the controller may be away for a while.
        if answer is not None and not answer.strip():
            follower.look()
            return


def _call(command: list[str]) -> str | None:
    """Return what a command of SLURM's prints; None where it cannot say.

    A job that is long over is an error of `squeue`, and stands for none.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return done.stdout
    return "" if "Invalid job id" in done.stderr else None
