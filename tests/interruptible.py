"""A small training that draws all that training draws, for tests that interrupt it.

    python interruptible.py TRIALS SEED

kills it with −9 at random moments until it is over, TRIALS times, and prints as JSON what came out.
"""

import json
import logging
import math
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import poolbench.pooling
from poolbench.spec import build
from poolbench.streams import drawing, stream
from poolbench.training import Checkpoints, Fitted, Protocol, fit

TRAINER = {"accelerator": "cpu"}
RECIPE: dict[str, Any] = {
    "name": "test",
    "epochs": 4,
    "batch_size": 8,
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.02, "weight_decay": 0.1},
    "schedule": {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.02, "cycle_momentum": True},
    "label_smoothing": 0.0,
    "precision": "float32",
    "memory_format": "contiguous",
    "select": "best",
    "deterministic": True,
    "compile": False,
    "eval_batch_size": 16,
}
SGD = {
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True},
    "schedule": {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.05, "cycle_momentum": True},
}
POOLS = [
    name
    for name, kind in sorted(vars(poolbench.pooling).items())
    if name.endswith("2d") and getattr(kind, "is_random", 0)
]


def protocol(**changes: Any) -> Protocol:
    return Protocol.of(RECIPE | changes)


class Stripes:
    """Two classes of noisy images, stripes across or along; each epoch's order and noise come from its own streams."""

    def __init__(self, batches: int = 3, seed: int = 0, poison: tuple[int, int] | None = None) -> None:
        self.target = torch.arange(batches * 8) % 2
        self.batches, self.seed, self.epoch, self.poison = batches, seed, 0, poison

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.target), generator=stream(self.seed, "order", self.epoch))
        noise = stream(self.seed, "noise", self.epoch)
        bars = (torch.arange(8) % 2).float()
        for number, rows in enumerate(order.chunk(self.batches)):
            target = self.target[rows]
            across = bars.view(1, 1, 8, 1).expand(-1, 3, 8, 8)
            images = torch.where(target.view(-1, 1, 1, 1) == 1, across, across.transpose(2, 3))
            images = images + torch.randn(len(rows), 3, 8, 8, generator=noise)
            yield images * math.nan if self.poison == (self.epoch, number) else images, target


def network(pool: str = "StochasticPool2d") -> nn.Module:
    """Return a network with batch norm, dropout, a random pooling and a convolution of one pixel."""
    with drawing(0, "network"):
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            build(
                {"_target_": f"poolbench.pooling.{pool}"}, {"kernel_size": 2, "stride": 2, "channels": 8}, where="pool"
            ),
            nn.Conv2d(8, 8, 1),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(128, 2),
        )


def train(pool: str = "StochasticPool2d", recipe: dict[str, Any] | None = None, **arguments: Any) -> Fitted:
    """Train the network by a changed recipe."""
    given = {"protocol": protocol(**(recipe or {})), "trainer": TRAINER, "seed": 0} | arguments
    batches = given.pop("train", None) or Stripes()
    return fit(network(pool), batches, Stripes(seed=1), **given)


def checkpoints(folder: Path, every_s: float = 0.0, **changes: Any) -> Checkpoints:
    """Return checkpoints that are written at every epoch."""
    given = {"key": {"run_id": "cell-0", "code": "a"}, "place": {"machine_id": "m", "threads": 1}} | changes
    return Checkpoints(folder, every_s=every_s, **given)


def result(fitted: Fitted) -> dict[str, Any]:
    """Return all that must not depend on interruptions."""
    return {
        "history": fitted.history,
        "selected_epoch": fitted.selected_epoch,
        "diverged": fitted.diverged,
        "weights": {name: value.clone() for name, value in fitted.network.state_dict().items()},
    }


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether two results are equal to the bit, NaN equal to NaN."""
    weights = left["weights"].keys() == right["weights"].keys() and all(
        torch.equal(value, right["weights"][name]) and value.stride() == right["weights"][name].stride()
        for name, value in left["weights"].items()
    )
    others = [key for key in left if key != "weights"]
    return weights and all(repr(left[key]) == repr(right[key]) for key in others)


VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"recipe": {"precision": "bfloat16", "memory_format": "channels_last"}},
    {"recipe": {"select": "last", **SGD}, "pool": "LearnedPolyphasePool2d"},
)


def _fork(folder: Path, arguments: dict[str, Any]) -> int:
    """Train in a process of its own, which leaves `result.pt`; return the process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        fitted = train(checkpoints=checkpoints(folder), **arguments)
        torch.save(result(fitted) | {"resumed_epochs": fitted.resumed_epochs}, folder / "unnamed.pt")
        (folder / "unnamed.pt").replace(folder / "result.pt")
        status = 0
    finally:
        os._exit(status)


def _ended(child: int, seconds: float) -> bool:
    """Wait for a process, kill it when the time is over; return whether it ended by itself."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            assert status == 0, f"a training failed with {status}"
            return True
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _kill_until_over(folder: Path, draw: random.Random, arguments: dict[str, Any], whole_s: float) -> tuple[int, Any]:
    """Return how often a training was killed, and what it left at last."""
    kills = 0
    while True:
        # Now and then it gets more time than it needs, or it might never end.
        if _ended(_fork(folder, arguments), draw.uniform(0, 1.5 if kills > 3 else 0.9) * whole_s):
            return kills, torch.load(folder / "result.pt", weights_only=True)
        kills += 1


def main(trials: int, seed: int) -> None:
    """Print how many trainings were killed how often, and how many ended as if they had not been."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    draw = random.Random(seed)
    counts = {"trials": 0, "equal": 0, "kills": 0, "resumed": 0, "torn": 0}
    with tempfile.TemporaryDirectory() as name:
        for trial in range(trials):
            arguments = {"recipe": {}, **VARIANTS[trial % len(VARIANTS)]}
            arguments["recipe"] = {"epochs": 8, **arguments["recipe"]}
            began = time.monotonic()
            child = _fork(_made(Path(name) / f"whole-{trial}"), arguments)
            assert _ended(child, 600)
            spent = time.monotonic() - began
            whole = torch.load(Path(name) / f"whole-{trial}" / "result.pt", weights_only=True)
            folder = _made(Path(name) / f"killed-{trial}")
            kills, found = _kill_until_over(folder, draw, arguments, spent)
            counts["resumed"] += len(found.pop("resumed_epochs"))
            counts["torn"] += len(list(folder.glob(".*.part")))
            whole.pop("resumed_epochs")
            counts["equal"] += same(found, whole)
            counts["kills"] += kills
            counts["trials"] += 1
    print(json.dumps(counts))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
