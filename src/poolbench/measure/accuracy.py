"""What a classifier's logits are worth: accuracy, loss, calibration; and each image's outcome."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CALIBRATION_BINS = 15
# Outcomes are stored with two bytes a class.
MOST_CLASSES = int(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class Outcomes:
    """Each image's outcome, in the dataset's order.

    Args:
        target: true class, int16 (N,).
        predicted: class of the highest logit (the first of equal ones), int16 (N,).
        probability: given to the true class, float16 (N,): rounded to about 0.001 of itself, 0 below 6e-8.
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
    """Return each image's outcome from `logits` (N, K) and `target` (N,), both on the CPU.

    Raises:
        ValueError: the shapes do not fit, or K is above 32,767.

    >>> found = outcomes(torch.tensor([[0.0, 0.0], [0.0, 9.0]]), torch.tensor([1, 1]))
    >>> found.predicted.tolist(), found.probability.tolist()
    ([0, 1], [0.5, 1.0])
    """
    _check(logits, target)
    probabilities = logits.double().softmax(dim=1)
    predicted = logits.argmax(dim=1)
    given = probabilities.gather(1, target.long()[:, None]).squeeze(1)
    confidence = probabilities.gather(1, predicted[:, None]).squeeze(1)
    return Outcomes(
        target.numpy().astype(np.int16),
        predicted.numpy().astype(np.int16),
        given.numpy().astype(np.float16),
        confidence.numpy().astype(np.float16),
    )


def metrics(logits: Tensor, target: Tensor, prefix: str = "") -> dict[str, float]:
    """Return top-1 accuracy (a fraction of 1), mean cross-entropy (nats) and expected calibration error.

    The calibration error is the mean distance of confidence and accuracy over 15 bins of equal width, weighted by the
    images in them (Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3, their 15 bins). Its name
    carries no prefix. Where any logit is not finite, no figure means anything: all three are not-a-number then.

    Args:
        logits: (N, K), on the CPU.
        target: (N,), whole numbers in 0..K-1.
        prefix: of the names `accuracy` and `loss`.

    Raises:
        ValueError: the shapes do not fit.

    >>> values = metrics(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]), "test_")
    >>> values["test_accuracy"], round(values["test_loss"], 3)
    (0.5, 1.127)
    """
    # Loads torchvision and torch's compiler, for which nobody should wait who only plans.
    from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_stat_scores

    _check(logits, target)
    if not torch.isfinite(logits).all():
        return {f"{prefix}accuracy": float("nan"), f"{prefix}loss": float("nan"), "ece": float("nan")}
    classes = logits.shape[1]
    # The counts are exact; torchmetrics' own accuracy is a float32, which makes 0.95 read 0.949999988.
    hits, _, _, _, images = multiclass_stat_scores(logits, target, classes, average="micro").tolist()
    confidence = logits.double().softmax(dim=1).float()
    return {
        f"{prefix}accuracy": hits / images,
        f"{prefix}loss": float(F.cross_entropy(logits.double(), target.long())),
        "ece": float(multiclass_calibration_error(confidence, target, classes, CALIBRATION_BINS, norm="l1")),
    }


def _check(logits: Tensor, target: Tensor) -> None:
    if logits.ndim != 2 or logits.shape[0] < 1 or not 2 <= logits.shape[1] <= MOST_CLASSES:
        raise ValueError(f"`logits` must be (N, K) with N ≥ 1 and K in 2..{MOST_CLASSES}, got {tuple(logits.shape)}")
    if target.shape != logits.shape[:1]:
        raise ValueError(f"`target` must be ({logits.shape[0]},) as the logits are, got {tuple(target.shape)}")
