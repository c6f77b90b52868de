"""`logger=` of commands that train nothing: the loggers that overrides ask for, and a report shown by them."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import composing
from poolbench.errors import ConfigurationError

OVERRIDE = re.compile(r"[+~]{0,2}logger(?:[.=@].*)?")
WITH_REPORT = "give logger=wandb, and what belongs to it: logger.wandb.project=NAME"


def is_override(word: str) -> bool:
    """Whether a word of the command line is an override of loggers.

    >>> is_override("logger=wandb"), is_override("+logger.wandb.entity=me"), is_override("results/logger")
    (True, True, False)
    """
    return OVERRIDE.fullmatch(word) is not None


def asked_loggers(command: str, overrides: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return the logger specifications that the overrides ask for, by name, checked."""
    if not overrides:
        return {}
    with composing(CommandLine.of(command, overrides)) as composer:
        if len(composer.overrides) > 1:
            raise ConfigurationError(
                f"one choice of loggers is needed, got {' '.join(overrides)}; several: logger=[a,b]"
            )
        specs = composer.job(composer.overrides[0]).config.get("logger") or {}
    if not specs:
        raise ConfigurationError(f"{' '.join(overrides)} asks for no logger; {WITH_REPORT}")
    from poolbench.loggers import Mirrors, require_reporting
    from poolbench.loggers.secrets import require_no_secret

    require_no_secret(specs)
    require_reporting(specs)
    Mirrors.check(specs)
    return specs


def show(specs: Mapping[str, Mapping[str, Any]], report: Any, say: Callable[[str], None]) -> None:
    """Let loggers show a report that was made."""
    from poolbench.loggers import Session, mirror_report
    from poolbench.report.shown import reported

    with Session(Path(report.folder), say=say) as session:
        mirror_report(specs, reported(report), session)
