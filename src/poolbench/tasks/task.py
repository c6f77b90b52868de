"""What tasks share: the parts that most of them need not say for themselves."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from poolbench.data.augment import Augment, Draws
from poolbench.score import Score


class Task(ABC):
    """A task; a subclass brings what a target is (`check_targets`, `output_shape`), its `loss` and its `scores`.

    The primary score is the mean of the examples' own, so that the paired statistics can run on them. What is no such
    mean is reported beside it, from what `kept` keeps of each example.

    A batch has B examples, the data set's `num_classes` is K; `shape` is that of an example, (C, H, W) or (C, L).

    Attributes:
        name: of the task, as tables show it.
        score: of the examples.
        beside: further scores of each example, which `kept`, `metrics` and `outcomes` have under their names: arms are
            compared by them, too (`beside.csv`), while the epoch is chosen by `score`.
        scored_every: in training one batch of so many is scored, for the curve alone; the validation, the test and
            the selected weights on the training set are scored whole.
    """

    name: str
    score: Score
    beside: tuple[Score, ...] = ()
    scored_every: int = 1

    @abstractmethod
    def check_targets(self, targets: Tensor, shape: tuple[int, ...], num_classes: int, what: str) -> None:
        """Raise `DataError` for targets of a part, (N, …), that are none; `what` names the part in it."""

    @abstractmethod
    def output_shape(self, shape: tuple[int, ...], num_classes: int) -> tuple[int, ...]:
        """Return the shape of what the network must give for one example."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch, whose gradient is followed."""

    @abstractmethod
    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """Return each example's own score, (B,)."""

    @abstractmethod
    def trial_targets(self, count: int, shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> Tensor:
        """Return targets for `count` generated examples, as speed is measured with."""

    def weight(self, target: Tensor) -> Tensor | int:
        """Return what a batch's loss is the mean of, so that an epoch's loss is one: of its examples, if not said."""
        return len(target)

    def strata(self, targets: Tensor) -> Tensor:
        """Return int64 (N,): what training and validation part are balanced by; zeros for nothing."""
        return torch.zeros(len(targets), dtype=torch.int64)

    def move_targets(self, targets: Tensor, augment: Augment, draws: Draws) -> Tensor:
        """Take the targets of a batch along where its examples were mirrored, cropped or shifted: they stay."""
        return targets

    def check_recipe(self, label_smoothing: float) -> None:  # noqa: B027 (nothing to refuse is the rule)
        """Raise `ConfigurationError` for a recipe that does nothing here."""

    def kept(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return what is kept of each example of the test set, tensors (B, …) by name: `score` and `loss` at least."""
        losses = [self.loss(one[None], its[None]) for one, its in zip(output, target, strict=True)]
        return {"score": self.scores(output, target).double(), "loss": torch.stack(losses).double()}

    def metrics(self, kept: Mapping[str, Tensor], prefix: str = "") -> dict[str, float]:
        """Return the metrics of all that was kept: the score under its own name, the loss, and others beside it."""
        return {
            f"{prefix}{self.score.name}": float(kept["score"].double().mean()),
            f"{prefix}loss": float(kept["loss"].double().mean()),
        }

    def shown(self, output: Tensor) -> Tensor | None:
        """Return what is shown of outputs beside examples and targets, whole numbers (B, H, W); None: nothing."""
        return None

    def outcomes(self, kept: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Return what is stored of each example: all that was kept, `score` in float64."""
        return {name: values.numpy() for name, values in kept.items()} | {"score": kept["score"].double().numpy()}
