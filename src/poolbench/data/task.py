"""Which task a dataset is for: what its targets are, and how an output is judged."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from poolbench.data.augment import Augment, Draws
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.score import CLASSIFICATION, Score
from poolbench.spec import TARGET, build, custom_code

# The tasks that have a name of their own; any other is a class named by `task._target_`.
TASKS = {
    CLASSIFICATION: "poolbench.tasks.Classification",
    "segmentation": "poolbench.tasks.Segmentation",
    "regression": "poolbench.tasks.Regression",
}
PARTS = (
    *("name", "score", "beside", "scored_every"),
    *("check_targets", "output_shape", "strata", "move_targets", "check_recipe", "loss", "weight", "scores"),
    *("kept", "metrics", "shown", "outcomes", "trial_targets"),
)


class Task(Protocol):
    """What a target is and how an output is judged; `poolbench.tasks.Task` has what most tasks share.

    `output` is what the network gives for a batch, (B, …); `target` what the dataset has for its examples, (B, …).
    """

    name: str
    score: Score
    beside: tuple[Score, ...]
    scored_every: int

    def check_targets(self, targets: Tensor, shape: tuple[int, ...], num_classes: int, what: str) -> None:
        """Raise `DataError` for targets of a part, (N, …), that are none; `what` names the part in it."""

    def output_shape(self, shape: tuple[int, ...], num_classes: int) -> tuple[int, ...]:
        """Return the shape of what the network must give for one example of `shape`."""

    def strata(self, targets: Tensor) -> Tensor:
        """Return int64 (N,): what training and validation part are balanced by; zeros for nothing."""

    def move_targets(self, targets: Tensor, augment: Augment, draws: Draws) -> Tensor:
        """Take the targets of a batch along where its examples were mirrored, cropped or shifted."""

    def check_recipe(self, label_smoothing: float) -> None:
        """Raise `ConfigurationError` for a recipe that does nothing here."""

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch, whose gradient is followed."""

    def weight(self, target: Tensor) -> Tensor | int:
        """Return how many, of whatever a batch's loss is the mean of."""

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """Return each example's own score, (B,); the primary score is their mean."""

    def kept(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return what is kept of each example of the test set, tensors (B, …) by name."""

    def metrics(self, kept: Mapping[str, Tensor], prefix: str = "") -> dict[str, float]:
        """Return the metrics of all that was kept: `PREFIXloss`, the score under its own name, others beside it."""

    def shown(self, output: Tensor) -> Tensor | None:
        """Return what is shown of outputs beside examples and targets, whole numbers (B, H, W); None: nothing."""

    def outcomes(self, kept: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Return what is stored of each example: `target`, and `score` or what a score follows from."""

    def trial_targets(self, count: int, shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> Tensor:
        """Return targets for `count` generated examples, as speed is measured with."""


def task_for(spec: Mapping[str, Any], target: Callable[..., Any]) -> Task:
    """Return the task of a dataset's YAML: its `task`, else that of the class it names, else classification.

    `task` is a name, a specification (`_target_` and arguments), or on a class the object itself.

    Raises:
        ConfigurationError: there is no such task, or what `_target_` names is none.

    >>> task_for({"task": "segmentation"}, dict).score.name
    'mean_iou'
    """
    asked = spec.get("task")
    return made_task(getattr(target, "task", None) if asked is None else asked)


def made_task(asked: Any) -> Task:
    """Return the task that a dataset or its YAML asks for; None asks for classification."""
    if asked is None or isinstance(asked, str):
        name = CLASSIFICATION if asked is None else asked
        if name not in TASKS:
            raise unknown_name("`dataset.task`", name, TASKS)
        asked = {TARGET: TASKS[name]}
    if isinstance(asked, Mapping) and TARGET not in asked:
        raise ConfigurationError(
            f"`dataset.task` has {', '.join(map(str, asked)) or 'nothing'} and does not say of which task: give its "
            f"class, as dataset.task.{TARGET}={TASKS['segmentation']}"
        )
    made: Any = asked
    if isinstance(asked, Mapping):
        with custom_code(str(asked[TARGET]), "`dataset.task`"):
            made = build(asked, where="dataset.task")
    lacking = [part for part in PARTS if not hasattr(made, part)]
    if lacking:
        raise ConfigurationError(
            f"`dataset.task` ({asked[TARGET] if isinstance(asked, Mapping) else type(made).__name__}) lacks "
            f"{', '.join(lacking)}; derive it from poolbench.tasks.Task"
        )
    if not isinstance(made.score, Score):
        raise ConfigurationError(f"`dataset.task`: `score` must be a poolbench.score.Score, got {made.score!r}")
    task: Task = made
    return task
