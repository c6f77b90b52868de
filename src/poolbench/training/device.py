"""The device that a configuration means on this machine."""

from collections.abc import Mapping
from typing import Any

import torch

from poolbench.errors import ConfigurationError


def resolve_device(trainer: Mapping[str, Any]) -> torch.device:
    """Return the device for `trainer.accelerator`: `cpu`, `gpu`, or `auto` (a GPU where there is one).

    Asking for a GPU where there is none is an error: nothing falls back to the CPU unasked.
    """
    accelerator = trainer.get("accelerator", "auto")
    if accelerator not in ("cpu", "gpu", "cuda", "auto"):
        raise ConfigurationError(f"`trainer.accelerator` must be cpu, gpu or auto, got {accelerator!r}")
    if accelerator == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if accelerator == "auto":
        return torch.device("cpu")
    raise ConfigurationError(
        "`trainer=gpu`, but torch sees no GPU; use trainer=cpu, or trainer=auto to take what is here"
    )
