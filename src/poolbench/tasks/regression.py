"""One or several numbers for each example."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.errors import ConfigurationError, DataError, unknown_name
from poolbench.score import LOWER, PER_CENT, Score
from poolbench.tasks.task import Task

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": F.mse_loss,
    "absolute": F.l1_loss,
    "huber": F.huber_loss,
}


class Regression(Task):
    """Numbers for each example: targets are finite, float32 (N, D), outputs likewise (B, D); D is `num_classes`.

    Score: the mean over the D numbers of |output − target|; its mean over the examples is the mean absolute error. A
    margin is in per cent of the reference's. Beside it: loss, and root mean squared error.

    Args:
        unit: of the numbers, as tables show it.
        loss: `squared`, `absolute`, or `huber` (squared up to 1, absolute beyond), the mean over the D numbers.
        least: targets below it are an error; None: there is no bound.
        most: likewise above.

    Raises:
        ConfigurationError: an argument breaks its rule.

    >>> task = Regression()
    >>> task.scores(torch.tensor([[0.5], [1.0]]), torch.tensor([[0.0], [1.0]])).tolist()
    [0.5, 0.0]
    """

    name = "regression"

    def __init__(
        self, unit: str = "", loss: str = "squared", least: float | None = None, most: float | None = None
    ) -> None:
        if loss not in LOSSES:
            raise unknown_name("`dataset.task.loss`", str(loss), LOSSES)
        if least is not None and most is not None and least >= most:
            raise ConfigurationError(f"`dataset.task.least` must be below `most`, {most}, got {least}")
        if not isinstance(unit, str):
            raise ConfigurationError(f"`dataset.task.unit` must be a text, got {unit!r}")
        self.score = Score("mean_absolute_error", unit, LOWER, PER_CENT)
        self.kind, self.least, self.most = loss, least, most

    def check_targets(self, targets: Tensor, shape: tuple[int, ...], num_classes: int, what: str) -> None:
        """Raise `DataError` unless targets are finite numbers (N, D) within the bounds."""
        if not targets.is_floating_point() or targets.ndim != 2 or targets.shape[1] != num_classes:
            raise DataError(
                f"{what} targets must be floating-point numbers of shape (N, {num_classes}), {num_classes} for each "
                f"example as `num_classes` says, got {targets.dtype} of shape {tuple(targets.shape)}"
            )
        least = -torch.inf if self.least is None else self.least
        most = torch.inf if self.most is None else self.most
        bad = ~(torch.isfinite(targets) & (targets >= least) & (targets <= most))
        if bad.any():
            at = int(bad.any(1).nonzero()[0])
            bounds = "" if self.least is None and self.most is None else f" in {least:g}..{most:g}"
            raise DataError(
                f"{what} example {at:,} (counted from 0) has the target {targets[at].tolist()}: every target must be a "
                f"finite number{bounds}"
            )

    def output_shape(self, shape: tuple[int, ...], num_classes: int) -> tuple[int, ...]:
        """Return (D,)."""
        return (num_classes,)

    def check_recipe(self, label_smoothing: float) -> None:
        """Raise `ConfigurationError` for a label smoothing: there are no labels to smooth."""
        if label_smoothing:
            raise ConfigurationError(
                f"`protocol.label_smoothing={label_smoothing}` does nothing: the task is a regression, and only "
                "classes can be smoothed; set it to 0"
            )

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss."""
        return LOSSES[self.kind](output.float(), target)

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """Return each example's absolute error, the mean over its numbers, (B,)."""
        return (output.float() - target).abs().mean(dim=1)

    def kept(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return outputs, targets and absolute errors."""
        return {"predicted": output.float(), "target": target, "score": self.scores(output, target).double()}

    def metrics(self, kept: Mapping[str, Tensor], prefix: str = "") -> dict[str, float]:
        """Return mean absolute error, loss and root mean squared error."""
        predicted, target = kept["predicted"].double(), kept["target"].double()
        return {
            f"{prefix}{self.score.name}": float(kept["score"].mean()),
            f"{prefix}loss": float(LOSSES[self.kind](predicted, target)),
            "root_mean_squared_error": float((predicted - target).square().mean().sqrt()),
        }

    def outcomes(self, kept: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Return each example's numbers, true and predicted, and its score."""
        return {name: values.numpy() for name, values in kept.items()}

    def trial_targets(self, count: int, shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> Tensor:
        """Return normal numbers."""
        return torch.randn(count, num_classes, generator=generator)
