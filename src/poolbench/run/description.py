"""What a record says besides results: what the cell is, its task and data, what it ran on."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from poolbench.cell import Cell
from poolbench.data import LoadedImages, Task
from poolbench.kernels.autocast import products_in_float32
from poolbench.measure.allocator import ALLOCATOR
from poolbench.measure.machine import machine, revision
from poolbench.own_code import own_code
from poolbench.paths import PACKAGE
from poolbench.record import SCHEMA
from poolbench.run.batches import Parts
from poolbench.score import ACCURACY, CLASSIFICATION


def blank(cell: Cell, attempts: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a record of the cell that says what it is, and nothing yet of what came out."""
    ended = {"attempts": [dict(attempt) for attempt in attempts]} if attempts else {}
    return {
        "schema": SCHEMA,
        "run_id": cell.identity.run_id,
        "arm_id": cell.identity.arm_id,
        "block_id": cell.identity.block_id,
        "status": "failed",
        "reason": "",
        "experiment": cell.settings.name,
        "labels": dict(cell.labels),
        "reference": cell.settings.reference,
        "margin": cell.settings.margin,
        **_of_task(cell.task),
        "seed": cell.seed,
        "config": dict(cell.config),
        "metrics": {},
        "cost": {},
        "audit": {},
        "data": {},
        "history": [],
        "streams": {},
        "times": {"started": now()},
        "provenance": provenance(cell.device, cell.protocol.dtype)
        | {"command": list(cell.settings.command), "own_code": own_code(cell.config)}
        | ended,
        "files": {},
    }


def _of_task(task: Task) -> dict[str, Any]:
    """Return what a record says of its task; a classification has no entry."""
    if (task.name, task.score) == (CLASSIFICATION, ACCURACY):
        return {}
    beside = {"beside": [score.shown() for score in task.beside]} if task.beside else {}
    return {"task": {"name": task.name, "score": task.score.shown()} | beside}


def of_data(cell: Cell, parts: Parts) -> dict[str, Any]:
    """Return what a record says of its data."""
    images = parts.images
    return {
        "sha256": images.digest,
        "train_images": parts.train.images,
        "val_images": parts.val.images,
        "test_images": parts.test.images,
        "classes": list(images.class_names),
        "mean": list(images.mean),
        "std": list(images.std),
        "notes": list(images.notes),
        **_of_examples(cell, images),
        **({} if images.test_strata is None else {"strata": list(images.test_strata.names)}),
    }


def _of_examples(cell: Cell, images: LoadedImages) -> dict[str, Any]:
    """Return what a record says of examples that are not square images of uint8, as most are."""
    shape, dtype = cell.input_shape, images.train.gather(torch.zeros(1, dtype=torch.int64)).dtype
    square = len(shape) == 3 and shape[1] == shape[2]
    found: dict[str, Any] = {} if square else {"shape": list(shape)}
    return found if dtype == torch.uint8 else found | {"dtype": str(dtype).removeprefix("torch.")}


def weight_digests(network: nn.Module) -> dict[str, str]:
    """Return a digest of each parameter by its name: equal digests are equal starting weights."""
    return {
        name: blake2b(parameter.detach().cpu().contiguous().numpy().tobytes(), digest_size=8).hexdigest()
        for name, parameter in network.named_parameters()
    }


def provenance(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return what was run, on what: versions, revision, machine, device, threads, allocator.

    Where `dtype` is bfloat16 and the processor has no instructions for it, `products` says how they were computed.
    """
    commit, dirty = package_revision()
    return {
        "poolbench": version("poolbench"),
        "revision": commit,
        "dirty": dirty,
        **machine(device),
        "threads": torch.get_num_threads(),
        "allocator": ALLOCATOR.in_force,
        **({"products": "float32"} if products_in_float32(device, dtype) else {}),
    }


def package_revision() -> tuple[str | None, bool | None]:
    """Return the commit of this package's code, and whether it was changed since; see `measure.machine.revision`."""
    return revision(PACKAGE)


def now() -> str:
    """Return the time in UTC, to a millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
