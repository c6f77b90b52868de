"""`poolbench wandb-sync FOLDER`: send the W&B runs that were kept offline."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from poolbench.cli.place import place
from poolbench.folders import check_exists, folders_below

USAGE = """Upload what W&B kept offline: the runs of one experiment, or of all below a folder. It needs a key: `wandb
login`, or WANDB_API_KEY. A run that is sent again takes the place of what was there.

  poolbench wandb-sync results/quickstart
  poolbench wandb-sync results --dry-run       list what would be sent, offline"""
# Where W&B's command writes its own log and caches.
PLACES = {"WANDB_DIR": "..", "WANDB_CACHE_DIR": "cache", "WANDB_DATA_DIR": "data", "WANDB_CONFIG_DIR": "config"}


def add_to(commands: Any) -> None:
    """Add `poolbench wandb-sync`."""
    command = commands.add_parser(
        "wandb-sync",
        help="upload the W&B runs that were kept offline",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", type=place, help="an experiment's folder, or one that holds several")
    command.add_argument("--dry-run", action="store_true", help="list the runs without sending them")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the runs; return W&B's own exit status."""
    folder = arguments.folder
    check_exists(folder)
    found = wandb_folders(folder)
    if not found:
        print(f"no W&B runs below {folder}; `poolbench train … logger=wandb` makes them")
        return 0
    inside = {name: str(found[0] / part) for name, part in PLACES.items()}
    command = [sys.executable, "-m", "wandb", "sync", "--yes", "--include-online", *map(str, found)]
    if arguments.dry_run:
        command.insert(-len(found), "--dry-run")
    return subprocess.run(command, check=False, env=inside | os.environ).returncode


def wandb_folders(folder: Path) -> list[Path]:
    """Return the folders `wandb` below a folder that hold runs, and the one that `WANDB_DIR` names."""
    found = [within / "wandb" for within, below, _ in folders_below(folder) if "wandb" in below]
    if os.environ.get("WANDB_DIR"):
        found.append(Path(os.environ["WANDB_DIR"]) / "wandb")
    return [one for one in dict.fromkeys(found) if any(one.glob("*run-*/run-*.wandb"))]
