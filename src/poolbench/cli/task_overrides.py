"""A dataset's task on the command line: given plainly, whether the dataset's YAML names one or not."""

from collections.abc import Sequence

TASK, IN_DATASET = "task", "dataset.task"


def with_task(overrides: Sequence[str]) -> list[str]:
    """Return the overrides, those of a task as Hydra takes them where the YAML has no such key.

    >>> with_task(["task=regression", "dataset.task.loss=huber", "seed=0", "+dataset.task._target_=own.Task"])
    ['++dataset.task=regression', '++dataset.task.loss=huber', 'seed=0', '+dataset.task._target_=own.Task']
    """
    return [_added(override) for override in overrides]


def _added(override: str) -> str:
    key, equals, value = override.partition("=")
    if key == TASK or key.startswith(f"{TASK}."):
        key = f"dataset.{key}"
    of_task = equals and (key == IN_DATASET or key.startswith(f"{IN_DATASET}."))
    return f"++{key}={value}" if of_task else override
