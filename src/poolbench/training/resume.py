"""An interrupted training goes on where an epoch began: what Lightning must be given back, and what it gives away.

Every stream of random numbers is drawn by (seed, name, epoch), so an epoch's beginning is an exact place: weights,
buffers, optimiser, schedule, the scale of float16's gradients and what callbacks keep are all there is. Lightning
collects and restores these. Its own way of restarting loops is left out: it is meant for checkpoints made inside an
epoch, and trains an empty one after those made at its beginning.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import numpy as np
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from poolbench.training.checkpoint import Checkpoints, Saved
from poolbench.training.history import Fitted

# What stands for a path where Lightning wants one: it leads to memory.
MEMORY = "poolbench-memory"
# A copy is made where an epoch begins, but not sooner after the last one than it takes this share of that time. The
# shortest copy is the measure, and others take up to twice as long: so all stay below a hundredth.
COPY_SHARE = 0.005
LOOPS = ("epoch_loop.batch_progress", "epoch_loop.automatic_optimization.optim_progress")


class Memory(TorchCheckpointIO):
    """Lightning's way to write and read checkpoints, of which that named `MEMORY` stays in memory.

    Args:
        saved: the checkpoint to go on from, if any.
    """

    def __init__(self, saved: Saved | None) -> None:
        self.saved = saved
        self.state: dict[str, Any] = {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Copy a checkpoint."""
        if path != MEMORY:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        self.state = copied({key: value for key, value in checkpoint.items() if key != "loops"})

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the checkpoint to go on from."""
        if path != MEMORY or self.saved is None:
            return super().load_checkpoint(path, *args, **kwargs)
        state, self.saved = self.saved.state, None
        return state


class Resume(L.Callback):
    """Keep what training would go on from, and write it where it is due or where training is ended.

    Args:
        checkpoints: where it is written.
        memory: where Lightning puts it.
        fitted: records at which epochs training was continued, and where.
        epochs: of the whole training.
    """

    def __init__(self, checkpoints: Checkpoints, memory: Memory, fitted: Fitted, epochs: int) -> None:
        self.checkpoints = checkpoints
        self.memory = memory
        self.fitted = fitted
        self.epochs = epochs
        # The epoch of the state in memory, None where it is on disk or was never taken.
        self.pending: int | None = None
        self.taken, self.cost_s = time.monotonic(), 0.0
        self.began = memory.saved.epoch if memory.saved else 0
        if not memory.saved:
            fitted.places[:] = [{"epoch": 0, **checkpoints.place}]

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the state in which the epoch begins, before any other callback changes it."""
        if trainer.current_epoch > self.began:
            if self.checkpoints.due():
                self._take(trainer)
                self.write()
            elif (time.monotonic() - self.taken) * COPY_SHARE >= self.cost_s:
                self._take(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the state after the last epoch, where it is due: what comes behind it may be interrupted, too."""
        if trainer.current_epoch >= self.epochs and self.checkpoints.due():
            self._take(trainer)
            self.write()

    def _take(self, trainer: L.Trainer) -> None:
        began = time.monotonic()
        self.pending = None
        trainer.save_checkpoint(MEMORY, weights_only=False)
        self.pending = trainer.current_epoch
        self.taken = time.monotonic()
        # The shortest that it took: a neighbour that was busy once should not make copies rare.
        self.cost_s = min(self.cost_s or math.inf, self.taken - began)

    def write(self) -> None:
        """Write the state in memory, unless it is on disk."""
        epoch, self.pending = self.pending, None
        if epoch is not None:
            self.checkpoints.write(epoch, self.memory.state)

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the loops' counters that are needed, and what is said of interruptions."""
        loops = checkpoint["loops"]["fit_loop"]
        checkpoint["progress"] = {name: loops[name] for name in LOOPS}
        checkpoint["next_epoch"] = trainer.current_epoch
        checkpoint["resumed_epochs"] = self.fitted.resumed_epochs
        checkpoint["places"] = self.fitted.places

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Set the loops' counters as they were, and note the interruption."""
        epoch = checkpoint["next_epoch"]
        loop = trainer.fit_loop
        for tracker in (loop.epoch_progress.total, loop.epoch_progress.current):
            tracker.load_state_dict(dict.fromkeys(("ready", "started", "processed", "completed"), epoch))
        batches, steps = (checkpoint["progress"][name] for name in LOOPS)
        loop.epoch_loop.batch_progress.load_state_dict(batches)
        loop.epoch_loop.automatic_optimization.optim_progress.load_state_dict(steps)
        self.fitted.resumed_epochs[:] = [*checkpoint["resumed_epochs"], epoch]
        self.fitted.places[:] = checkpoint["places"]
        here = self.checkpoints.place
        if {k: v for k, v in self.fitted.places[-1].items() if k != "epoch"} != here:
            self.fitted.places.append({"epoch": epoch, **here})


def copied(value: Any) -> Any:
    """Return a copy that later steps do not change: tensors on the CPU, with their strides, in plain containers."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, OrderedDict):
        # A state dict: layers' versions are an attribute of it.
        made = OrderedDict((key, copied(item)) for key, item in value.items())
        if hasattr(value, "_metadata"):
            made._metadata = {name: dict(entry) for name, entry in value._metadata.items()}  # type: ignore[attr-defined]
        return made
    if type(value) is dict or (isinstance(value, Mapping) and not isinstance(value, dict)):
        return {key: copied(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(copied(item) for item in value)
    return value
