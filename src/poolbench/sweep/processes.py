"""`launcher=processes`: workers side by side on this machine, each a process of its own; one that dies is replaced."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from poolbench.errors import Stopped
from poolbench.output import lasting_output
from poolbench.sweep.follow import Follower
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.process import log
from poolbench.sweep.signals import end_as_told, held_back, status_of

# What a worker needs and is slow to import: imported once, by a process that workers are forked from.
PRELOADED = ("poolbench.sweep.local", "lightning.pytorch", "torchvision")
LOOK_S = 0.5
# Workers that die one after another without a cell being done in between: the machine, not a cell.
MOST_DEATHS = 20


@dataclass(frozen=True)
class Job:
    """What a worker's process is started with; plain values.

    Args:
        folder: the experiment's.
        sweep: the planned sweep's name.
        environment: set before CUDA is asked for anything: the GPU that it may use.
    """

    folder: Path
    sweep: str
    environment: Mapping[str, str]


class Nursery:
    """The process that workers are forked from, with everything imported; started early, used when there is a plan."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))
        # A process that has seen a GPU cannot be forked: with GPUs every worker imports for itself.
        self._spawning = multiprocessing.get_context("spawn")

    @classmethod
    def warmed(cls) -> "Nursery":
        """Return one that has begun to import, beside what this process does."""
        nursery = cls()
        nursery.begin()
        return nursery

    def begin(self) -> None:
        """Start the process that workers are forked from, where it is not there; a signal to all leaves it alone.

        It alone knows when a worker has ended.
        """
        with held_back():
            forkserver.ensure_running()

    def start(self, job: Job) -> BaseProcess:
        """Start a worker."""
        context: Any = self._spawning if job.environment else self._context
        if context is self._context:
            self.begin()
        process: BaseProcess = context.Process(target=work_as_told, args=(job,), name="poolbench-worker")
        process.start()
        return process


def run_processes(
    plan: PlanFolder,
    sweep: PlannedSweep,
    *,
    count: int,
    gpus: Sequence[str],
    follower: Follower,
    nursery: Nursery,
) -> None:
    """Start the workers and wait until no cell is left; what each cell left is read from the records.

    Args:
        plan: the plan's files.
        sweep: whose cells.
        count: workers.
        gpus: dealt out to them in turn; empty: none.
        follower: tells the display.
        nursery: starts them.

    Raises:
        Stopped, KeyboardInterrupt: asked to end; the workers have ended, their cells interrupted.
    """
    workers: dict[int, BaseProcess] = {}
    deaths = 0

    def start(place: int) -> None:
        environment = {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if gpus else {}
        workers[place] = nursery.start(Job(plan.folder, sweep.id, environment))

    with _ended_in_order(workers):
        for place in range(count):
            start(place)
        while workers:
            wait([worker.sentinel for worker in workers.values()], timeout=LOOK_S)
            before = len(follower.left)
            follower.look()
            deaths = 0 if len(follower.left) < before else deaths
            for place, worker in list(workers.items()):
                if worker.is_alive():
                    continue
                worker.join()
                del workers[place]
                if worker.exitcode and follower.left and not plan.stopped(sweep):
                    deaths += 1
                    log.warning("worker %d %s; it is replaced", place + 1, _ended(worker.exitcode))
                    if deaths > MOST_DEATHS:
                        raise Stopped(f"{deaths} workers ended one after another and no cell was done")
                    start(place)
        follower.look()
    if reason := plan.stopped(sweep):
        raise Stopped(reason)


@contextmanager
def _ended_in_order(workers: Mapping[int, BaseProcess]) -> Iterator[None]:
    """Where the block is ended, ask the workers to end, and wait until they have."""
    try:
        yield
    except BaseException:
        for worker in workers.values():
            if worker.is_alive():
                worker.terminate()
        for worker in workers.values():
            worker.join()
        raise


def _ended(code: int) -> str:
    if code < 0:
        named = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"  # real-time signals
        return f"was ended by {named}"
    return f"ended with status {code}"


def work_as_told(job: Job) -> None:
    """Be a worker; runs in the worker's process, which it ends with its exit status."""
    os.environ.update(job.environment)  # read by CUDA, not by poolbench
    end_as_told()
    with lasting_output():
        _work(job)


def _work(job: Job) -> None:
    from rich.console import Console

    from poolbench.sweep.local import work
    from poolbench.sweep.process import prepare_process
    from poolbench.sweep.progress import Silent

    plan = PlanFolder(job.folder)
    sweep = plan.sweep(job.sweep)
    prepare_process(sweep.allocator, sweep.threads, Console(stderr=True))
    try:
        # Not the parent by the system's count: that is the process which forks workers, and lives as long as they do.
        work(plan, sweep, Silent(), waits=True, parent=multiprocessing.parent_process())
    except (Stopped, KeyboardInterrupt) as stop:
        raise SystemExit(status_of(stop)) from None
