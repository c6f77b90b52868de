"""`poolbench dashboard EXPERIMENT`: a W&B workspace and a W&B report of an experiment."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from poolbench.cli.place import place
from poolbench.errors import ConfigurationError
from poolbench.paths import expanded

USAGE = """Make a W&B workspace of an experiment's runs (accuracy with its spread, paired difference, cost, curves,
failed cells, the reference pinned) and a W&B report with the verdict in words. The runs are those of logger=wandb.

  poolbench dashboard quickstart --dry-run                 print the specification as JSON, offline
  poolbench dashboard results/quickstart --entity me       save it; needs a key (wandb login, or WANDB_API_KEY)"""
LOGGER = "wandb"


def add_to(commands: Any) -> None:
    """Add `poolbench dashboard`."""
    command = commands.add_parser(
        "dashboard",
        help="make a W&B workspace and report of an experiment",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("experiment", help="its name, or its folder such as results/quickstart")
    command.add_argument(
        "--results-dir",
        type=place,
        default=Path("results"),
        help="the folder that holds the experiment (default: results)",
    )
    command.add_argument("--project", help="the W&B project (default: that of the cells, else poolbench)")
    command.add_argument("--entity", help="the W&B user or team (default: the key's owner)")
    command.add_argument("--dry-run", action="store_true", help="print the specification without saving it")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the specification, or save both; return the exit status."""
    folder = _folder(arguments.experiment, arguments.results_dir)
    from poolbench.report.make import gather
    from poolbench.report.reading.loading import load

    content = gather(load(folder))
    asked = _asked(folder)
    entity = arguments.entity or asked.get("entity") or os.environ.get("WANDB_ENTITY") or ""
    project = arguments.project or asked.get("project") or os.environ.get("WANDB_PROJECT") or "poolbench"
    try:
        from poolbench.loggers.saving import dashboard_of, save
    except ImportError as error:
        raise ConfigurationError(
            f"poolbench dashboard needs wandb-workspaces ({error}): pip install '.[dashboard]' in its checkout"
        ) from error
    made = dashboard_of(
        experiment=content.shown_as,
        question=content.experiment.question,
        words=content.words,
        failed=[str(one) for one in content.not_compared],
        records=content.records,
        project=project,
        entity=entity,
        group=asked.get("group"),
        measured=bool(content.tables["summary"]["training_ratio"].notna().any()),
    )
    if arguments.dry_run:
        json.dump(made.specification(), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        print("\n".join(save(made, folder)))
    return 0


def _folder(experiment: str, results_dir: Path) -> Path:
    """Return the experiment's folder, named by itself or by its path."""
    places = [expanded(experiment, "EXPERIMENT"), results_dir / experiment]
    for folder in places:
        if (folder / "records").is_dir():
            return folder
    raise ConfigurationError(
        f"no experiment {experiment!r}: neither {places[0]} nor {places[1]} holds records; "
        f"poolbench train experiment={Path(experiment).name} logger=wandb makes them"
    )


def _asked(folder: Path) -> dict[str, Any]:
    """Return how the cells were mirrored to W&B, as far as the plan knows."""
    from poolbench.sweep.plan import PlanFolder

    try:
        cells = PlanFolder(folder.absolute()).all_cells()
    except (ConfigurationError, OSError):
        return {}
    return next((dict((cell.settings.loggers or {}).get(LOGGER) or {}) for cell in cells[-1:]), {})
