"""What is looked at while an epoch runs: the loss, the clock, and whether somebody asks to stop."""

import time
from typing import Any

import lightning.pytorch as L

from poolbench.errors import Stopped, TimeLimitError
from poolbench.training.follow import Progress, ShouldStop
from poolbench.training.history import Diverged, Fitted
from poolbench.training.module import Learner
from poolbench.training.protocol import Protocol

SECONDS_BETWEEN_TELLS = 0.5
# Reading a loss waits for the device: on a GPU the steps in between would not be queued ahead.
SECONDS_BETWEEN_LOOKS = 0.25


class Watch(L.Callback):
    """End an epoch whose loss is no number, that passes the limit of time, or that somebody asks to end.

    On the CPU each loss is looked at when it is there, on a GPU every quarter of a second and at the epoch's end. The
    batch that is named is the first whose loss was no number in either case.

    Args:
        fitted: `spent_s` is kept in it.
        protocol: of the training, for its epochs and its limit of time.
        progress: receives how far the training is, seldom: a display that is refreshed each step costs more than a
            small step.
        should_stop: asked at each step; a text is the reason to stop.
    """

    def __init__(
        self,
        fitted: Fitted,
        protocol: Protocol,
        progress: Progress | None,
        should_stop: ShouldStop | None,
    ) -> None:
        self.fitted = fitted
        self.protocol = protocol
        self.progress = progress
        self.should_stop = should_stop
        self.reported = self.looked_at = self.began = time.monotonic()
        self.spent_before = 0.0
        self.looked = 0

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Begin with the epoch's first loss."""
        self.looked = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the losses, the clock and the wish to stop."""
        assert isinstance(module, Learner)
        now, batches = time.monotonic(), trainer.num_training_batches
        waited = now - self.looked_at > SECONDS_BETWEEN_LOOKS or batch_idx + 1 >= batches
        if waited or module.device.type == "cpu":
            self._look(module)
            self.looked_at = now
        if self.progress and now - self.reported > SECONDS_BETWEEN_TELLS:
            self.reported = now
            self.progress.steps(trainer.current_epoch + (batch_idx + 1) / batches, self.protocol.epochs)
        self._continue(now, f"step {batch_idx + 1} of {batches} of epoch {trainer.current_epoch + 1}")

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at the clock and the wish to stop."""
        self._continue(time.monotonic(), f"the validation of epoch {trainer.current_epoch + 1}")

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds spent so far."""
        return {"spent_s": self.spent(time.monotonic())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Count the seconds that were spent before."""
        self.spent_before = float(state["spent_s"])

    def spent(self, now: float) -> float:
        """Return the seconds of training at `now`, those before an interruption included, and keep them in `fitted`."""
        self.fitted.spent_s = self.spent_before + now - self.began
        return self.fitted.spent_s

    def _look(self, module: Learner) -> None:
        sums = module.training_sums
        bad = sums.first_not_finite(self.looked)
        self.looked = len(sums.losses)
        if bad is not None:
            raise Diverged(bad)

    def _continue(self, now: float, where: str) -> None:
        spent, limit = self.spent(now), self.protocol.time_limit
        if limit is not None and spent > limit:
            raise TimeLimitError(
                f"training passed `protocol.time_limit` ({limit:g} s) in {where}; with a higher limit it continues "
                "from its last checkpoint"
            )
        reason = self.should_stop() if self.should_stop else None
        if reason:
            raise Stopped(reason)
