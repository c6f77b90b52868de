"""`launcher=local`: one worker, in this process."""

from collections.abc import Mapping
from multiprocessing.process import BaseProcess

from poolbench.arms import Arms
from poolbench.cell import Cell
from poolbench.errors import ConfigurationError
from poolbench.paths import PACKAGE
from poolbench.source import training_code
from poolbench.sweep.claims import Claims
from poolbench.sweep.heart import Heart
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.progress import SweepProgress
from poolbench.sweep.worker import Display, Worker


def run_here(plan: PlanFolder, sweep: PlannedSweep, cells: Mapping[str, Cell], progress: SweepProgress) -> int:
    """Work at the sweep until no cell is left, and return how many were trained here; `cells` are made already.

    Raises:
        Stopped, KeyboardInterrupt: asked to end.
    """
    with Heart(lambda: plan.stopped(sweep), threads=sweep.threads) as heart, progress:
        worker = Worker(plan, sweep, Claims(plan.claims), heart, progress, arms=Arms(plan.arms), cells=cells)
        worker.run()
    return worker.trained


def work(
    plan: PlanFolder, sweep: PlannedSweep, display: Display, *, waits: bool, parent: BaseProcess | None = None
) -> Worker:
    """Work at a plan that another process has written, and return the worker.

    Args:
        plan: the plan's files.
        sweep: whose cells.
        display: receives what happens.
        waits: whether to stay while others are at the last cells.
        parent: the process that asked for this one, whose end ends this one in order; None: it stands alone.

    Raises:
        ConfigurationError: the code here is not what the cells were planned with.
        Stopped, KeyboardInterrupt: asked to end.
    """
    _require_same_code(plan, sweep)

    def asked_to_stop() -> str:
        if parent is not None and not parent.is_alive():
            return "the process that started this worker has ended"
        return plan.stopped(sweep)

    with Heart(asked_to_stop, threads=sweep.threads) as heart:
        worker = Worker(plan, sweep, Claims(plan.claims), heart, display, arms=Arms(plan.arms), waits=waits)
        worker.run()
    return worker


def _require_same_code(plan: PlanFolder, sweep: PlannedSweep) -> None:
    here = training_code(PACKAGE)
    names = sorted({*here, *sweep.code})
    other = [f"{name} is {here.get(name)} here, {sweep.code.get(name)} in the plan" for name in names]
    different = [text for name, text in zip(names, other, strict=True) if here.get(name) != sweep.code.get(name)]
    if sweep.code and different:
        raise ConfigurationError(
            f"{plan.folder} was planned with other code: {'; '.join(different)}; give the command that planned it "
            "here, or work where it is the same"
        )
