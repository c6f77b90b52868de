"""A few test examples with their targets and what the trained network makes of them, to be looked at."""

from typing import Any

import numpy as np
import torch
from torch import nn

from poolbench.data import Batches, ImageSource, Task
from poolbench.training.fit import outputs
from poolbench.training.protocol import Protocol

PICTURES = 6
# Of larger images a window in the middle is kept: a record should stay small.
MOST_PIXELS = 96


def pictures(
    network: nn.Module, test: ImageSource, task: Task, *, protocol: Protocol, device: torch.device, **batches: Any
) -> dict[str, np.ndarray] | None:
    """Return test images spread evenly over the test set, the same for every arm and seed; None where none are shown.

    Args:
        network: trained.
        test: the test set.
        task: says what is shown of an output (`Task.shown`); tasks of which nothing is shown give None.
        protocol: of the training.
        device: of the network.
        batches: `mean`, `std`, `seed` and `memory_format` of `Batches`.

    Returns:
        `row` in the test set, (K,); `example` (K, C, H, W), as it is stored; `target` and `given`, (K, H, W).
    """
    if len(test.shape) != 3:
        return None
    rows = torch.linspace(0, len(test) - 1, min(PICTURES, len(test))).round().long().unique()
    shown = Batches(test, rows, len(rows), device=device, **batches)
    given = [task.shown(output) for output, _ in outputs(network, shown, protocol, device)]
    if any(one is None for one in given):
        return None
    height, width = test.shape[1:]
    high, wide = min(height, MOST_PIXELS), min(width, MOST_PIXELS)
    top, left = (height - high) // 2, (width - wide) // 2
    found = {"example": test.gather(rows), "target": test.labels[rows], "given": torch.cat(given)}  # type: ignore[arg-type]
    window = {
        name: values.cpu()[..., top : top + high, left : left + wide].contiguous().numpy()
        for name, values in found.items()
    }
    return {"row": rows.numpy()} | window
