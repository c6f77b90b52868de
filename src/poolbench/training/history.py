"""The history of a cell's epochs and the weights of the selected one, kept through interruptions."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as TypingProtocol

import lightning.pytorch as L
from torch import Tensor, nn

from poolbench.loggers import Mirrors
from poolbench.training.follow import Progress
from poolbench.training.module import Learner
from poolbench.training.protocol import Protocol


class EpochBatches(TypingProtocol):
    """What `fit` trains on: batches of an epoch, already on the device."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield examples (B, C, …) and targets (B, …)."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and augmentation the next pass draws."""


@dataclass
class Fitted:
    """What training left, filled while it goes on, so that an error that ends it leaves what there was.

    Args:
        network: with the selected weights, when training is over.
        history: a row an epoch.
        selected_epoch: whose weights are selected.
        diverged: why training ended before its time, empty where it did not.
        resumed_epochs: epochs at which training was taken up again after an interruption.
        places: where each part was trained, `{"epoch": first one, **place}`, where the place changed.
        spent_s: seconds of training, those of epochs finished before an interruption included.
    """

    network: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    selected_epoch: int = -1
    diverged: str = ""
    resumed_epochs: list[int] = field(default_factory=list)
    places: list[dict[str, str | int]] = field(default_factory=list)
    spent_s: float = 0.0

    @property
    def selected(self) -> dict[str, float]:
        """The history's row of the selected epoch."""
        return self.history[self.selected_epoch]


class Diverged(Exception):  # noqa: N818 (an outcome of training, not a mistake)
    """The loss of a batch of this epoch is no number."""

    def __init__(self, batch: int) -> None:
        super().__init__(batch)
        self.batch = batch


class History(L.Callback):
    """Write an epoch's row, and keep the selected weights."""

    def __init__(
        self,
        fitted: Fitted,
        train: EpochBatches,
        protocol: Protocol,
        mirrors: Mirrors | None,
        progress: Progress | None,
        tested: Callable[[nn.Module], tuple[float, float]] | None = None,
    ) -> None:
        self.fitted = fitted
        self.train = train
        self.rate = 0.0
        self.protocol = protocol
        self.mirrors = mirrors
        self.progress = progress
        # Gives loss and accuracy on the test set, where each epoch's are wanted.
        self.tested = tested
        self.best: tuple[float, float] | None = None
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Choose the epoch's order and augmentation before its first batch is drawn."""
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.train.set_epoch(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Close the epoch; the validation of it has run by now."""
        assert isinstance(module, Learner)
        val_loss, val_score = module.validated
        self._close(module, trainer.current_epoch)
        if self._better(module.task.score.sign * val_score, val_loss):
            self.fitted.selected_epoch = trainer.current_epoch
            self.keep(module.network)

    def close_diverged(self, trainer: L.Trainer, module: Learner, batch: int) -> None:
        """Close an epoch in which the loss of a batch was no number: its row is made of what there was up to it."""
        module.training_sums.keep(batch + 1)
        loss, epoch = float(module.training_sums.losses[batch]), trainer.current_epoch
        step = f"step {batch + 1} of {trainer.num_training_batches}"
        self.fitted.diverged = f"the training loss was {loss} in epoch {epoch + 1}, {step}"
        self._close(module, epoch)

    def _close(self, module: Learner, epoch: int) -> None:
        train_loss, train_score = module.training_sums.read()
        val_loss, val_score = module.validated
        score = module.task.score.name
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            f"train_{score}": train_score,
            "val_loss": val_loss,
            f"val_{score}": val_score,
            "learning_rate": float(self.rate),
        }
        if self.tested is not None:
            modes = [(part, part.training) for part in module.network.modules()]
            _, row[f"test_{score}"] = self.tested(module.network)
            for part, mode in modes:
                part.training = mode
        self.fitted.history.append(row)
        self._tell(row)

    def _tell(self, row: Mapping[str, float]) -> None:
        epoch = int(row["epoch"])
        if self.mirrors:
            self.mirrors.row({k: v for k, v in row.items() if k != "epoch"}, step=epoch)
        if self.progress:
            self.progress.epoch(epoch + 1, self.protocol.epochs, row)

    def keep(self, network: nn.Module) -> None:
        """Copy the network's weights and buffers."""
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the epochs before it."""
        return {
            "rows": self.fitted.history,
            "selected_epoch": self.fitted.selected_epoch,
            "best": self.best,
            "weights": self.weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the epochs before an interruption; mirrors and progress receive them again."""
        self.fitted.history[:] = state["rows"]
        self.fitted.selected_epoch = state["selected_epoch"]
        self.best = state["best"]
        self.weights = state["weights"]
        for row in self.fitted.history:
            self._tell(row)

    def _better(self, gain: float, loss: float) -> bool:
        """Best score, turned so that more is better, then lower loss, then earliest; with `select: last` the newest."""
        if self.protocol.select == "last":
            return True
        if not math.isfinite(gain):  # no validation in this epoch
            return False
        score = (gain, -loss if math.isfinite(loss) else -math.inf)
        if self.best is None or score > self.best:
            self.best = score
            return True
        return False
