"""Any of Lightning's loggers as a mirror: what `logger=csv` and `logger=tensorboard` are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from poolbench.loggers.mirror import Shown, figures, selected_epoch

# Final figures of these names have a place of their own, beside the curves and not behind their last point.
FINAL = "final"


class LightningMirror:
    """A logger of Lightning's that shows a cell.

    Args:
        logger: the logger.
        shown: the cell.
    """

    def __init__(self, logger: Logger, shown: Shown) -> None:
        self.logger = logger
        self._config: dict[str, Any] = {}
        if isinstance(logger, CSVLogger | TensorBoardLogger):
            _clear(Path(logger.log_dir), shown)

    def config(self, config: Mapping[str, Any], revision: str | None) -> None:
        """Log the configuration as hyperparameters."""
        self._config = dict(config)
        self.logger.log_hyperparams(self._config)

    def row(self, row: Mapping[str, float], epoch: int) -> None:
        """Log an epoch's figures."""
        self.logger.log_metrics(dict(row), epoch)

    def final(self, record: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        """Log the final figures, where the logger has a place for them that is no curve."""
        status, found = record["status"], figures(record)
        if isinstance(self.logger, TensorBoardLogger):
            # Its table of hyperparameters takes each figure from a scalar of that name.
            scalars = {f"{FINAL}/{name}": value for name, value in found.items()}
            self.logger.log_hyperparams({**self._config, "status": status}, scalars, step=selected_epoch(record))
        else:
            self.logger.log_hyperparams({**self._config, FINAL: {"status": status, **found}})

    def close(self, exit_code: int) -> None:
        """End the logger's run."""
        self.logger.finalize("failed" if exit_code else "success")


def _clear(folder: Path, shown: Shown) -> None:
    """Remove what an earlier attempt at the cell left, since all of its epochs come again; nothing of other cells."""
    if not folder.resolve().is_relative_to(shown.folder.resolve()) and shown.run_id not in folder.parts:
        return
    for pattern in ("events.out.tfevents.*", "metrics.csv", "hparams.yaml"):
        for path in folder.glob(pattern):
            path.unlink()
