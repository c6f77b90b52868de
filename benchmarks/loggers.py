"""What a logger costs a cell: the training's own thread with it and without it, in turns, in one process.

A cell here is so many epochs of matrix products, each followed by its row of figures, as training tells it to its
mirrors; then the record's end is told and the mirrors are closed. W&B is kept offline: a server is not waited for.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from turns import in_turns, markdown, shown

from poolbench.loggers import Mirrors, Session
from poolbench.measure.machine import machine
from poolbench.measure.timing import median_interval

LOGGERS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "csv": {"csv": {"_target_": "lightning.pytorch.loggers.CSVLogger"}},
    "wandb": {"wandb": {"_target_": "poolbench.loggers.wandb_run.WandbRun", "project": "bench", "offline": True}},
}
FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
RECORD = {"status": "ok", "reason": "", "history": [], "provenance": {}}


def cell(session: Session, specs: Mapping[str, Any], run_id: str, epochs: int, work: int) -> tuple[float, float]:
    """Return seconds of an epoch, and of what comes before the first and after the last."""
    x = torch.randn(256, 256)
    folder = session.folder / "records" / run_id
    began = time.perf_counter()
    mirrors = Mirrors(specs, folder=folder, run_id=run_id, experiment="bench", session=session)
    mirrors.config({"seed": 0})
    trained = time.perf_counter()
    for epoch in range(epochs):
        for _ in range(work):
            x = (x @ x).clamp_(-1, 1)
        mirrors.row(dict.fromkeys(FIGURES, 1 / (epoch + 1)), step=epoch)
    ended = time.perf_counter()
    mirrors.final({**RECORD, "run_id": run_id, "metrics": {"test_accuracy": 0.5}})
    mirrors.close()
    return (ended - trained) / epochs, trained - began + time.perf_counter() - ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="turns of each, after one to warm up (%(default)s)")
    parser.add_argument("--epochs", type=int, default=50, help="of a cell (%(default)s)")
    parser.add_argument("--work", type=int, default=200, help="matrix products an epoch (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.pop("WANDB_MODE", None)
    around: dict[str, list[float]] = {name: [] for name in LOGGERS}
    with tempfile.TemporaryDirectory() as folder, Session(Path(folder)) as session:

        def measure(name: str) -> float:
            run_id = f"{name}-{len(around[name])}"
            epoch, rest = cell(session, LOGGERS[name], run_id, arguments.epochs, arguments.work)
            around[name].append(rest)
            return epoch

        epochs = in_turns(list(LOGGERS), measure, arguments.rounds)
    print(f"{machine()['machine']}, {machine()['cores']} cores; medians with 95 % intervals\n")
    rows = []
    for name, taken in epochs.items():
        if name == "none":
            continue
        more = [1000 * (one - none) for one, none in zip(taken, epochs["none"], strict=True)]
        rest = [one - none for one, none in zip(around[name][1:], around["none"][1:], strict=True)]
        rows.append([name, shown(median_interval(more)), shown(median_interval(rest))])
    print(markdown(["logger", "ms more an epoch", "s more a cell, around its epochs"], rows))


if __name__ == "__main__":
    main()
