"""The speed record of an arm: measured against its reference on this machine, after the training, once."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from poolbench.cell import Cell
from poolbench.errors import ConfigurationError
from poolbench.measure.allocator import ALLOCATOR
from poolbench.measure.implementations import implementations, summary
from poolbench.measure.machine import machine
from poolbench.measure.speed import network_speed
from poolbench.measure.stopwatch import stopwatch_for
from poolbench.record import SCHEMA, read_speed, write_json


def speed_path(cell: Cell) -> Path:
    """Return where the arm's speed record of this machine lies."""
    return cell.settings.speeds / f"{cell.identity.arm_id}-{machine(cell.device)['machine_id']}.json"


def measured(cell: Cell, reference: Cell) -> bool:
    """Whether the arm's speed beside this reference, on this machine with its present settings, is on record."""
    try:
        speed = read_speed(speed_path(cell))
    except (ConfigurationError, OSError):
        return False
    now = _identity(cell, reference)
    same = ("arm_id", "reference_arm_id", "machine_id", "threads", "allocator")
    compiled = cell.protocol.compile
    # Older records do not say it: nothing was compiled for them.
    return all(speed.get(key) == now[key] for key in same) and speed.get("compiled", False) == compiled


def measure_arm(cell: Cell, reference: Cell, *, budget_s: float, half_width: float) -> dict[str, Any]:
    """Measure the arm's speed beside the reference's, write the record and return it.

    `budget_s` bounds each quantity's measurement in seconds, `half_width` is the relative half-width of the ratio's
    interval that ends it earlier.
    """
    protocol = cell.protocol
    itself = cell.identity.arm_id == reference.identity.arm_id
    arm = cell.assemble().network
    other = arm if itself else reference.assemble().network
    look = partial(
        implementations,
        input_shape=cell.input_shape,
        device=cell.device,
        dtype=protocol.dtype,
        memory_format=protocol.torch_memory_format,
        batch_size=protocol.batch_size,
    )
    stopwatch = stopwatch_for(cell.device)
    quantities = network_speed(
        arm,
        other,
        input_shape=cell.input_shape,
        num_classes=cell.dataset.num_classes,
        task=cell.task,
        batch_size=protocol.batch_size,
        device=cell.device,
        precision=protocol.precision,
        memory_format=protocol.memory_format,
        optimizer_factory=protocol.build_optimizer,
        label_smoothing=protocol.label_smoothing,
        compiled=protocol.compile,
        stopwatch=stopwatch,
        budget_s=budget_s,
        half_width=half_width,
    )
    record = _identity(cell, reference) | {
        "memory_format": protocol.memory_format,
        "precision": protocol.precision,
        "batch_size": protocol.batch_size,
        "compiled": protocol.compile,
        "clock": stopwatch.name,
        "implementation": summary(look(arm)),
        "reference_implementation": summary(look(other)),
        "quantities": quantities,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(speed_path(cell), record)
    return record


def _identity(cell: Cell, reference: Cell) -> dict[str, Any]:
    here = machine(cell.device)
    return {
        "schema": SCHEMA,
        "arm_id": cell.identity.arm_id,
        "block_id": cell.identity.block_id,
        "reference_arm_id": reference.identity.arm_id,
        "labels": dict(cell.labels),
        "reference": cell.settings.reference,
        **here,
        "threads": torch.get_num_threads(),
        "allocator": ALLOCATOR.in_force,
    }
