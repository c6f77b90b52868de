"""A sweep from its plan to its report: plan all cells, run what is to do, measure speed, report, say how it ended."""

import time
from collections.abc import Sequence

from rich.console import Console

from poolbench.experiment import write_experiment
from poolbench.report import make_report
from poolbench.run import write_unsupported
from poolbench.sweep.asked import Asked, SweepSettings
from poolbench.sweep.conclusion import announce, conclude
from poolbench.sweep.local import run_here
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.planning import Plan, load_data, plan_cells, require_writable
from poolbench.sweep.progress import SweepProgress
from poolbench.sweep.side_by_side import run_side_by_side
from poolbench.sweep.speed import measure_speeds


def run_sweep(asked: Sequence[Asked], settings: SweepSettings, console: Console) -> int:
    """Run these cells; return the exit status: 0 all well, 1 some cell failed.

    The process is prepared (`poolbench.sweep.process`).

    Raises:
        ConfigurationError: what is wrong in any of the cells, before the first one runs.
    """
    plan = plan_cells(asked, settings.cell)
    require_writable(settings.folder)
    if settings.experiment.says_something:
        write_experiment(settings.folder, settings.experiment)
    for planned in plan.cells:
        if planned.unsupported:
            write_unsupported(planned.cell, planned.unsupported)
    announce(plan, console, settings.folder)
    load_data(plan.to_do)
    began = time.monotonic()
    _run(plan, settings, console)
    trained_s = time.monotonic() - began
    if settings.speed.measure:
        measure_speeds(plan.cells, settings.speed, console)
    make_report(settings.folder)
    return conclude(plan, trained_s, console, strict=settings.strict)


def _run(plan: Plan, settings: SweepSettings, console: Console) -> None:
    """Let the launcher run what is to do."""
    to_do = plan.to_do
    if not to_do:
        return
    if settings.launcher["name"] == "serial":
        run_here(to_do, plan.arms, SweepProgress(console, len(to_do)))
        return
    run_ids = tuple(planned.cell.identity.run_id for planned in to_do)
    sweep = PlannedSweep(run_ids, settings.threads, settings.allocator, settings.cell.command)
    facts = {p.cell.identity.arm_id: found for p in to_do if (found := plan.arms.known(p.cell)) is not None}
    PlanFolder(settings.folder).write(sweep, [planned.frozen() for planned in to_do], facts)
    run_side_by_side(settings.folder, sweep, settings.launcher["workers"])
