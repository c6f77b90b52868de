"""Training one cell with Lightning: device, optimisation, the module, the fit, its mirrors."""

from poolbench.training.device import resolve_device
from poolbench.training.fit import Fitted, Progress, fit, predict, seen_again, trainer_arguments
from poolbench.training.mirrors import Mirrors
from poolbench.training.protocol import Protocol

__all__ = [
    "Fitted",
    "Mirrors",
    "Progress",
    "Protocol",
    "fit",
    "predict",
    "resolve_device",
    "seen_again",
    "trainer_arguments",
]
