"""The Lightning module: a network, its loss, sums that are read once an epoch, and what a checkpoint holds of it.

Lightning's logging costs more than a small network's step, so nothing is logged in a step: losses and scores are
summed on the device and read when the epoch ends.
"""

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from poolbench.data import Task
from poolbench.kernels.autocast import products
from poolbench.streams import seed_of
from poolbench.tasks import Classification
from poolbench.training.protocol import Protocol


class EpochSums:
    """Loss and score of an epoch. A step only keeps what it has; the sums are made, and the device waited for, once."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.losses: list[Tensor] = []
        self.sizes: list[Tensor | int] = []
        self.scores: list[Tensor | None] = []

    def add(self, loss: Tensor, size: Tensor | int, scores: Tensor | None) -> None:
        """Add a batch: its `loss`, the mean of `size` numbers, and its `scores`, (B,), unless it was not scored."""
        self.losses.append(loss.detach())
        self.sizes.append(size)
        self.scores.append(scores)

    def first_not_finite(self, begin: int = 0) -> int | None:
        """Return the first batch from `begin` on whose loss is NaN or infinite, None where all are numbers."""
        losses = torch.stack(self.losses[begin:]).tolist() if self.losses[begin:] else []
        return next((begin + i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)

    def keep(self, batches: int) -> None:
        """Forget all but the first `batches`."""
        del self.losses[batches:], self.sizes[batches:], self.scores[batches:]

    def read(self) -> tuple[float, float]:
        """Return mean loss and score of what was added since the last reading, NaN for nothing."""
        if not self.losses:
            return float("nan"), float("nan")
        sizes = torch.stack([torch.as_tensor(size) for size in self.sizes]).double().cpu()
        losses = torch.stack(self.losses).double().cpu()
        scored = [scores for scores in self.scores if scores is not None]
        score = torch.cat(scored).double().nanmean() if scored else float("nan")
        self.reset()
        return float((losses * sizes).sum() / sizes.sum()), float(score)


class Learner(L.LightningModule):
    """A network and its task, trained by a protocol's recipe."""

    def __init__(self, network: nn.Module, protocol: Protocol, *, seed: int, task: Task | None = None) -> None:
        super().__init__()
        self.network = network
        self.protocol = protocol
        self.seed = seed
        self.task = task or Classification()
        self.training_sums = EpochSums()
        self.validation_sums = EpochSums()
        # Loss and score of this epoch's validation, NaN where there was none.
        self.validated = (float("nan"), float("nan"))
        self.schedule: torch.optim.lr_scheduler.LRScheduler | None = None
        self.call: Callable[[Tensor], Tensor]
        # Not by way of `nn.Module`, which would register the network a second time and list all its weights twice.
        object.__setattr__(self, "call", torch.compile(network) if protocol.compile else network)
        self._restored_schedule: dict[str, Any] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; Lightning's note of the running hook, set some forty times a step, by the short way.

        `nn.Module` looks at each value for parameters, buffers and modules, which adds up to a tenth of a millisecond.
        """
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, examples: Tensor) -> Tensor:
        """Return the network's output, in the precision that Lightning set."""
        with products(examples.device, self.protocol.dtype):
            return self.call(examples)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build optimiser and schedule from the protocol.

        The schedule is stepped beside the optimiser, below: given to Lightning, it goes through some more of its hooks.
        """
        optimizer = self.protocol.build_optimizer(self.network.parameters())
        self.schedule = self.protocol.build_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        if self.schedule is not None and self._restored_schedule is not None:
            self.schedule.load_state_dict(self._restored_schedule)
        return optimizer

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step the optimiser, and the schedule with it."""
        super().optimizer_step(*args, **kwargs)
        if self.schedule is not None:
            self.schedule.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of: the schedule, and buffers that are in no state dict."""
        known = checkpoint["state_dict"]
        checkpoint["schedule"] = None if self.schedule is None else self.schedule.state_dict()
        checkpoint["buffers"] = {name: value for name, value in self.named_buffers() if name not in known}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the buffers now, and the schedule when it is built."""
        self._restored_schedule = checkpoint["schedule"]
        for name, value in checkpoint["buffers"].items():
            owner, _, own = name.rpartition(".")
            setattr(self.get_submodule(owner), own, value)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave a batch where it is: the project's batches are made on the device."""
        return batch

    def on_train_epoch_start(self) -> None:
        """Give dropout its stream of this epoch: what another part drew has no part in it."""
        torch.manual_seed(seed_of(self.seed, "dropout", self.current_epoch))
        self.training_sums.reset()
        self.validated = (float("nan"), float("nan"))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        examples, target = batch
        output = self.forward(examples)
        loss = self.task.loss(output, target, self.protocol.label_smoothing)
        scored = batch_idx % self.task.scored_every == 0
        scores = self.task.scores(output.detach(), target) if scored else None
        self.training_sums.add(loss, self.task.weight(target), scores)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start the validation's sums."""
        self.validation_sums.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the validation's sums; its loss has no label smoothing."""
        examples, target = batch
        output = self.forward(examples).float()
        loss, size = self.task.loss(output, target), self.task.weight(target)
        self.validation_sums.add(loss, size, self.task.scores(output, target))

    def on_validation_epoch_end(self) -> None:
        """Make `val_loss` and the score, as in `val_accuracy`, known to callbacks, once an epoch."""
        self.validated = self.validation_sums.read()
        self.log("val_loss", self.validated[0])
        self.log(f"val_{self.task.score.name}", self.validated[1])
