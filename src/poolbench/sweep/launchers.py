"""The launchers: who runs the cells that are to do."""

import os
from collections.abc import Mapping

import torch
from rich.console import Console

from poolbench.sweep.follow import Follower
from poolbench.sweep.launch import Launch
from poolbench.sweep.local import run_here
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.planning import Plan
from poolbench.sweep.processes import Nursery, run_processes
from poolbench.sweep.progress import SweepProgress


def run_planned(
    plan: Plan,
    folder: PlanFolder,
    sweep: PlannedSweep,
    launch: Launch,
    console: Console,
    nursery: Nursery | None = None,
) -> int:
    """Let the launcher run what is to do, wait for it, and return how many cells were trained; the plan is written.

    `nursery` is what was started early for `launcher=processes`.

    Raises:
        Stopped, KeyboardInterrupt: asked to end.
        ConfigurationError: the launcher cannot be used here.
    """
    folder.start(sweep)
    to_do = plan.to_do
    progress = SweepProgress(console, len(to_do))
    if launch.name == "local":
        return run_here(folder, sweep, {planned.run_id: planned.cell for planned in to_do}, progress)
    titles = {planned.run_id: planned.title for planned in to_do}
    follower = Follower(folder, sweep, titles, progress)
    with progress:
        if launch.name == "slurm":
            from poolbench.sweep.slurm import run_slurm

            run_slurm(folder, sweep, launch, follower)
            return len(to_do) - len(follower.left)
        gpus = _gpus() if plan.cells[0].device.type == "cuda" else []
        count = launch.count(len(to_do), len(gpus))
        run_processes(folder, sweep, count=count, gpus=gpus, follower=follower, nursery=nursery or Nursery())
    return len(to_do) - len(follower.left)


def _gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the GPUs that this process may deal out, as CUDA names them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
