"""`poolbench train`: Hydra's overrides in, cells out."""

import argparse
from collections.abc import Sequence
from typing import Any

from poolbench.cli.composing import composed

USAGE = """Give overrides as GROUP=CHOICE or KEY=VALUE; a list (a,b), range(0,5) or glob(*) sweeps over it.

  poolbench train backbone=slides pooling=avg_topk dataset=digits seed=0
  poolbench train backbone=slides,lenet5 pooling='glob(*)' dataset=digits seed='range(0,5)'
  poolbench train experiment=quickstart
  poolbench train pooling.downsample._target_=mypackage.MyPool dataset=digits

groups (see `poolbench list GROUP`): backbone, pooling, head, dataset, protocol, trainer, logger, launcher, experiment
keys: seed, name, question, expected, published, results_dir, reference, margin, force, strict, threads, allocator,
  speed.measure, speed.budget_s,
  protocol.*, dataset.*, backbone.*, pooling.downsample.*, pooling.head.*, +trainer.* (any lightning.Trainer argument)
Hydra's own flags work too (--cfg job, --config-dir DIR, --info, hydra/launcher=...); -m is accepted and not needed."""


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

    def sweep(*composition: Any) -> int:
        from poolbench.cli.sweep import run_sweep

        return run_sweep(*composition)

    return composed(arguments, sweep, command="train")
