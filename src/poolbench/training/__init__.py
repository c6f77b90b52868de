"""Training one cell with Lightning: device, optimisation, the module, the fit, its mirrors."""

from poolbench.training.device import resolve_device
from poolbench.training.fit import Fitted, Progress, fit, predict, seen_again
from poolbench.training.mirrors import Mirrors
from poolbench.training.protocol import Protocol
from poolbench.training.trainer_arguments import trainer_arguments

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
