"""Mirrors of a cell's history in Lightning's loggers. The record is the truth; a mirror that breaks breaks nothing."""

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from poolbench.errors import ConfigurationError
from poolbench.spec import bind

log = logging.getLogger(__name__)

WANDB = "wandb"
# Arguments of Lightning's loggers that act where its trainer holds the logger or saves checkpoints: never here.
IDLE = {
    "log_graph": "`poolbench export` writes a trained network's program",
    "log_model": "the selected weights are kept beside the record as weights.pt",
    "checkpoint_name": "the selected weights are kept beside the record as weights.pt",
}
# Final figures of these names have a place of their own, beside the curves and not behind their last point.
FINAL = "final"


class Mirrors:
    """The loggers of one cell.

    Args:
        specs: logger specifications by name, as `logger=csv` gives them.
        folder: where the cell's loggers write (its record's folder).
        run_id: the record's name, and the run's id wherever a logger has one.
        experiment: the experiment's name: the run's group wherever a logger has one.
        tags: backbone, variant and dataset.
    """

    def __init__(
        self,
        specs: Mapping[str, Mapping[str, Any]],
        *,
        folder: Path,
        run_id: str,
        experiment: str,
        tags: Sequence[str] = (),
    ) -> None:
        self.loggers: dict[str, Logger] = {}
        self.told: dict[str, Any] = {}
        # TensorBoard's logger would begin with a figure of its own, a -1 by the name of hp_metric.
        context = {"save_dir": str(folder), "name": run_id, "id": run_id, "default_hp_metric": False}
        for name, spec in specs.items():
            target, arguments = bind(spec, context, where=f"logger.{name}")
            if name == WANDB:
                arguments = {"group": experiment, "tags": list(tags), "resume": "allow"} | arguments
            self._guard(name, partial(self._open, name, target, arguments))

    @staticmethod
    def check(specs: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise `ConfigurationError` for a logger argument that is misspelt or does nothing, before any training."""
        for name, spec in specs.items():
            for argument, instead in IDLE.items():
                if spec.get(argument):
                    raise ConfigurationError(f"`logger.{name}.{argument}` does nothing here: {instead}; leave it out")
            bind(spec, {"save_dir": ".", "name": "", "id": ""}, where=f"logger.{name}")

    def _open(self, name: str, target: Callable[..., Logger], arguments: dict[str, Any]) -> None:
        if name == WANDB:
            _go_offline_without_key(arguments)
        self.loggers[name] = target(**arguments)

    def config(self, config: Mapping[str, Any]) -> None:
        """Tell the loggers the cell's configuration."""
        self.told = dict(config)
        for name, logger in list(self.loggers.items()):
            self._guard(name, partial(logger.log_hyperparams, dict(config)))

    def row(self, row: Mapping[str, float], step: int) -> None:
        """Log an epoch's figures."""
        for name, logger in list(self.loggers.items()):
            self._guard(name, partial(logger.log_metrics, dict(row), step))

    def final(self, figures: Mapping[str, float], *, status: str, step: int) -> None:
        """Tell the loggers how the cell ended, as its summary: no curve gets a point of it.

        Args:
            figures: the record's metrics.
            status: the record's status.
            step: the selected epoch, or the last one.
        """
        for name, logger in list(self.loggers.items()):
            self._guard(name, partial(_summarise, logger, self.told, dict(figures), status, step))

    def close(self, *, ok: bool) -> None:
        """End the cell's runs."""
        for name, logger in list(self.loggers.items()):
            self._guard(name, partial(logger.finalize, "success" if ok else "failed"))
        if WANDB in self.loggers:
            import wandb

            # Without this two cells of one process would share a run.
            self._guard(WANDB, partial(wandb.finish, exit_code=0 if ok else 1))

    def _guard(self, name: str, action: Callable[[], Any]) -> None:
        """Let a logger fail without failing the cell: it is dropped, and that is said."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                action()
        except Exception as error:
            self.loggers.pop(name, None)
            log.warning("logger %s dropped, the record is not affected: %s: %s", name, type(error).__name__, error)


def _summarise(logger: Logger, told: dict[str, Any], figures: dict[str, float], status: str, step: int) -> None:
    if isinstance(logger, WandbLogger):
        logger.experiment.summary.update({"status": status, **figures})
    elif isinstance(logger, TensorBoardLogger):
        # Its table of hyperparameters takes each figure from a scalar of that name.
        scalars = {f"{FINAL}/{name}": value for name, value in figures.items()}
        logger.log_hyperparams({**told, "status": status}, scalars, step=step)
    else:
        logger.log_hyperparams({**told, FINAL: {"status": status, **figures}})


def _go_offline_without_key(arguments: dict[str, Any]) -> None:
    """Keep the run offline where there is no key, and say so."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else it looks its server up, offline too
    import wandb

    if arguments.pop("offline", False) or os.environ.get("WANDB_MODE") in ("offline", "dryrun"):
        arguments["mode"] = "offline"
    elif os.environ.get("WANDB_MODE", "online") == "online" and not wandb.api.api_key:
        log.warning("W&B: no key found, so the run is kept offline (`wandb sync` uploads it later)")
        arguments["mode"] = "offline"
