"""Training one cell with Lightning: device, optimisation, the module, the fit, its checkpoints.

What needs Lightning, whose import takes longer than torch's, stands in modules of its own: `fit`, `history`,
`kept_pictures`, `trainer_arguments`. A sweep whose cells are all finished pays for none of it.
"""

from poolbench.training.checkpoint import Checkpoints, history_kept, newest_epoch, remove_checkpoints
from poolbench.training.device import resolve_device
from poolbench.training.follow import Progress, ShouldStop
from poolbench.training.protocol import Protocol

__all__ = [
    "Checkpoints",
    "Progress",
    "Protocol",
    "ShouldStop",
    "history_kept",
    "newest_epoch",
    "remove_checkpoints",
    "resolve_device",
]
