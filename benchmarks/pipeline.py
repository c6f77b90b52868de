"""Training from images to weights: the customary pipeline against poolbench, end to end.

Customary is what a tutorial leads to: a Dataset that makes a PIL image of each array, torchvision's RandomCrop(32,
padding=4), RandomHorizontalFlip, ToTensor and Normalize image by image, a DataLoader with 2 workers, and Lightning's
defaults with its progress bar, CSV logger, checkpoints and self.log. poolbench augments whole batches and logs once
an epoch. All train the slides' network with the same optimiser and schedule on the same arrays, and validate after
each epoch. What is timed is the whole of `fit`, its set-up and its workers' start included. Each rival has a process
of its own, and they take turns.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from turns import Rival, in_turns, markdown, ratio, serve, shown

from poolbench.environment import torch_optimizers
from poolbench.measure.allocator import ALLOCATOR
from poolbench.measure.machine import machine
from poolbench.measure.timing import median_interval

SIZE, CLASSES, BATCH = 32, 10, 128
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
# Precision, layout, whether the C library keeps freed memory (what `poolbench train` sets by default).
SETTINGS = {
    "customary": ("float32", "contiguous", "system"),
    "poolbench, precision and layout as customary": ("float32", "contiguous", "keep"),
    "poolbench, channels_last": ("float32", "channels_last", "keep"),
    "poolbench, channels_last and bfloat16": ("bfloat16", "channels_last", "keep"),
}


def pixels(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=draw)
    return images, torch.randint(CLASSES, (count,), generator=draw)


def recipe(name: str, epochs: int) -> Any:
    import yaml

    from poolbench.paths import conf_dir
    from poolbench.training import Protocol

    precision, layout, _ = SETTINGS[name]
    config = yaml.safe_load((conf_dir() / "protocol" / "default.yaml").read_text())
    return Protocol.of(
        config | {"epochs": epochs, "batch_size": BATCH, "precision": precision, "memory_format": layout}
    )


def network() -> torch.nn.Module:
    from poolbench.backbones import Slides

    return Slides(3, CLASSES, (SIZE, SIZE))


def customary(protocol: Any, train_count: int, val_count: int) -> float:
    import lightning.pytorch as L
    import torch.nn.functional as F
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchmetrics.classification import MulticlassAccuracy
    from torchvision import transforms

    class Arrays(Dataset):
        def __init__(self, count: int, seed: int, transform: Any) -> None:
            images, self.labels = pixels(count, seed)
            self.images, self.transform = images.numpy(), transform

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()
            self.accuracy = MulticlassAccuracy(CLASSES)

        def configure_optimizers(self) -> Any:
            optimizer = protocol.build_optimizer(self.network.parameters())
            schedule = protocol.build_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            images, target = batch
            loss = F.cross_entropy(self.network(images), target)
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            images, target = batch
            logits = self.network(images)
            self.accuracy(logits, target)
            self.log("val_loss", F.cross_entropy(logits, target), prog_bar=True)
            self.log("val_acc", self.accuracy, prog_bar=True)

    plain = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    varied = transforms.Compose([transforms.RandomCrop(SIZE, padding=4), transforms.RandomHorizontalFlip(), *plain])
    train = DataLoader(Arrays(train_count, 0, varied), BATCH, shuffle=True, num_workers=2, drop_last=True)
    val = DataLoader(Arrays(val_count, 1, transforms.Compose(plain)), BATCH, num_workers=2)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        L.Trainer(max_epochs=protocol.epochs, accelerator="cpu", default_root_dir=folder).fit(Module(), train, val)
        return time.perf_counter() - began


def poolbench(protocol: Any, train_count: int, val_count: int) -> float:
    from rich.console import Console

    from poolbench.data import Batches, HeldImages
    from poolbench.sweep.progress import SweepProgress
    from poolbench.training.fit import fit

    shared = {"seed": 0, "mean": MEAN, "std": STD, "memory_format": protocol.torch_memory_format}
    crop_flip = {"crop_padding": 4, "flip": True}
    train = Batches(
        HeldImages(*pixels(train_count, 0)),
        torch.arange(train_count),
        BATCH,
        augment=crop_flip,
        shuffle=True,
        **shared,
    )
    val = Batches(HeldImages(*pixels(val_count, 1)), torch.arange(val_count), protocol.eval_batch_size, **shared)
    with Path(os.devnull).open("w") as nowhere, SweepProgress(Console(file=nowhere, force_terminal=True), 1) as bar:
        began = time.perf_counter()
        fit(network(), train, val, protocol=protocol, trainer={"accelerator": "cpu"}, seed=0, progress=bar)
        return time.perf_counter() - began


def serve_rival(text: str) -> None:
    given = json.loads(text)
    ALLOCATOR.set(SETTINGS[given["name"]][2])
    if given["threads"]:
        torch.set_num_threads(given["threads"])
    train = customary if given["name"] == "customary" else poolbench

    def answer(epochs: int, train_images: int, val_images: int) -> float:
        return train(recipe(given["name"], epochs), train_images, val_images)

    serve(answer)


@torch_optimizers()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5120, help="to train on (%(default)s)")
    parser.add_argument("--val-images", type=int, default=1024, help="to validate on (%(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="of a turn (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each rival, after one to warm up (%(default)s)")
    parser.add_argument("--threads", type=int, help="torch's threads in each rival (as many as torch takes)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_rival(arguments.serve)
        return
    rivals = {
        name: Rival(__file__, json.dumps({"name": name, "threads": arguments.threads}), {"PYTHONWARNINGS": "ignore"})
        for name in SETTINGS
    }
    print(
        f"{machine()['machine']}, {arguments.threads or torch.get_num_threads()} threads\n"
        f"slides, batch {BATCH} of {SIZE}×{SIZE}×3: {arguments.epochs} epochs of {arguments.images} images and "
        f"{arguments.val_images} to validate; medians of {arguments.rounds} turns with 95 % intervals\n"
    )
    request = {"epochs": arguments.epochs, "train_images": arguments.images, "val_images": arguments.val_images}
    times = in_turns(list(rivals), lambda name: rivals[name].ask(**request), arguments.rounds)
    for rival in rivals.values():
        rival.end()
    images = arguments.epochs * arguments.images
    rows = [
        [name, f"{images / median_interval(taken).median:,.0f}", shown(ratio(times["customary"], taken))]
        for name, taken in times.items()
    ]
    print(markdown(["", "images/s", "ratio to customary"], rows))


if __name__ == "__main__":
    main()
