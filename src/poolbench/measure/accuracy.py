"""What a classifier's logits are worth: accuracy, loss, calibration; and each image's outcome."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Outcomes:
    """Each image's outcome, in the dataset's order.

    Args:
        target: true class, int16 (N,).
        predicted: class of the highest logit, int16 (N,).
        probability: given to the true class, float16 (N,).
        confidence: given to the predicted class, float16 (N,).
    """

    target: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    confidence: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, as they are stored."""
        return {name: getattr(self, name) for name in ("target", "predicted", "probability", "confidence")}


def outcomes(logits: Tensor, target: Tensor) -> Outcomes:
    """Return each image's outcome from `logits` (N, K) and `target` (N,)."""
    probabilities = logits.double().softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    given = probabilities.gather(1, target[:, None]).squeeze(1)
    return Outcomes(
        target.numpy().astype(np.int16),
        predicted.numpy().astype(np.int16),
        given.numpy().astype(np.float16),
        confidence.numpy().astype(np.float16),
    )


def metrics(logits: Tensor, target: Tensor, prefix: str = "") -> dict[str, float]:
    """Return top-1 accuracy (a fraction of 1), mean cross-entropy (nats) and expected calibration error.

    The calibration error is the mean distance of confidence and accuracy over 15 bins of equal width, weighted by the
    images in them (Guo 2017). Its name carries no prefix.

    Args:
        logits: (N, K), on the CPU.
        target: (N,), whole numbers.
        prefix: of the names `accuracy` and `loss`.

    >>> values = metrics(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]), "test_")
    >>> values["test_accuracy"], round(values["test_loss"], 3)
    (0.5, 1.127)
    """
    classes = logits.shape[1]
    probabilities = logits.double().softmax(dim=1)
    return {
        f"{prefix}accuracy": float(multiclass_accuracy(logits, target, classes, average="micro")),
        f"{prefix}loss": float(F.cross_entropy(logits.double(), target)),
        "ece": float(multiclass_calibration_error(probabilities.float(), target, classes, CALIBRATION_BINS, "l1")),
    }
