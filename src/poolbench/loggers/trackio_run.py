"""`logger=trackio`: W&B's interface kept in a SQLite file, with a local dashboard, for people without an account."""

import math
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.loggers.mirror import Shown, figures, selected_epoch
from poolbench.loggers.session import Session

TRACKIO, FOLDER = "trackio", "TRACKIO_DIR"
FINAL = "final"


class TrackioRun:
    """A cell's run in trackio.

    Args:
        shown: the cell.
        session: what the runs of this process share.
        project: None: the experiment's name, with hyphens in the place of what trackio does not take.
        name: what trackio calls it; None: the record's name.
        group: None: the experiment's name.
    """

    def __init__(
        self,
        shown: Shown,
        session: Session,
        project: str | None = None,
        name: str | None = None,
        group: str | None = None,
    ) -> None:
        self.session = session
        self.project = re.sub(r"[^A-Za-z0-9_-]+", "-", project or shown.experiment)
        self.name = name or shown.run_id
        self.group = group or shown.experiment
        self.run: Any = None

    @staticmethod
    def check(arguments: Mapping[str, Any], where: str) -> None:
        """Raise `ConfigurationError` where trackio is not installed."""
        from importlib.util import find_spec

        if find_spec(TRACKIO) is None:
            raise ConfigurationError(f"`{where}` needs trackio: pip install '.[trackio]' in its checkout")

    def config(self, config: Mapping[str, Any], revision: str | None) -> None:
        """Begin the run; one of the same name, of an earlier attempt at the cell, goes."""
        trackio = _trackio(self.session)
        with self.session.lock:
            _remove_earlier(trackio, self.project, self.name)
        self.run = trackio.init(
            project=self.project,
            name=self.name,
            group=self.group,
            config={**config, "revision": revision},
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def row(self, row: Mapping[str, float], epoch: int) -> None:
        """Log an epoch's figures; its step is the epoch."""
        self._log({name: value for name, value in row.items() if value is not None and math.isfinite(value)}, epoch)

    def final(self, record: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        """Log status, metrics and cost under names of their own, at the selected epoch: trackio has no summary."""
        found = {**figures(record, "cost"), **figures(record)}
        self._log(
            {f"{FINAL}/{name}": value for name, value in found.items() if math.isfinite(value)}
            | {f"{FINAL}/status": record["status"]},
            selected_epoch(record),
        )

    def close(self, exit_code: int) -> None:
        """Write what waits, and end the run."""
        if self.run is not None:
            run, self.run = self.run, None
            run.finish()

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        self.run.log(dict(values), step=step)


def _trackio(session: Session) -> ModuleType:
    """Return trackio, which keeps its files in the experiment's folder where the user has not said otherwise."""
    with session.lock:
        session.environment.default({FOLDER: str(session.folder / TRACKIO)})
        # It takes its folder when it is imported: for another folder it is imported anew.
        session.at_end(TRACKIO, _forget)
        trackio = import_module(TRACKIO)
        for module in (trackio, import_module("trackio.run"), import_module("trackio.utils")):
            # It tells each step on standard output and has no switch: there are the tables.
            vars(module)["print"] = _nothing
        # With a token of the Hub it would ask the Hub whose it is.
        vars(import_module("trackio.run"))["_get_default_namespace"] = _nothing
        return trackio


def _remove_earlier(trackio: ModuleType, project: str, name: str) -> None:
    try:
        runs = list(trackio.Api().runs(project))
    except ValueError:  # there is no such project yet
        return
    for run in runs:
        if run.name == name:
            run.delete()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == TRACKIO]:
        del sys.modules[name]


def _nothing(*words: object, **settings: object) -> None:
    """Print nothing."""
