"""Fitting one cell: Lightning's loop around the module, one line of history an epoch, the selected weights."""

import math
import os
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as TypingProtocol

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from lightning.pytorch.profilers import PassThroughProfiler
from torch import Tensor, nn

from poolbench.errors import ConfigurationError
from poolbench.streams import drawing
from poolbench.training.device import resolve_device
from poolbench.training.mirrors import Mirrors
from poolbench.training.module import Classifier, EpochSums
from poolbench.training.protocol import LIGHTNING_PRECISION, Protocol
from poolbench.training.trainer_arguments import trainer_arguments

SECONDS_BETWEEN_STEPS = 0.5
NOTHING = nullcontext()
# Lightning's import sets this to 1 for the sake of forked GPU workers, which are not used here. With it torch's
# optimisers look for NVIDIA's library on disk in every single step: a tenth of a millisecond where there is none.
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


class EpochBatches(TypingProtocol):
    """What `fit` trains on: batches of an epoch, already on the device."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, C, H, W) and targets (B,)."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and augmentation the next pass draws."""


class Progress(TypingProtocol):
    """Who is told how far a cell is."""

    def steps(self, done: float, of: int) -> None:
        """`done` epochs of `of` are over, in fractions of an epoch; called seldom."""

    def epoch(self, done: int, of: int, row: Mapping[str, float]) -> None:
        """`done` epochs of `of` are over; `row` is the last one's history."""


@dataclass
class Fitted:
    """What training left: the history, and `network` with the selected weights."""

    network: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    selected_epoch: int = -1
    diverged: str = ""

    @property
    def selected(self) -> dict[str, float]:
        """The history's row of the selected epoch."""
        return self.history[self.selected_epoch]


class Silence(PassThroughProfiler):
    """A profiler that measures nothing, at no cost: Lightning opens some twenty of its contexts in a step."""

    def profile(self, action_name: str) -> Any:
        """Return a context that does nothing."""
        return NOTHING


class History(L.Callback):
    """Write an epoch's row, keep the selected weights, stop when the loss is no number."""

    def __init__(
        self,
        fitted: Fitted,
        train: EpochBatches,
        protocol: Protocol,
        mirrors: Mirrors | None,
        progress: Progress | None,
    ) -> None:
        self.fitted = fitted
        self.train = train
        self.rate = 0.0
        self.told = time.monotonic()
        self.protocol = protocol
        self.mirrors = mirrors
        self.progress = progress
        self.best: tuple[float, float] | None = None
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Choose the epoch's order and augmentation before its first batch is drawn."""
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.train.set_epoch(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the progress, seldom: a display that is refreshed each step costs more than a small step."""
        now = time.monotonic()
        if self.progress and now - self.told > SECONDS_BETWEEN_STEPS:
            self.told = now
            done = trainer.current_epoch + (batch_idx + 1) / len(self.train)
            self.progress.steps(done, self.protocol.epochs)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Close the epoch; the validation of it has run by now."""
        assert isinstance(module, Classifier)
        train_loss, train_accuracy = module.training_sums.read()
        val_loss, val_accuracy = module.validated
        epoch = trainer.current_epoch
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": float(self.rate),
        }
        self.fitted.history.append(row)
        if not math.isfinite(train_loss):
            self.fitted.diverged = f"the training loss was {train_loss} in epoch {epoch}"
            trainer.should_stop = True
        elif self._better(val_accuracy, val_loss):
            self.fitted.selected_epoch = epoch
            self.keep(module.network)
        if self.mirrors:
            self.mirrors.row({k: v for k, v in row.items() if k != "epoch"}, step=epoch)
        if self.progress:
            self.progress.epoch(epoch + 1, self.protocol.epochs, row)

    def keep(self, network: nn.Module) -> None:
        """Copy the network's weights and buffers."""
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def _better(self, accuracy: float, loss: float) -> bool:
        """Highest accuracy, then lower loss, then earliest; with `select: last` always the newest."""
        if self.protocol.select == "last":
            return True
        if not math.isfinite(accuracy):  # no validation in this epoch
            return False
        score = (accuracy, -loss if math.isfinite(loss) else -math.inf)
        if self.best is None or score > self.best:
            self.best = score
            return True
        return False


def fit(
    network: nn.Module,
    train: EpochBatches,
    val: Iterable[tuple[Tensor, Tensor]],
    *,
    protocol: Protocol,
    trainer: Mapping[str, Any],
    seed: int,
    mirrors: Mirrors | None = None,
    progress: Progress | None = None,
    callbacks: Iterable[L.Callback] = (),
) -> Fitted:
    """Train `network` by the protocol, and return it with the selected weights and the history.

    Args:
        network: gives logits (B, K) for images (B, C, H, W); trained in place.
        train: batches of the training part, `set_epoch` called before each pass.
        val: batches of the validation part.
        protocol: the recipe.
        trainer: `accelerator`, and any further argument of `lightning.Trainer`.
        seed: the cell's seed, for dropout's stream.
        mirrors: loggers that are told each epoch's row.
        progress: who is told how far the training is.
        callbacks: further Lightning callbacks.

    Raises:
        Stopped, KeyboardInterrupt: asked to end. What a network raises goes through.
    """
    device = resolve_device(trainer)
    fitted = Fitted(network)
    history = History(fitted, train, protocol, mirrors, progress)
    module = Classifier(network.to(memory_format=protocol.torch_memory_format), protocol, seed=seed)
    further = trainer_arguments(trainer, protocol)
    protocol.check_device(device)
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    # Filling fresh memory with NaN makes no figure more repeatable and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    handler = signal.getsignal(signal.SIGINT)
    arguments: dict[str, Any] = {
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 0,
        "profiler": Silence(),
        **further,
        "accelerator": "cpu" if device.type == "cpu" else "gpu",
        "devices": 1 if device.index is None else [device.index],
        "logger": False,
        "callbacks": [*further.get("callbacks", []), *callbacks, history],
        "max_epochs": protocol.epochs,
        "precision": LIGHTNING_PRECISION[protocol.precision],
        "deterministic": protocol.deterministic,
    }
    runner = L.Trainer(**arguments)
    try:
        with drawing(seed, "training"), warnings.catch_warnings():
            # Lightning 2.6 asks torch's tree library in a way that newer torch deprecates.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            runner.fit(module, train_dataloaders=train, val_dataloaders=val)
    except SystemExit as error:
        # Lightning turns an interrupt into an exit of its own.
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, handler)
        torch.use_deterministic_algorithms(was_deterministic)
        torch.backends.cudnn.benchmark = benchmark
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
    if not history.weights and not fitted.diverged:
        raise ConfigurationError("no epoch was validated, so none can be selected; use protocol.select=last")
    if history.weights:
        network.load_state_dict(history.weights)
    return fitted


@torch.inference_mode()
def seen_again(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, protocol: Protocol, device: torch.device
) -> tuple[float, float]:
    """Return mean cross-entropy (nats) and accuracy (a fraction of 1) over all batches, in evaluation mode.

    No logits are kept, since a training set has many times the images of a test set.
    """
    network = network.to(device).to(memory_format=protocol.torch_memory_format).eval()
    sums = EpochSums()
    with torch.autocast(device.type, dtype=protocol.dtype, enabled=protocol.dtype is not torch.float32):
        for images, target in batches:
            logits = network(images).float()
            sums.add(F.cross_entropy(logits, target), logits, target)
    return sums.read()


@torch.inference_mode()
def predict(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, protocol: Protocol, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return logits (N, K), float32, and targets (N,) of all batches, on the CPU, in evaluation mode."""
    network = network.to(device).to(memory_format=protocol.torch_memory_format).eval()
    logits, targets = [], []
    with torch.autocast(device.type, dtype=protocol.dtype, enabled=protocol.dtype is not torch.float32):
        for images, target in batches:
            logits.append(network(images).float())
            targets.append(target)
    return torch.cat(logits).cpu(), torch.cat(targets).cpu()
