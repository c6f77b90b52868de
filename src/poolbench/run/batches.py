"""A cell's data: its images, split and laid out in batches."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from poolbench.cell import Cell
from poolbench.data import Batches, LoadedImages, resampled, split


@dataclass(frozen=True)
class Parts:
    """A cell's batches: the training and validation parts of the training set, and the test set.

    `seen` is the training part once more, as evaluation sees it: in order, without augmentation.
    """

    images: LoadedImages
    train: Batches
    seen: Batches
    val: Batches
    test: Batches
    val_indices: Tensor


def open_parts(cell: Cell) -> Parts:
    """Load the cell's images, where they are not loaded yet, and lay out its batches."""
    images = cell.dataset.load()
    protocol = cell.protocol
    spec = cell.config["dataset"]
    train_indices, val_indices = split(cell.task.strata(images.train.labels), spec["val_fraction"], cell.seed)
    if spec.get("resample"):
        train_indices = resampled(train_indices, cell.seed)
    shared: dict[str, Any] = {"device": cell.device, **as_evaluated(cell, images)}
    varied: dict[str, Any] = {"augment": spec.get("augment"), "shuffle": True, "move_targets": cell.task.move_targets}
    train = Batches(images.train, train_indices, protocol.batch_size, **varied, **shared)
    seen = Batches(images.train, train_indices, protocol.eval_batch_size, **shared)
    val = Batches(images.train, val_indices, protocol.eval_batch_size, **shared)
    test = Batches(images.test, torch.arange(len(images.test)), protocol.eval_batch_size, **shared)
    return Parts(images, train, seen, val, test, val_indices)


def as_evaluated(cell: Cell, images: LoadedImages) -> dict[str, Any]:
    """Return how all batches of a cell are made, as `Batches` takes it."""
    layout = cell.protocol.torch_memory_format
    return {"mean": images.mean, "std": images.std, "memory_format": layout, "seed": cell.seed}
