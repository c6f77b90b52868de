"""Training through poolbench against a bare PyTorch loop.

Both train the same network from equal weights on the same batches in memory, with the same augmentation, layout,
precision, optimiser and schedule, and validate after each epoch. They take turns epoch by epoch in one process: while
Lightning's loop stands at an epoch's boundary, the bare loops run theirs. The steps count from the epoch's boundary
to the beginning of the validation, drawing and augmenting the batches, metrics and progress included: that is the
ratio. What a step costs above the bare loop's is the difference of an epoch's median steps, which a busy neighbour
moves least. The rest of an epoch is the validation and whatever Lightning and poolbench do until the next boundary.

Two rivals stand between the two ends and say what costs: the bare loop with poolbench's sums of loss and hits, and a
Lightning module that only returns its loss.
"""

import argparse
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import lightning.pytorch as L
import torch
import yaml
from rich.console import Console
from torch import Tensor, nn
from turns import markdown, ratio, shown

from poolbench.backbones import assemble
from poolbench.data import Batches, HeldImages
from poolbench.measure.allocator import ALLOCATOR
from poolbench.measure.machine import machine
from poolbench.measure.timing import median_interval
from poolbench.paths import conf_dir
from poolbench.sweep.progress import SweepProgress
from poolbench.tasks import Classification, Segmentation, Task
from poolbench.training import Protocol
from poolbench.training.fit import fit
from poolbench.training.module import EpochSums
from poolbench.training.protocol import LIGHTNING_PRECISION

SIZE, CLASSES = 32, 10
# Networks that give a class for every pixel: images and masks are cropped and mirrored together.
FOR_MASKS = ("unet", "fpn", "hypercolumn")
# Backbone, batch size, steps an epoch, epochs: an epoch lasts a second or two. In a step on 8 images the microseconds
# that Lightning and poolbench add, the same whatever the network does, are not lost in the network's own noise.
WORKLOADS = (("slides", 128, 40, 14), ("slides", 8, 200, 14), ("resnet18", 32, 5, 10))
Spent = tuple[float, float, float]
"""Seconds of an epoch's steps, of the median one, and of the epoch's rest."""
Epoch = Callable[[int], Spent]


class Setting:
    """What all rivals have in common."""

    def __init__(self, backbone: str, batch_size: int, steps: int, epochs: int, *, precision: str, layout: str) -> None:
        self.backbone = yaml.safe_load((conf_dir() / "backbone" / f"{backbone}.yaml").read_text())
        self.task = Segmentation() if backbone in FOR_MASKS else Classification()
        self.steps = steps
        self.epochs = epochs + epochs % 2  # the guests run two epochs at every other boundary
        recipe = yaml.safe_load((conf_dir() / "protocol" / "default.yaml").read_text())
        self.protocol = Protocol.of(
            recipe
            | {
                "epochs": self.epochs,
                "batch_size": batch_size,
                "precision": precision,
                "memory_format": layout,
            }
        )
        draw = torch.Generator().manual_seed(0)
        self.train_images = self._images(steps * batch_size, draw)
        self.val_steps = max(1, steps // 10)
        self.val_images = self._images(self.val_steps * batch_size, draw)

    def _images(self, count: int, draw: torch.Generator) -> HeldImages:
        pixels = torch.randint(256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=draw)
        targets = self.task.trial_targets(count, (3, SIZE, SIZE), CLASSES, draw)
        return HeldImages(pixels, targets if targets.ndim == 1 else targets.to(torch.uint8))

    def batches(self) -> tuple[Batches, Batches]:
        """Return training and validation batches of a rival's own."""
        shared = {"seed": 0, "mean": (0.5,) * 3, "std": (0.25,) * 3, "memory_format": self.protocol.torch_memory_format}
        size = self.protocol.batch_size
        varied = {"augment": {"crop_padding": 4, "flip": True}, "move_targets": self.task.move_targets}
        train = Batches(self.train_images, torch.arange(len(self.train_images)), size, shuffle=True, **varied, **shared)
        return train, Batches(self.val_images, torch.arange(len(self.val_images)), size, **shared)

    def network(self) -> nn.Module:
        """Return the network, its weights equal for all rivals."""
        images = {"in_channels": 3, "image_size": (SIZE, SIZE), "num_classes": CLASSES}
        output_shape = self.task.output_shape((3, SIZE, SIZE), CLASSES)
        found = assemble(self.backbone, {}, **images, seed=0, output_shape=output_shape)
        return found.network.to(memory_format=self.protocol.torch_memory_format)

    def autocast(self) -> torch.autocast:
        """Return the precision's context."""
        return torch.autocast("cpu", self.protocol.dtype, enabled=self.protocol.dtype is not torch.float32)


def bare_loop(setting: Setting, *, sums: bool) -> Epoch:
    """Return the epoch of a bare loop, with or without poolbench's with poolbench's sums in training."""
    network = setting.network()
    train, val = setting.batches()
    optimizer = setting.protocol.build_optimizer(network.parameters())
    schedule = setting.protocol.build_schedule(optimizer, setting.epochs * len(train))

    def epoch(number: int) -> Spent:
        steps: list[float] = []
        began = time.perf_counter()
        training, validation = EpochSums(), EpochSums()
        train.set_epoch(number)
        network.train()
        for images, target in train:
            optimizer.zero_grad(set_to_none=True)
            with setting.autocast():
                logits = network(images)
                loss = setting.task.loss(logits, target)
            loss.backward()
            optimizer.step()
            if schedule:
                schedule.step()
            if sums:
                training.add(loss, setting.task.scores(logits.detach(), target))
            steps.append(time.perf_counter())
        stepped = time.perf_counter()
        network.eval()
        with torch.inference_mode(), setting.autocast():
            for images, target in val:
                logits = network(images).float()
                validation.add(setting.task.loss(logits, target), setting.task.scores(logits, target))
        validation.read()
        if sums:
            training.read()
        return stepped - began, median_step(steps), time.perf_counter() - stepped

    return epoch


def median_step(ends: Sequence[float]) -> float:
    return statistics.median(b - a for a, b in pairwise(ends))


class Boundaries(L.Callback):
    """Time the host's epochs from boundary to boundary, and run the guests' at every other one.

    The order is host, guests, guests, host, host, guests, …: each pair is as near as it can be, and neither is
    always first.
    """

    def __init__(self, guests: dict[str, Epoch]) -> None:
        self.guests = guests
        self.host: list[Spent] = []
        self.times: dict[str, list[Spent]] = {name: [] for name in guests}
        self.began = self.stepped = 0.0
        self.steps: list[float] = []

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch:
            self._stop()
        if trainer.current_epoch % 2:
            for order in (list(self.guests), list(reversed(self.guests))):
                for name in order:
                    self.times[name].append(self.guests[name](len(self.times[name])))
        self.steps = []
        self.began = time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        self.steps.append(time.perf_counter())

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.stepped = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._stop()

    def _stop(self) -> None:
        self.host.append((self.stepped - self.began, median_step(self.steps), time.perf_counter() - self.stepped))


class OnlyTheLoss(L.LightningModule):
    """Lightning's floor: nothing logged, nothing summed in training."""

    def __init__(self, network: nn.Module, protocol: Protocol, task: Task) -> None:
        super().__init__()
        self.network, self.protocol, self.task = network, protocol, task

    def configure_optimizers(self) -> object:
        optimizer = self.protocol.build_optimizer(self.network.parameters())
        schedule = self.protocol.build_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.task.loss(self.network(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.task.loss(self.network(batch[0]), batch[1])


def through_lightning(setting: Setting, guests: dict[str, Epoch]) -> Boundaries:
    boundaries = Boundaries(guests)
    train, val = setting.batches()
    runner = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=setting.epochs,
        precision=LIGHTNING_PRECISION[setting.protocol.precision],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[boundaries],
    )
    runner.fit(OnlyTheLoss(setting.network(), setting.protocol, setting.task), train, val)
    return boundaries


def through_poolbench(setting: Setting, guests: dict[str, Epoch]) -> Boundaries:
    boundaries = Boundaries(guests)
    train, val = setting.batches()
    with Path(os.devnull).open("w") as nowhere, SweepProgress(Console(file=nowhere, force_terminal=True), 1) as bar:
        bar.begin("benchmark", setting.epochs)
        fit(
            setting.network(),
            train,
            val,
            protocol=setting.protocol,
            trainer={"accelerator": "cpu"},
            seed=0,
            progress=bar,
            callbacks=[boundaries],
            task=setting.task,
        )
    return boundaries


def rows(setting: Setting) -> list[list[str]]:
    images = setting.steps * setting.protocol.batch_size

    def row(name: str, spent: Sequence[Spent], bare: Sequence[Spent]) -> list[str]:
        (steps, ones, rests), (bare_steps, bare_ones, bare_rests) = (zip(*s[1:], strict=True) for s in (spent, bare))
        above = [(a - b) * 1e6 for a, b in zip(ones, bare_ones, strict=True)]
        rest = [(a - b) * 1e3 for a, b in zip(rests, bare_rests, strict=True)]
        rate = images / median_interval(steps).median
        figures = [
            shown(ratio(bare_steps, steps), 3),
            shown(median_interval(above), 0),
            shown(median_interval(rest), 1),
        ]
        return [name, f"{rate:,.0f}", *(["1", "0", "0"] if spent is bare else figures)]

    def guests() -> dict[str, Epoch]:
        return {"bare": bare_loop(setting, sums=False), "sums": bare_loop(setting, sums=True)}

    lightning, poolbench = through_lightning(setting, guests()), through_poolbench(setting, guests())
    return [
        row("bare loop", poolbench.times["bare"], poolbench.times["bare"]),
        row("bare loop, with poolbench's sums", poolbench.times["sums"], poolbench.times["bare"]),
        row("Lightning, nothing logged", lightning.host, lightning.times["bare"]),
        row("poolbench", poolbench.host, poolbench.times["bare"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", help="with --batch-size, --steps and --epochs: this alone")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40, help="steps an epoch (%(default)s)")
    parser.add_argument("--epochs", type=int, default=14, help="of each rival, the first warms up (%(default)s)")
    parser.add_argument("--precision", default="float32", choices=list(LIGHTNING_PRECISION))
    parser.add_argument("--layout", default="channels_last", choices=["contiguous", "channels_last"])
    parser.add_argument("--threads", type=int, help="torch's threads (as many as torch takes)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    allocator = ALLOCATOR.set("keep")
    print(f"{machine()['machine']}, {torch.get_num_threads()} threads, allocator {allocator}\n")
    one = (arguments.backbone, arguments.batch_size, arguments.steps, arguments.epochs)
    for backbone, *lengths in [one] if arguments.backbone else WORKLOADS:
        setting = Setting(backbone, *lengths, precision=arguments.precision, layout=arguments.layout)
        print(
            f"{backbone}, batch {setting.protocol.batch_size} of {SIZE}×{SIZE}×3, {arguments.precision}, "
            f"{arguments.layout}: {setting.epochs} epochs of {setting.steps} steps and {setting.val_steps} of "
            "validation, crop and flip; medians with 95 % intervals\n"
        )
        header = ["", "training images/s", "ratio to bare", "µs a step above", "ms an epoch above, beside the steps"]
        print(markdown(header, rows(setting)), end="\n\n")


if __name__ == "__main__":
    main()
