"""Hydra's overrides in, composed configurations out: what every command that takes overrides begins with."""

import itertools
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from poolbench.cli import choices
from poolbench.errors import ConfigurationError, Stopped
from poolbench.paths import conf_dir

WITH_VALUE = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--cfg", "-c", "--package", "-p"}
MULTIRUN = {"-m", "--multirun"}
COMMAND = "POOLBENCH_COMMAND"

# Takes the overrides of each job, their composed configurations and Hydra's launcher; returns the exit status.
Handler = Callable[[Sequence[Sequence[str]], Sequence[Any], Any], int]
_handlers: list[Handler] = []


def composed(arguments: Sequence[str], handler: Handler, *, command: str) -> int:
    """Compose every job that the overrides ask for, hand them all to `handler`, and return its exit status.

    Args:
        arguments: overrides and Hydra's flags, in any order.
        handler: what is done with the jobs.
        command: the command's name, for the records.
    """
    flags, overrides = sort_arguments(arguments)
    further = [Path(value) for flag, value in itertools.pairwise(flags) if flag in ("--config-dir", "-cd")]
    if not any(override.lstrip("+").startswith("hydra.searchpath") for override in overrides):
        choices.check(overrides, further)
    _handlers.append(handler)
    try:
        return _hydra(flags, overrides, command)
    finally:
        _handlers.pop()


def handle(jobs: Sequence[Sequence[str]], configurations: Sequence[Any], launcher: Any) -> int:
    """Give what the sweeper composed to the command that runs."""
    return _handlers[-1](jobs, configurations, launcher)


def sort_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return Hydra's flags and the overrides apart, since Hydra's parser wants the flags first.

    `-m` goes: a single cell is a sweep of one here, so it says nothing.

    >>> sort_arguments(["seed=0,1", "-m", "--cfg", "job", "pooling=max"])
    (['--cfg', 'job'], ['seed=0,1', 'pooling=max'])
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(part for argument in arguments for part in _apart(argument))
    for argument in rest:
        if argument in MULTIRUN:
            continue
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        if argument in WITH_VALUE:
            value = next(rest, None)
            if value is None:
                raise ConfigurationError(f"{argument} needs a value")
            flags.append(value)
    return flags, overrides


def _apart(argument: str) -> list[str]:
    """Return `--flag=value` as flag and value."""
    flag, equals, value = argument.partition("=")
    return [flag, value] if equals and flag in WITH_VALUE else [argument]


def _hydra(flags: list[str], overrides: list[str], command: str) -> int:
    # Hydra would print its errors by itself and end with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # For the records, those of a launcher's workers too.
    os.environ[COMMAND] = shlex.join(["poolbench", command, *overrides, *flags])
    # Lightning's and wandb's imports take seconds: a mistake in the overrides is told without them.
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from poolbench.cli.task import run_task

    saved = sys.argv
    # Hydra asks the composed configuration for its mode, and blames a missing -m for any mistake in it.
    shows = any(flag in flags for flag in ("--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"))
    sys.argv = [sys.argv[0], *flags, *([] if shows else ["--multirun"]), *overrides]
    handlers = {name: signal.signal(name, _stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run_task)()
    except (HydraException, OmegaConfBaseException) as error:
        cause = f": {error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        raise ConfigurationError(" ".join(f"{error}{cause}".split())) from error
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    except (Stopped, KeyboardInterrupt) as stop:
        name = getattr(stop, "signal_name", "SIGINT")
        print(f"poolbench: ended by {name}; what had finished is kept, the same command goes on", file=sys.stderr)
        return 128 + signal.Signals[name].value
    finally:
        sys.argv = saved
        for name, handler in handlers.items():
            signal.signal(name, handler)
    return 0


def _stop(number: int, frame: Any) -> None:
    """End at a signal; a second one is left to end the program at once."""
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(signal.Signals(number).name)
