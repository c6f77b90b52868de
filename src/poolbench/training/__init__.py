"""Training one cell with Lightning: device, optimisation, the module, the fit, its checkpoints."""

from poolbench.training.checkpoint import Checkpoints, history_kept, newest_epoch, remove_checkpoints
from poolbench.training.device import resolve_device
from poolbench.training.fit import fit, judge, predict, seen_again
from poolbench.training.history import Fitted, Progress
from poolbench.training.kept_pictures import pictures
from poolbench.training.protocol import Protocol
from poolbench.training.trainer_arguments import trainer_arguments
from poolbench.training.watch import ShouldStop

__all__ = [
    "Checkpoints",
    "Fitted",
    "Progress",
    "Protocol",
    "ShouldStop",
    "fit",
    "history_kept",
    "judge",
    "newest_epoch",
    "pictures",
    "predict",
    "remove_checkpoints",
    "resolve_device",
    "seen_again",
    "trainer_arguments",
]
