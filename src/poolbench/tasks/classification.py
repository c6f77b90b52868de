"""A class for each example."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.errors import DataError
from poolbench.measure.accuracy import metrics, outcomes
from poolbench.score import ACCURACY, CLASSIFICATION
from poolbench.tasks.task import Task


class Classification(Task):
    """One class for each example, out of K: targets are whole numbers in 0..K−1, int64 (N,), outputs logits (B, K).

    Loss: cross-entropy. Score: 1 where the highest logit is that of the true class, else 0; its mean is the accuracy.
    Beside it: loss (nats), calibration error, macro-F1 (the mean over the classes of 2·TP / (2·TP + FP + FN), of a
    class that is neither present nor predicted 0).

    >>> task, logits = Classification(), torch.tensor([[2.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    >>> task.metrics(task.kept(logits, torch.tensor([0, 1, 1])))["accuracy"]
    0.6666666666666666
    """

    name = CLASSIFICATION
    score = ACCURACY

    def check_targets(self, targets: Tensor, shape: tuple[int, ...], num_classes: int, what: str) -> None:
        """Raise `DataError` unless targets are classes: whole numbers in 0..K−1, (N,)."""
        if targets.is_floating_point() or targets.ndim != 1:
            raise DataError(
                f"{what} labels must be classes, whole numbers of shape (N,), got {targets.dtype} of shape "
                f"{tuple(targets.shape)}"
            )
        least, most = int(targets.min()), int(targets.max())
        if least < 0 or most >= num_classes:
            raise DataError(f"{what} labels must be in 0..{num_classes - 1}, got {least}..{most}")

    def output_shape(self, shape: tuple[int, ...], num_classes: int) -> tuple[int, ...]:
        """Return (K,)."""
        return (num_classes,)

    def strata(self, targets: Tensor) -> Tensor:
        """Return the classes."""
        return targets

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy, nats."""
        return F.cross_entropy(output.float(), target, label_smoothing=label_smoothing)

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """Return whether each example was classified right, bool (B,)."""
        return output.argmax(dim=1) == target

    def kept(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return logits and classes."""
        return {"logits": output.float(), "target": target}

    def metrics(self, kept: Mapping[str, Tensor], prefix: str = "") -> dict[str, float]:
        """Return accuracy, loss, calibration error and macro-F1."""
        logits, target = kept["logits"], kept["target"]
        return metrics(logits, target, prefix) | {"macro_f1": macro_f1(logits.argmax(dim=1), target, logits.shape[1])}

    def outcomes(self, kept: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Return each example's true and predicted class with their probabilities: hits follow from them."""
        return outcomes(kept["logits"], kept["target"]).arrays()

    def trial_targets(self, count: int, shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> Tensor:
        """Return random classes."""
        return torch.randint(num_classes, (count,), generator=generator)


def macro_f1(predicted: Tensor, target: Tensor, num_classes: int) -> float:
    """Return the mean over the classes of F1, the harmonic mean of precision and recall; fraction of 1.

    >>> macro_f1(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2)  # 2/3 of either class
    0.6666666666666666
    """
    counts = torch.bincount(target * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)
    right, both = counts.diagonal().double(), (counts.sum(0) + counts.sum(1)).double()
    return float((2 * right / both.clamp(min=1)).mean())
