"""A sweep: plan all cells, launch what is to do, measure speed, report, and say how it ended."""

import logging
import os
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from poolbench.cli import choices
from poolbench.cli.composing import COMMAND
from poolbench.cli.labels import labels, own_class, own_network, plain, with_setting, written_group, written_groups
from poolbench.cli.progress import SweepProgress, outcome
from poolbench.errors import ConfigurationError, UnsupportedError, unknown_name
from poolbench.experiment import Experiment, write_experiment

log = logging.getLogger("poolbench")
GROUPS = ("backbone", "pooling", "head", "dataset", "protocol", "trainer")
# Not of a cell: what a report says over all of them.
OF_THE_WHOLE = ("question", "expected", "published", "margin")
MATCHES = ("params", "macs")


@dataclass
class Plan:
    """What a sweep does: its cells by job, and what is known of them before the first one runs."""

    cells: list[Any]
    unsupported: dict[int, str] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    twins: set[int] = field(default_factory=set)
    progress: SweepProgress | None = None

    @property
    def todo(self) -> list[int]:
        """The jobs that must run."""
        left_out = self.finished | self.twins | set(self.unsupported)
        return [job for job in range(len(self.cells)) if job not in left_out]


# The plan of the sweep that runs in this very process; a launcher's worker has none.
_ACTIVE: dict[int, tuple[Plan, list[int]]] = {}


def run_sweep(jobs: Sequence[Sequence[str]], composed: Sequence[DictConfig], launcher: Launcher) -> int:
    """Run the cells of these jobs; return the exit status: 0 all well, 1 some cell failed."""
    console = Console(stderr=True)
    _log_to(console)
    first = composed[0]
    for config in composed:
        _check_settings(config)
    for key in OF_THE_WHOLE:
        _check_one(key, composed)
    experiment = Experiment.of(str(first.name), plain(first.question), plain(first.expected), plain(first.published))
    _prepare_process(first)
    from poolbench.cell import Cell
    from poolbench.run import write_unsupported

    plan = _plan([describe(config, config.hydra) for config in composed], Cell)
    if plan.unsupported and len(plan.cells) == 1:
        raise ConfigurationError(plan.unsupported[0])
    _require_writable({cell.settings.folder for cell in plan.cells})
    labelled = {cell.labels["variant"]: dict(cell.config["pooling"]) for cell in plan.cells}
    references = [_reference_pooling(c, config, labelled) for c, config in zip(plan.cells, composed, strict=True)]
    if experiment.says_something:
        for folder in sorted({cell.settings.folder for cell in plan.cells}):
            write_experiment(folder, replace(experiment, name=folder.name))
    for job, reason in plan.unsupported.items():
        write_unsupported(plan.cells[job], reason)
    todo = plan.todo
    _announce(console, plan, todo)
    _load_data([plan.cells[job] for job in todo])
    began = time.monotonic()
    if todo:
        _launch(jobs, composed, launcher, plan, todo, console)
    trained = time.monotonic() - began
    if first.speed.measure:
        _measure_speeds(plan, references, console, first.speed)
    _report({cell.settings.folder for cell in plan.cells}, console)
    return _conclude(plan, todo, trained, console, strict=bool(first.strict))


def _flag(config: DictConfig, key: str) -> bool:
    value = OmegaConf.select(config, key)
    if not isinstance(value, bool):
        raise ConfigurationError(f"`{key}` must be true or false, got {value!r}")
    return value


def _check_one(key: str, composed: Sequence[DictConfig]) -> None:
    """Raise where a setting of the whole experiment has several values: a comma makes a text a list of them."""
    found = {str(plain(OmegaConf.select(config, key))): None for config in composed}
    if len(found) > 1:
        values = ", ".join(map(repr, found))
        raise ConfigurationError(
            f"`{key}` must be one for the whole experiment, got {len(found)}: {values}; a text with a comma needs "
            f"quotes of its own: {key}='\"…, …\"'"
        )


def _check_settings(config: DictConfig) -> None:
    """Find what is wrong in the settings that belong to no cell."""
    for key in ("force", "strict", "speed.measure"):
        _flag(config, key)
    for key in ("speed.budget_s", "speed.half_width"):
        value = OmegaConf.select(config, key)
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise ConfigurationError(f"`{key}` must be a number above 0, got {value!r}")
    margin = config.margin
    if not isinstance(margin, int | float) or isinstance(margin, bool) or not 0 <= margin < 100:
        raise ConfigurationError(f"`margin` must be a number of points in 0..100, got {margin!r}")
    name = config.name
    if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ConfigurationError(f"`name` must be the name of a folder inside `results_dir`, got {name!r}")


def run_job(config: DictConfig, hydra: Any) -> dict[str, Any]:
    """Run one job's cell, in the planning process or in a worker's; return its outcome."""
    from poolbench.run import run_cell

    if os.getpid() in _ACTIVE:
        plan, todo = _ACTIVE[os.getpid()]
        cell, progress = plan.cells[todo[int(hydra.job.num)]], plan.progress
    else:
        from poolbench.cell import Cell

        _log_to(Console(stderr=True))
        _prepare_process(config)
        cell, progress = Cell.of(*describe(config, hydra)), None
    if progress:
        progress.begin(cell.title, cell.protocol().epochs)
    record = run_cell(cell, progress)
    if progress:
        progress.end(cell.title, record)
    else:
        Console(stderr=True).print(f"{escape(cell.title)}  {outcome(record)}", highlight=False)
    return {"run_id": cell.identity.run_id, "status": record["status"] if record else "claimed"}


def described(config: DictConfig, hydra: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a composed job as a plain configuration and its labels."""
    groups = {group: plain(config.get(group)) for group in GROUPS} | {"seed": config.seed}
    sources = plain(hydra.runtime.config_sources)
    chosen = plain(hydra.runtime.choices)
    written = written_groups(sources, chosen)
    groups["backbone"] = own_network(groups["backbone"] or {}, written.get("backbone", {}))
    groups["pooling"] = own_class(groups["pooling"], written.get("pooling", {}), list(hydra.overrides.task))
    named = labels(groups, written, chosen)
    if config.match is not None and named["variant"] != config.reference:
        reference = written_group(
            [Path(s["path"]) for s in sources if s["schema"] == "file"], "pooling", config.reference
        )
        if not reference:
            raise ConfigurationError(f"`match` needs a reference that stands in conf/pooling, got {config.reference!r}")
        groups["match"] = {"by": str(config.match), "reference": reference}
        named["variant"] = with_setting(named["variant"], f"match={config.match}")
    return groups, named


def describe(config: DictConfig, hydra: Any) -> tuple[dict[str, Any], dict[str, str], Any]:
    """Return a composed job as a cell's plain configuration, its labels and its settings."""
    from poolbench.cell import Settings

    groups, names = described(config, hydra)
    settings = Settings(
        results_dir=Path(str(config.results_dir)),
        name=str(config.name),
        reference=str(config.reference),
        margin=config.margin / 100,
        force=_flag(config, "force"),
        loggers=plain(config.get("logger")) or {},
        command=tuple(shlex.split(os.environ.get(COMMAND, ""))),
    )
    return groups, names, settings


def _plan(jobs: Iterable[tuple[dict[str, Any], dict[str, str], Any]], cell_type: Any) -> Plan:
    """Make and check every cell; what is wrong in any of them is an error before the first runs."""
    from poolbench.record import finished

    cells, mistakes = [], []
    for groups, names, settings in jobs:
        try:
            cells.append(cell_type.of(groups, names, settings))
        except UnsupportedError:
            raise
        except ConfigurationError as error:
            if str(error) not in mistakes:
                mistakes.append(str(error))
    if mistakes:
        raise ConfigurationError("\n  ".join(mistakes))
    plan = Plan(cells)
    checked: dict[str, str | None] = {}
    seen: set[tuple[Path, str]] = set()
    for job, cell in enumerate(cells):
        arm = cell.identity.arm_id
        if arm not in checked:
            checked[arm] = _why_not(cell)
        reason = checked[arm]
        if (cell.folder.parent, cell.identity.run_id) in seen:
            plan.twins.add(job)
        elif reason is not None:
            plan.unsupported[job] = reason
        elif not cell.settings.force and finished(cell.folder):
            plan.finished.add(job)
        seen.add((cell.folder.parent, cell.identity.run_id))
    return plan


def _why_not(cell: Any) -> str | None:
    """Return why the arm's network cannot be, or None."""
    try:
        cell.assemble()
    except UnsupportedError as error:
        return str(error)
    return None


def _launch(
    jobs: Sequence[Sequence[str]],
    composed: Sequence[DictConfig],
    launcher: Any,
    plan: Plan,
    todo: list[int],
    console: Console,
) -> None:
    """Let Hydra's launcher run the jobs that are to do."""
    kept = [list(jobs[job]) for job in todo]
    if isinstance(launcher, BasicLauncher) and launcher.hydra_context:
        loader: Any = _Composed(launcher.hydra_context.config_loader, kept, [composed[job] for job in todo])
        launcher.hydra_context = HydraContext(config_loader=loader, callbacks=launcher.hydra_context.callbacks)
        with SweepProgress(console, len(todo)) as plan.progress:
            _ACTIVE[os.getpid()] = (plan, todo)
            try:
                launcher.launch(kept, initial_job_idx=0)
            finally:
                del _ACTIVE[os.getpid()]
        return
    try:
        launcher.launch(kept, initial_job_idx=0)
    except Exception as error:
        # A worker that was killed takes a launcher with it; what each cell left is read from the records.
        log.error("the launcher broke: %s: %s", type(error).__name__, error)


class _Composed:
    """A configuration loader that hands out what was composed for the plan, instead of composing it again."""

    def __init__(self, loader: Any, jobs: list[list[str]], composed: list[DictConfig]) -> None:
        self._loader = loader
        self._composed = {tuple(job): config for job, config in zip(jobs, composed, strict=True)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master: DictConfig, overrides: list[str]) -> DictConfig:
        return self._composed.pop(tuple(overrides))


def _prepare_process(config: DictConfig) -> None:
    """Set what belongs to the process: allocator and threads."""
    from poolbench.measure.machine import set_allocator

    set_allocator(str(config.allocator))
    import lightning.pytorch  # noqa: F401  (its import sets the level of its logger)
    import torch

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)

    if config.threads is not None:
        if not isinstance(config.threads, int) or config.threads < 1:
            raise ConfigurationError(f"`threads` must be a whole number of at least 1, or null, got {config.threads!r}")
        torch.set_num_threads(config.threads)


def _log_to(console: Console) -> None:
    if not log.handlers:
        log.addHandler(RichHandler(console=console, show_path=False, show_time=False))
        log.setLevel(logging.INFO)
        log.propagate = False


def _require_writable(folders: Iterable[Path]) -> None:
    """Find a results folder that cannot be written before training, not after."""
    for folder in folders:
        probe = folder / f".writable-{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise ConfigurationError(f"`results_dir`: {folder} cannot be written: {error.strerror or error}") from error


def _load_data(cells: Iterable[Any]) -> None:
    """Load each dataset once, before the first cell: absent data, or too little for a batch, is an error now."""
    from poolbench.run import open_parts

    for cell in {cell.identity.arm_id: cell for cell in cells}.values():
        images = open_parts(cell).images
        if images.streaming:
            log.info("%s: %s", cell.labels["dataset"], "; ".join(images.notes))


def _announce(console: Console, plan: Plan, todo: list[int]) -> None:
    parts = [f"{len(todo)} to train"]
    if plan.finished:
        parts.append(f"{len(plan.finished)} finished before (force=true trains them again)")
    if plan.unsupported:
        parts.append(f"{len(plan.unsupported)} unsupported")
    console.print(f"{len(plan.cells)} cells: {', '.join(parts)}", highlight=False)
    for reason, count in Counter(plan.unsupported.values()).items():
        console.print(f"  unsupported ({count}): {escape(reason)}", highlight=False)
    device = plan.cells[0].device
    console.print(f"device {device.type}, records in {plan.cells[0].settings.folder}", highlight=False)


def _measure_speeds(plan: Plan, references: Sequence[dict[str, Any]], console: Console, speed: DictConfig) -> None:
    """Measure the arms that have no speed record of this machine."""
    from poolbench.record import finished
    from poolbench.speeds import measure_arm, measured

    arms = {}
    for job, cell in enumerate(plan.cells):
        if job not in plan.unsupported and cell.identity.arm_id not in arms and finished(cell.folder):
            arms[cell.identity.arm_id] = (cell, references[job])
    beside = [(cell, _reference_of(cell, plan, pooling)) for cell, pooling in arms.values()]
    missing = [(cell, reference) for cell, reference in beside if cell.settings.force or not measured(cell, reference)]
    if not missing:
        return
    console.print(f"measuring the speed of {len(missing)} arms, each beside its reference", highlight=False)
    for cell, reference in missing:
        try:
            measure_arm(cell, reference, budget_s=speed.budget_s, half_width=speed.half_width)
        except Exception as error:
            log.warning("speed of %s not measured: %s: %s", cell.title, type(error).__name__, error)


def _reference_of(cell: Any, plan: Plan, pooling: dict[str, Any]) -> Any:
    """Return the reference's cell of the same block and recipe: the sweep's own, else one made for it."""
    name = cell.settings.reference
    for other in plan.cells:
        if other.labels["variant"] == name and all(
            other.config[group] == cell.config[group] for group in ("backbone", "dataset", "protocol", "trainer")
        ):
            return other
    return cell.with_reference(pooling, name)


def _reference_pooling(cell: Any, config: DictConfig, labelled: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the pooling group of the reference; a reference that does not exist is an error before training."""
    name = cell.settings.reference
    folders = [Path(s["path"]) for s in plain(config.hydra.runtime.config_sources) if s["schema"] == "file"]
    pooling = written_group(folders, "pooling", name)
    if pooling:
        return pooling
    if name in labelled:
        return labelled[name]
    raise unknown_name("reference", name, choices.names("pooling", folders))


def _report(folders: Iterable[Path], console: Console) -> None:
    from poolbench.report import make_report

    for folder in sorted(folders):
        make_report(folder)


def _conclude(plan: Plan, todo: list[int], trained_s: float, console: Console, *, strict: bool) -> int:
    """Say how it ended, last what failed; return the exit status."""
    from poolbench.record import RECORD_FILE, read_record

    statuses: dict[int, tuple[str, str]] = {}
    for job, cell in enumerate(plan.cells):
        if job in plan.twins:
            continue
        try:
            record = read_record(cell.folder / RECORD_FILE)
            statuses[job] = (record["status"], record["reason"])
        except (ConfigurationError, OSError):
            statuses[job] = ("failed", "left no record: killed, or another process is at it")
    counts = Counter(status for status, _ in statuses.values())
    trained = f", {len(todo)} trained in {trained_s:.1f} s ({trained_s / len(todo):.2f} s each)" if todo else ""
    console.print(f"{sum(counts.values())} cells: {', '.join(f'{n} {s}' for s, n in counts.items())}{trained}")
    bad = {"failed", "diverged", "interrupted"} | ({"unsupported"} if strict else set())
    wrong = [(plan.cells[job], status, reason) for job, (status, reason) in statuses.items() if status in bad]
    for cell, status, reason in wrong:
        console.print(f"[red]{status}[/] {escape(cell.title)}: {escape(reason)}", highlight=False)
        console.print(f"  {cell.folder}", highlight=False)
    return 1 if wrong else 0
