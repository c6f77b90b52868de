"""What belongs to a process that plans or trains: its allocator, its threads, its log."""

import logging

from rich.console import Console
from rich.logging import RichHandler

log = logging.getLogger("poolbench")


def prepare_process(allocator: str, threads: int | None, console: Console) -> None:
    """Set allocator, threads and log; called before torch is loaded, which would take memory first."""
    from poolbench.measure.machine import set_allocator

    set_allocator(allocator)
    import lightning.pytorch  # noqa: F401  (its import sets the level of its logger)
    import torch

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if threads is not None:
        torch.set_num_threads(threads)
    log_to(console)


def log_to(console: Console) -> None:
    """Let the program's log go to this console."""
    log.handlers = [RichHandler(console=console, show_path=False, show_time=False)]
    log.setLevel(logging.INFO)
    log.propagate = False
