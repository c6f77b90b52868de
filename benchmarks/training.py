"""Training through poolbench against a bare PyTorch loop.

Both train the same network from equal weights on the same batches in memory, with the same augmentation, layout,
precision, optimiser and schedule, and validate after each epoch. They take turns step by step in one process: where
Lightning's loop has ended a step, the bare loops run theirs, so that a busy neighbour meets all alike. A step counts
from the end of the one before, drawing and augmenting its batch, metrics and progress included; the ratio is the
median of those of four steps each, one of which is scored where a task scores one in four. The rest of an epoch is
the validation and whatever is done until the next one's first step.

Two rivals stand between the two ends and say what costs: the bare loop with poolbench's sums of loss and hits, and a
Lightning module that only returns its loss.
"""

import argparse
import logging
import os
import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time

import lightning.pytorch as L
import torch
import yaml
from rich.console import Console
from torch import Tensor, nn
from turns import markdown, ratio, shown

from poolbench.backbones import assemble
from poolbench.data import Batches, HeldImages
from poolbench.environment import torch_optimizers
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

# Networks that give a class for every pixel: images and masks are cropped and mirrored together.
FOR_MASKS = ("unet", "fpn", "hypercolumn")
# Backbone, batch size, steps an epoch, epochs, side of an image, classes: an epoch lasts a second or two. In a step on
# 8 images the microseconds that Lightning and poolbench add, the same whatever the network does, are not lost in the
# network's own noise.
WORKLOADS = (
    ("slides", 128, 40, 14, 32, 10),
    ("slides", 8, 200, 14, 32, 10),
    ("resnet18", 32, 5, 10, 32, 10),
    ("unet", 8, 20, 8, 128, 2),
    ("unet", 8, 40, 8, 48, 11),
)
GROUP = 4
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": perf_counter, "process": process_time}


@dataclass
class Spent:
    """Seconds of each step, and of the rest of each epoch."""

    steps: list[float] = field(default_factory=list)
    rests: list[float] = field(default_factory=list)


Guest = Iterator[float]
"""What gives the seconds of an epoch's steps, one by one, then those of its rest, then the next epoch's."""


class Setting:
    """What all rivals have in common."""

    def __init__(
        self,
        backbone: str,
        batch_size: int,
        steps: int,
        epochs: int,
        image_size: int,
        classes: int,
        *,
        precision: str,
        layout: str,
    ) -> None:
        self.image_size, self.classes = image_size, classes
        self.backbone = yaml.safe_load((conf_dir() / "backbone" / f"{backbone}.yaml").read_text())
        self.task = Segmentation() if backbone in FOR_MASKS else Classification()
        self.steps = steps
        self.epochs = epochs
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

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return 3, self.image_size, self.image_size

    def _images(self, count: int, draw: torch.Generator) -> HeldImages:
        pixels = torch.randint(256, (count, self.image_size, self.image_size, 3), dtype=torch.uint8, generator=draw)
        targets = self.task.trial_targets(count, self.shape, self.classes, draw)
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
        images = {"in_channels": 3, "image_size": self.shape[1:], "num_classes": self.classes}
        output_shape = self.task.output_shape(self.shape, self.classes)
        found = assemble(self.backbone, {}, **images, seed=0, output_shape=output_shape)
        return found.network.to(memory_format=self.protocol.torch_memory_format)

    def autocast(self) -> torch.autocast:
        """Return the precision's context."""
        return torch.autocast("cpu", self.protocol.dtype, enabled=self.protocol.dtype is not torch.float32)


def bare_loop(setting: Setting, now: Clock, *, sums: bool) -> Guest:
    """Yield what a bare loop spends, with or without poolbench's sums in training."""
    network = setting.network()
    train, val = setting.batches()
    optimizer = setting.protocol.build_optimizer(network.parameters())
    schedule = setting.protocol.build_schedule(optimizer, setting.epochs * len(train))
    for epoch in range(setting.epochs):
        training, validation = EpochSums(), EpochSums()
        began = now()
        train.set_epoch(epoch)
        network.train()
        for number, (images, target) in enumerate(train):
            optimizer.zero_grad(set_to_none=True)
            with setting.autocast():
                logits = network(images)
                loss = setting.task.loss(logits, target)
            loss.backward()
            optimizer.step()
            if schedule:
                schedule.step()
            if sums:
                scored = number % setting.task.scored_every == 0
                training.add(loss, len(target), setting.task.scores(logits.detach(), target) if scored else None)
            yield now() - began
            began = now()
        network.eval()
        with torch.inference_mode(), setting.autocast():
            for images, target in val:
                logits = network(images).float()
                scores = setting.task.scores(logits, target)
                validation.add(setting.task.loss(logits, target), len(target), scores)
        validation.read()
        if sums:
            training.read()
        yield now() - began


class Turns(L.Callback):
    """Time the host's steps, and run one of each guest's behind each of them, in turning order."""

    def __init__(self, guests: dict[str, Guest], now: Clock) -> None:
        self.guests, self.now = guests, now
        self.host = Spent()
        self.times = {name: Spent() for name in guests}
        self.began = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch:
            self._rest()
        self.began = self.now()

    def on_train_batch_end(self, *_: object) -> None:
        self.host.steps.append(self.now() - self.began)
        self._others(lambda spent: spent.steps)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._rest()

    def _rest(self) -> None:
        self.host.rests.append(self.now() - self.began)
        self._others(lambda spent: spent.rests)

    def _others(self, which: Callable[[Spent], list[float]]) -> None:
        turned = len(self.host.steps) % 2
        for name in reversed(self.guests) if turned else self.guests:
            which(self.times[name]).append(next(self.guests[name]))
        self.began = self.now()


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


def through_lightning(setting: Setting, guests: dict[str, Guest], now: Clock) -> Turns:
    turns = Turns(guests, now)
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
        callbacks=[turns],
    )
    runner.fit(OnlyTheLoss(setting.network(), setting.protocol, setting.task), train, val)
    return turns


def through_poolbench(setting: Setting, guests: dict[str, Guest], now: Clock) -> Turns:
    turns = Turns(guests, now)
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
            callbacks=[turns],
            task=setting.task,
        )
    return turns


def grouped(steps: list[float]) -> list[float]:
    """Return the mean of each GROUP steps, of those at the end that are fewer, too."""
    return [statistics.mean(group) for group in (steps[at : at + GROUP] for at in range(0, len(steps), GROUP))]


def rows(setting: Setting, now: Clock) -> list[list[str]]:
    warm = setting.steps  # the first epoch warms up

    def row(name: str, spent: Spent, bare: Spent) -> list[str]:
        steps, bare_steps = (grouped(one.steps[warm:]) for one in (spent, bare))
        rate = setting.protocol.batch_size / median_interval(steps).median
        if spent is bare:
            return [name, f"{rate:,.0f}", "1", "0", "0"]
        above = [(a - b) * 1e6 for a, b in zip(steps, bare_steps, strict=True)]
        rest = [(a - b) * 1e3 for a, b in zip(spent.rests[1:], bare.rests[1:], strict=True)]
        figures = [ratio(bare_steps, steps), median_interval(above), median_interval(rest)]
        return [name, f"{rate:,.0f}", *(shown(one, digits) for one, digits in zip(figures, (3, 0, 1), strict=True))]

    def guests() -> dict[str, Guest]:
        return {"bare": bare_loop(setting, now, sums=False), "sums": bare_loop(setting, now, sums=True)}

    lightning, poolbench = through_lightning(setting, guests(), now), through_poolbench(setting, guests(), now)
    return [
        row("bare loop", poolbench.times["bare"], poolbench.times["bare"]),
        row("bare loop, with poolbench's sums", poolbench.times["sums"], poolbench.times["bare"]),
        row("Lightning, nothing logged", lightning.host, lightning.times["bare"]),
        row("poolbench", poolbench.host, poolbench.times["bare"]),
    ]


@torch_optimizers()  # the bare loop, too
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", help="with --batch-size, --steps and --epochs: this alone")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40, help="steps an epoch (%(default)s)")
    parser.add_argument("--epochs", type=int, default=14, help="of each rival, the first warms up (%(default)s)")
    parser.add_argument("--image-size", type=int, default=32, help="side of an image (%(default)s)")
    parser.add_argument("--classes", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--precision", default="float32", choices=list(LIGHTNING_PRECISION))
    parser.add_argument("--layout", default="channels_last", choices=["contiguous", "channels_last"])
    parser.add_argument(
        "--clock",
        default="wall",
        choices=list(CLOCKS),
        help="process: the processor's time of this process alone, for a machine that others use; with one thread",
    )
    parser.add_argument("--threads", type=int, help="torch's threads (as many as torch takes)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    allocator = ALLOCATOR.set("keep")
    print(f"{machine()['machine']}, {torch.get_num_threads()} threads, allocator {allocator}\n")
    sizes = (arguments.image_size, arguments.classes)
    one = (arguments.backbone, arguments.batch_size, arguments.steps, arguments.epochs, *sizes)
    for backbone, *lengths in [one] if arguments.backbone else WORKLOADS:
        setting = Setting(backbone, *lengths, precision=arguments.precision, layout=arguments.layout)
        print(
            f"{backbone}, batch {setting.protocol.batch_size} of {setting.image_size}×{setting.image_size}×3, "
            f"{setting.classes} classes, {arguments.precision}, {arguments.clock} clock, "
            f"{arguments.layout}: {setting.epochs} epochs of {setting.steps} steps and {setting.val_steps} of "
            "validation, crop and flip; medians with 95 % intervals\n"
        )
        header = ["", "training images/s", "ratio to bare", "µs a step above", "ms an epoch above, beside the steps"]
        print(markdown(header, rows(setting, CLOCKS[arguments.clock])), end="\n\n")


if __name__ == "__main__":
    main()
