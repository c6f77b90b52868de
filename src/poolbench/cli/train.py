"""`poolbench train`: Hydra's overrides in, cells out."""

import argparse
from collections.abc import Sequence
from typing import Any

from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import answered_by_hydra, composing
from poolbench.sweep.signals import ended_by_signals

USAGE = """Give overrides as GROUP=CHOICE or KEY=VALUE; a list (a,b), range(0,5) or glob(*) sweeps over it.

  poolbench train backbone=slides pooling=avg_topk dataset=digits seed=0
  poolbench train backbone=slides,lenet5 pooling='glob(*)' dataset=digits seed='range(0,5)'
  poolbench train experiment=quickstart
  poolbench train experiment=quickstart name=decided until=decided
  poolbench train experiment=quickstart name=tuned tune=8
  poolbench train pooling.downsample._target_=mypackage.MyPool dataset=digits

groups (see `poolbench list GROUP`): backbone, pooling, head, dataset, protocol, trainer, logger (several:
  'logger=[csv,wandb]'), launcher, experiment
keys: seed, name, question, expected, published, results_dir, reference, reference_backbone, margin, match, resample,
  grids, force, strict, threads, allocator, on_failure, retry, launcher.workers,
  until (decided: 3 seeds, then 5, 10 and 20 for what is still undecided),
  tune (N: each arm also at N points of the recipe, and at its best one),
  speed.measure, speed.budget_s,
  protocol.*, dataset.*, backbone.*, pooling.downsample.*, pooling.head.*, +trainer.* (any lightning.Trainer argument)
Hydra's own flags work too (--cfg job, --config-dir DIR, --info); -m is accepted, but not needed."""


def add_to(commands: Any) -> None:
    """Add `poolbench train`."""
    command = commands.add_parser(
        "train",
        help="train cells: one, a sweep, or a named experiment",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("overrides", nargs="*", help="Hydra overrides")
    command.set_defaults(run=lambda known: train(known.overrides))


def train(arguments: Sequence[str]) -> int:
    """Run the cells that the overrides ask for; return the exit status."""
    line = CommandLine.of("train", arguments)
    if line.is_hydras:
        return answered_by_hydra(line)
    with ended_by_signals() as ended:
        from rich.console import Console

        from poolbench.cli.sources import asked_for
        from poolbench.sweep.asked import SweepSettings
        from poolbench.sweep.launch import Launch
        from poolbench.sweep.plan import PlanFolder
        from poolbench.sweep.process import let_threads_sleep, prepare_process
        from poolbench.sweep.processes import Nursery

        with composing(line) as composer:
            first = composer.job(composer.overrides[0])
            settings = SweepSettings.of([first.config], line.words)
            asked, jobs = asked_for(composer, first, PlanFolder(settings.folder))
            SweepSettings.of([first.config, *(job.config for job in jobs)], line.words)
        launch = Launch.of(settings)
        console = Console(stderr=True)
        if launch.shares_processors:
            let_threads_sleep(launch.threads)
        # What workers need is imported beside the planning.
        nursery = Nursery.warmed() if launch.name == "processes" else None
        prepare_process(settings.allocator, launch.threads, console)
        # Loads torch: the allocator is set by now.
        from poolbench.sweep.sweep import run_sweep

        return run_sweep(asked, settings, launch, console, nursery)
    return ended.status
