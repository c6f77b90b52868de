"""How the cells of a sweep are run: by which launcher, with how many workers, with how many threads each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poolbench.checks import whole_number
from poolbench.errors import ConfigurationError
from poolbench.processors import allowed_processors, free_processors
from poolbench.sweep.asked import SweepSettings
from poolbench.sweep.threads import divided

# Of launcher=slurm, unless more are asked for.
ONE_CPU = 1


@dataclass(frozen=True)
class Launch:
    """A launcher with what it needs to know before anything heavy is loaded.

    Args:
        name: `local`, `processes` or `slurm`.
        workers: how many, None for one for each GPU where the cells are trained on GPUs.
        threads: of each process that trains.
        processors: how many this process may use.
        free: how many of them nobody else used when the sweep started.
        asked: whether the number of threads was asked for, not chosen.
        options: the launcher's other settings.
    """

    name: str
    workers: int | None
    threads: int
    processors: int
    free: int
    asked: bool
    options: Mapping[str, Any]

    @classmethod
    def of(cls, settings: SweepSettings) -> "Launch":
        """Return the launcher that the settings ask for; looks at the processors for a moment."""
        options = {key: value for key, value in settings.launcher.items() if key not in ("name", "workers")}
        name, threads = settings.launcher["name"], settings.threads
        workers = whole_number("launcher.workers", settings.launcher.get("workers"), or_null="as many as fit")
        processors = allowed_processors()
        fits = name == "processes" and workers is None
        # A look takes a moment, and is spared where nothing depends on it.
        free = free_processors() if threads is None or fits else processors
        if name == "slurm":
            each = _of_a_task(threads, whole_number("launcher.cpus_per_task", options["cpus_per_task"]))
        elif name == "processes":
            each = divided(threads, workers or max(1, free // (threads or 1)), free)
        else:
            each = threads or free
        return cls(name, workers, each, processors, free, threads is not None, options)

    @property
    def shares_processors(self) -> bool:
        """Whether waiting threads should sleep: somebody else wants the processors, too."""
        return self.free < self.processors

    def count(self, cells: int, gpus: int) -> int:
        """Return the number of workers for so many cells, `gpus` of them to deal out."""
        return min(cells, self.workers or gpus or max(1, self.free // self.threads))

    def said(self) -> str:
        """Return what is said of the threads."""
        each = "" if self.name == "local" else " each"
        count = f"{self.threads} thread{'s' * (self.threads != 1)}{each}"
        if self.asked or self.name == "slurm":
            return count
        return f"{count} (threads=auto: {self.free} of {self.processors} processors free)"


def _of_a_task(threads: int | None, cpus: int) -> int:
    """Return the threads of a task of SLURM, for which as many processors are asked."""
    if threads is not None and cpus not in (ONE_CPU, threads):
        raise ConfigurationError(
            f"`launcher.cpus_per_task={cpus}` and `threads={threads}` say the same twice, and not alike: a task gets a "
            "processor for each thread; leave one of them out"
        )
    return threads or cpus
