"""A sweep from its plan to its report: plan all cells, run what is to do, measure speed, report, say how it ended.

What trains, measures and reports is loaded when it is needed: a sweep whose cells are all finished says so at once.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from poolbench.data import Datasets
from poolbench.errors import ConfigurationError, Stopped
from poolbench.experiment import write_experiment
from poolbench.loggers import Session, decided, mirror_report
from poolbench.paths import PACKAGE
from poolbench.record import RECORD_FILE
from poolbench.report.reading.trials import TRIALS, TUNED, Trials
from poolbench.run.failed import write_unsupported
from poolbench.source import training_code
from poolbench.sweep.asked import Asked, SweepSettings
from poolbench.sweep.conclusion import announce, conclude
from poolbench.sweep.launch import Launch
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.planning import Plan, checked, load_data, plan_cells
from poolbench.sweep.process import log
from poolbench.sweep.processes import Nursery
from poolbench.sweep.rounds import Rounds
from poolbench.sweep.tune import comparable, trials_of, tuned, with_tuned, written
from poolbench.writable import require_inside, require_replaceable, require_writable

if TYPE_CHECKING:
    from poolbench.report.make import Report


def run_sweep(
    asked: Sequence[Asked],
    settings: SweepSettings,
    launch: Launch,
    console: Console,
    nursery: Nursery | None = None,
) -> int:
    """Run these cells; return the exit status: 0 all well, 1 some cell failed.

    The process is prepared (`poolbench.sweep.process`).

    Raises:
        ConfigurationError: what is wrong in any of the cells, before the first one runs.
        Stopped, KeyboardInterrupt: a signal ended it.
    """
    mirrors = _Mirrored(settings, console)
    datasets = Datasets()
    if settings.tune is None:
        return _sweep(asked, settings, launch, console, nursery, mirrors, datasets).status
    from poolbench.report.make import make_report

    # What is wrong in the space is said before anything is trained.
    tried = trials_of(settings.tune, asked)
    trying = replace(settings.beside(TRIALS), until="")
    checked([one.asked for one in tried], trying.cell, datasets)
    shared = _sweep(asked, settings, launch, console, nursery, mirrors, datasets, reports=False)
    if shared.stopped:
        mirrors.show(make_report(settings.folder))
        return shared.status
    console.print(f"tune: {settings.tune.points} points for each arm, scored on validation", highlight=False)
    ended = _sweep([one.asked for one in tried], trying, launch, console, nursery, mirrors, datasets, reports=False)
    trials = written(tried, ended.plan, shared.plan, Trials.read(settings.folder))
    trials.write(settings.folder)
    cells = tuned(asked, shared.plan, trials, settings.folder)
    if settings.until:
        cells, alone = comparable(cells, settings.cell.reference)
        for block, lacking in alone.items():
            console.print(
                f"tune: {block}: no trial of {lacking} has a score, so tuned arms cannot be compared "
                "and are not trained",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    status = max(shared.status, ended.status)
    if cells and not ended.stopped:
        console.print("tune: every arm at its best point", highlight=False)
        beside = settings.beside(TUNED)
        ended = _sweep([one for one, _ in cells], beside, launch, console, nursery, mirrors, datasets, reports=False)
        with_tuned(cells, ended.plan, settings.folder).write(settings.folder)
        status = max(status, ended.status)
    mirrors.show(make_report(settings.folder))
    return status


class _Mirrored:
    """How loggers with a server work in this sweep and what belongs to it, found out when the first cell is to run."""

    def __init__(self, settings: SweepSettings, console: Console) -> None:
        self._settings, self._console = settings, console

    @cached_property
    def decided(self) -> Mapping[str, str]:
        """`online` or `offline` by logger; looked for and said once."""
        return decided(self._settings.cell.loggers or {}, self._settings.folder, self._say)

    def show(self, report: "Report") -> None:
        """Let the loggers show a report, and its columns at the cells."""
        specs = self._settings.cell.loggers or {}
        if specs:
            from poolbench.report.shown import reported

            with Session(report.folder, self.decided, self._say) as session:
                mirror_report(specs, reported(report), session)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class _Ended:
    """How a sweep ended: its exit status, what stopped it before its end, its plan."""

    status: int
    stopped: str
    plan: Plan


def _sweep(
    asked: Sequence[Asked],
    settings: SweepSettings,
    launch: Launch,
    console: Console,
    nursery: Nursery | None,
    mirrors: _Mirrored,
    datasets: Datasets,
    *,
    reports: bool = True,
) -> _Ended:
    rounds = Rounds.of(asked, settings)
    settings = replace(settings, experiment=rounds.experiment(settings.experiment))
    plan = part = plan_cells(rounds.first(), settings.cell, datasets)
    _require_places(part, settings)
    ran = _run(part, settings, launch, console, nursery, mirrors)
    while not ran.stopped and (further := rounds.further(plan)):
        if part.to_do:
            console.print(rounds.said(plan), highlight=False, soft_wrap=True)
        part = plan_cells(further, settings.cell.without_named_runs(), datasets)
        _require_places(part, settings)
        plan = plan.extended(part)
        ran = ran.then(_run(part, settings, launch, console, nursery, mirrors))
    if settings.speed.measure and not ran.stopped:
        from poolbench.sweep.speed import measure_speeds

        measure_speeds(plan.cells, settings.speed, console)
    unreported = _unreported(settings.folder, mirrors) if reports else None
    if rounds.declared is not None and not ran.stopped:
        console.print(rounds.said(plan), highlight=False, soft_wrap=True)
    status = conclude(plan, ran.sweep, ran.trained, ran.trained_s, console, stopped=ran.stopped, strict=settings.strict)
    if unreported is not None and status == 0:
        raise unreported
    if unreported is not None:
        log.error("no report: %s", unreported)
    return _Ended(status, ran.stopped, plan)


def _unreported(folder: Path, mirrors: _Mirrored) -> ConfigurationError | None:
    """Make the report; return why there is none: how the sweep ended is said all the same."""
    from poolbench.report.make import make_report

    try:
        report = make_report(folder)
    except ConfigurationError as error:
        return error
    mirrors.show(report)
    return None


@dataclass(frozen=True)
class _Ran:
    """What became of a round, or of several: what was planned last, how many were trained, how long, what ended it."""

    sweep: PlannedSweep
    trained: int = 0
    trained_s: float = 0.0
    stopped: str = ""

    def then(self, after: "_Ran") -> "_Ran":
        """Return what became of this and of another one after it."""
        return replace(after, trained=self.trained + after.trained, trained_s=self.trained_s + after.trained_s)


def _run(
    plan: Plan,
    settings: SweepSettings,
    launch: Launch,
    console: Console,
    nursery: Nursery | None,
    mirrors: _Mirrored,
) -> _Ran:
    """Write what the experiment asks and the plan, let the launcher run what is to do, and wait for it."""
    for planned in plan.cells:
        if planned.unsupported:
            write_unsupported(planned.cell, planned.unsupported)
    announce(plan, launch, console, settings.folder)
    load_data(plan.to_do)
    if settings.experiment.says_something:
        write_experiment(settings.folder, settings.experiment)
    folder, sweep = PlanFolder(settings.folder), _planned(plan, settings, launch, mirrors)
    folder.write(sweep, [planned.frozen() for planned in plan.cells])
    ran, began = _Ran(sweep), time.monotonic()
    if plan.to_do:
        from poolbench.sweep.launchers import run_planned

        try:
            ran = _Ran(sweep, trained=run_planned(plan, folder, sweep, launch, console, nursery))
        except Stopped as stop:
            if stop.is_signal:
                raise
            ran = _Ran(sweep, stopped=stop.signal_name)
    return replace(ran, trained_s=time.monotonic() - began)


def _require_places(plan: Plan, settings: SweepSettings) -> None:
    """Try every place that will be written to, before anything is trained."""
    folders = [planned.folder for planned in plan.to_do]
    speeds = [settings.cell.speeds] if settings.speed.measure else []
    places = [settings.folder, *folders[:1], *(folder for folder in folders[1:] if folder.exists()), *speeds]
    require_writable([*places, PlanFolder(settings.folder).claims])
    require_replaceable(folder / RECORD_FILE for folder in folders)
    written = PlanFolder(settings.folder)
    for place in (*folders, written.cells, written.arms, written.sweeps, written.claims, *speeds):
        require_inside(place, settings.folder)


def _planned(plan: Plan, settings: SweepSettings, launch: Launch, mirrors: _Mirrored) -> PlannedSweep:
    to_do = plan.to_do
    return PlannedSweep(
        run_ids=tuple(planned.run_id for planned in to_do),
        threads=launch.threads,
        allocator=settings.allocator,
        on_failure=settings.on_failure,
        retry=settings.retry,
        again={planned.run_id: planned.replaces for planned in to_do if planned.replaces},
        code=training_code(PACKAGE),
        command=settings.cell.command,
        mirrors=mirrors.decided if to_do else {},
    )
