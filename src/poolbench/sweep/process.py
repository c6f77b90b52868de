"""What belongs to a process that plans or trains: its allocator, its threads, its log."""

import logging
import os

from rich.console import Console
from rich.logging import RichHandler

log = logging.getLogger("poolbench")


def let_threads_sleep(threads: int) -> None:
    """Let threads that wait for each other sleep: spinning, they take the time of whom they wait for.

    Called before torch loads OpenMP, which reads it from the environment; what the user has set stays.
    """
    if threads > 1:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def prepare_process(allocator: str, threads: int, console: Console) -> None:
    """Set allocator (`keep` or `system`), torch's threads and the log.

    Called before torch is loaded, which would take memory first.
    """
    from poolbench.measure.allocator import ALLOCATOR

    ALLOCATOR.set(allocator)
    import torch

    torch.set_num_threads(threads)
    log_to(console)


def log_to(console: Console) -> None:
    """Let the program's log go to this console."""
    log.handlers = [RichHandler(console=console, show_path=False, show_time=False)]
    log.setLevel(logging.INFO)
    log.propagate = False
