"""A small training that draws all that training draws, for tests that interrupt it.

    python interruptible.py TRIALS SEED

kills TRIALS of it with −9, some times each at random moments, lets them end, and prints as JSON what came out.
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
from poolbench.training import Checkpoints, Protocol, newest_epoch
from poolbench.training.fit import fit
from poolbench.training.history import Fitted

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
        value.numpy().tobytes() == right["weights"][name].numpy().tobytes()
        and value.stride() == right["weights"][name].stride()
        for name, value in left["weights"].items()
    )
    others = [key for key in left if key != "weights"]
    return weights and all(repr(left[key]) == repr(right[key]) for key in others)


VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"recipe": {"precision": "bfloat16", "memory_format": "channels_last"}},
    {"recipe": {"select": "last", **SGD}, "pool": "LearnedPolyphasePool2d"},
)


EPOCHS, KILLS = 12, 4


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


def _over(child: int) -> bool:
    """Whether a process ended by itself; what fails is an error here."""
    found, status = os.waitpid(child, os.WNOHANG)
    assert status == 0, f"a training failed with {status}"
    return bool(found)


def _killed(child: int, folder: Path, epochs: int, delay_s: float) -> bool:
    """Kill a training some time after it has checkpointed `epochs` further epochs, unless it is over by then."""
    reach = newest_epoch(folder) + epochs
    while newest_epoch(folder) < reach:
        if _over(child):
            return False
        time.sleep(0.0005)
    until = time.monotonic() + delay_s
    while time.monotonic() < until:
        if _over(child):
            return False
        time.sleep(0.0002)
    os.kill(child, signal.SIGKILL)
    # It may have ended at this very moment.
    return os.waitpid(child, 0)[1] != 0


def main(trials: int, seed: int) -> None:
    """Print how many trainings were killed how often, and how many ended as if they had not been."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    draw = random.Random(seed)
    counts = {"trials": trials, "equal": 0, "kills": 0, "resumed": 0, "torn": 0}
    with tempfile.TemporaryDirectory() as name:
        for trial in range(trials):
            arguments = {"recipe": {}, **VARIANTS[trial % len(VARIANTS)]}
            arguments["recipe"] = {"epochs": EPOCHS, **arguments["recipe"]}
            whole, folder = _made(Path(name) / f"whole-{trial}"), _made(Path(name) / f"killed-{trial}")
            began = time.monotonic()
            assert os.waitpid(_fork(whole, arguments), 0)[1] == 0
            epoch_s = (time.monotonic() - began) / EPOCHS
            for _ in range(KILLS):
                counts["kills"] += _killed(
                    _fork(folder, arguments), folder, draw.choice((0, 1, 1, 2)), draw.uniform(0, 1.5 * epoch_s)
                )
                counts["torn"] += len(list(folder.glob(".*.part")))
            assert os.waitpid(_fork(folder, arguments), 0)[1] == 0
            left, right = (torch.load(one / "result.pt", weights_only=True) for one in (folder, whole))
            counts["resumed"] += len(left.pop("resumed_epochs"))
            assert right.pop("resumed_epochs") == []
            counts["equal"] += same(left, right)
    print(json.dumps(counts))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
