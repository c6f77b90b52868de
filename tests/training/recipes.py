"""A small recipe, batches and a network to train by it, for tests."""

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from poolbench.streams import drawing, stream
from poolbench.training import Protocol
from poolbench.training.fit import fit
from poolbench.training.history import Fitted

TRAINER = {"accelerator": "cpu"}
RECIPE: dict[str, Any] = {
    "name": "test",
    "epochs": 3,
    "batch_size": 8,
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.05, "weight_decay": 0.1},
    "schedule": {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.05},
    "label_smoothing": 0.0,
    "precision": "float32",
    "memory_format": "contiguous",
    "select": "best",
    "deterministic": False,
    "compile": False,
    "eval_batch_size": 16,
}


def protocol(**changes: Any) -> Protocol:
    return Protocol.of(RECIPE | changes)


class Blobs:
    """Two classes whose mean brightness differs; the order of each epoch is drawn from its own stream."""

    def __init__(self, batches: int = 4, seed: int = 0, poison_epoch: int | None = None) -> None:
        draw = stream(seed, "blobs")
        self.target = torch.arange(batches * 8) % 2
        self.images = torch.randn(batches * 8, 1, 4, 4, generator=draw) + self.target.view(-1, 1, 1, 1)
        self.batches, self.epoch, self.poison_epoch = batches, 0, poison_epoch

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.target), generator=stream(0, "order", self.epoch))
        for rows in order.chunk(self.batches):
            images = self.images[rows]
            yield images * float("nan") if self.epoch == self.poison_epoch else images, self.target[rows]


def network(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with drawing(seed, "network"):
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


def weights(trained: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in trained.parameters()]


def run(net: nn.Module | None = None, train: Any = None, **changes: Any) -> Fitted:
    given: dict[str, Any] = {"protocol": protocol(), "trainer": TRAINER, "seed": 0} | changes
    return fit(net or network(), train or Blobs(), Blobs(seed=1), **given)


class StopsAtOnce(L.Callback):
    """Ask for the end of the training after its first step."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Ask for the end."""
        trainer.should_stop = True
