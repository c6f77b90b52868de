"""What checkpoints cost: a copy of the state in memory where each epoch begins, and a file now and then.

First each backbone is trained on a few batches with a file at every epoch, and both are timed: what Lightning collects
and is copied, and what is serialised, written, synced and renamed. What a file costs of the time is its milliseconds
over the default `protocol.checkpoint_every_s`, within which there is at most one.

Then whole cells are trained by the default protocol: how long they took, how many files they wrote, and which part of
the time the copies were. They are made so seldom that they stay at a hundredth of it.
"""

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import yaml
from torch import nn
from turns import markdown, shown

from poolbench.backbones import assemble
from poolbench.data import Batches, HeldImages, open_dataset, split
from poolbench.measure.allocator import ALLOCATOR
from poolbench.measure.machine import machine
from poolbench.measure.timing import median_interval
from poolbench.paths import conf_dir
from poolbench.training import Checkpoints, Protocol
from poolbench.training.fit import fit
from poolbench.training.resume import MEMORY

BACKBONES = ("slides", "resnet20", "resnet18")
SIZE, CLASSES, BATCH = 32, 10, 8


def chosen(group: str, name: str) -> dict[str, Any]:
    """Return a choice as its YAML says."""
    return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())


class Timed(Checkpoints):
    """Checkpoints that time what they write."""

    def __init__(self, folder: Path, every_s: float) -> None:
        super().__init__(folder, every_s=every_s, key={"run_id": "benchmark"})
        self.seconds: list[float] = []
        self.mib = 0.0

    def write(self, epoch: int, state: Mapping[str, Any]) -> bool:
        began = time.perf_counter()
        written = super().write(epoch, state)
        self.seconds.append(time.perf_counter() - began)
        self.mib = (self.folder / f"checkpoint-{epoch:06d}.pt").stat().st_size / 2**20
        return written


class Copying(L.Callback):
    """Time the copy that is made where an epoch begins, by making it again."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch:
            began = time.perf_counter()
            trainer.save_checkpoint(MEMORY, weights_only=False)
            self.seconds.append(time.perf_counter() - began)


class Counting(L.Callback):
    """Count the copies that are made: each asks a callback for its state."""

    def __init__(self) -> None:
        self.copies = 0

    def state_dict(self) -> dict[str, Any]:
        self.copies += 1
        return {}


def network(backbone: str, channels: int, size: int) -> nn.Module:
    """Return a backbone with its own pooling."""
    spec = chosen("backbone", backbone)
    found = assemble(spec, {}, in_channels=channels, image_size=(size, size), num_classes=CLASSES, seed=0)
    return found.network


def costs(backbone: str, epochs: int, every_s: float, folder: Path) -> tuple[float, list[str]]:
    """Return milliseconds of a copy, and a row: parameters, size of a file, a copy, a file, share of the time."""
    protocol = Protocol.of(chosen("protocol", "default") | {"epochs": epochs, "batch_size": BATCH})
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (2 * BATCH, SIZE, SIZE, 3), dtype=torch.uint8, generator=draw)
    images = HeldImages(pixels, torch.randint(CLASSES, (2 * BATCH,), generator=draw))
    shared: dict[str, Any] = {"seed": 0, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    train = Batches(images, torch.arange(len(pixels)), BATCH, shuffle=True, **shared)
    val = Batches(images, torch.arange(BATCH), BATCH, **shared)
    net, copying, files = network(backbone, 3, SIZE), Copying(), Timed(folder, 0)
    fit(
        net,
        train,
        val,
        protocol=protocol,
        trainer={"accelerator": "cpu"},
        seed=0,
        callbacks=[copying],
        checkpoints=files,
    )
    # The first file is read back to see that it can be, and the first copy finds nothing in the caches.
    written = median_interval([1e3 * seconds for seconds in files.seconds[1:]])
    copied = median_interval([1e3 * seconds for seconds in copying.seconds[1:]])
    return copied.median, [
        backbone,
        f"{sum(parameter.numel() for parameter in net.parameters()):,}",
        f"{files.mib:.2f}",
        shown(copied, 2),
        shown(written, 1),
        f"{written.median / 10 / every_s:.3f} %",
    ]


def cell(backbone: str, seed: int, copy_ms: float, folder: Path) -> list[str]:
    """Return a row: a whole cell on the digits by the default protocol."""
    protocol = Protocol.of(chosen("protocol", "default"))
    spec = chosen("dataset", "digits")
    images = open_dataset(spec).load()
    train_rows, val_rows = split(images.train.labels, spec["val_fraction"], seed)
    shared: dict[str, Any] = {"seed": seed, "mean": images.mean, "std": images.std}
    train = Batches(images.train, train_rows, protocol.batch_size, shuffle=True, **shared)
    val = Batches(images.train, val_rows, protocol.eval_batch_size, **shared)
    counting, files = Counting(), Timed(folder, protocol.checkpoint_every_s)
    began = time.perf_counter()
    fit(
        network(backbone, 1, spec["image_size"]),
        train,
        val,
        protocol=protocol,
        trainer={"accelerator": "cpu"},
        seed=seed,
        callbacks=[counting],
        checkpoints=files,
    )
    spent = time.perf_counter() - began
    share = f"{copy_ms * counting.copies / spent / 10:.2f} %"
    return [f"{backbone}, seed {seed}", f"{spent:.2f}", str(len(files.seconds)), str(counting.copies), share]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=24, help="with a checkpoint each (%(default)s)")
    parser.add_argument("--cells", type=int, default=3, help="whole cells (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where files are written (the system's temporary folder)")
    parser.add_argument("--threads", type=int, help="torch's threads (as many as torch takes)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    every_s = Protocol.of(chosen("protocol", "default")).checkpoint_every_s
    allocator = ALLOCATOR.set("keep")
    print(f"{machine()['machine']}, {torch.get_num_threads()} threads, allocator {allocator}\n")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        found = {backbone: costs(backbone, arguments.epochs, every_s, Path(name) / backbone) for backbone in BACKBONES}
        header = ["", "parameters", "MiB", "copy, ms an epoch", "file, ms", f"one file in {every_s:g} s is"]
        print(markdown(header, [row for _, row in found.values()]), end="\n\n")
        copy_ms = found["slides"][0]
        cells = [cell("slides", seed, copy_ms, Path(name) / f"cell-{seed}") for seed in range(arguments.cells)]
        print(markdown(["whole cells on the digits", "s", "files", "copies", "copies are"], cells))


if __name__ == "__main__":
    main()
