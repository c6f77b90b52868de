"""The mirrors of one cell. Only the record counts; a mirror that breaks or hangs breaks and delays nothing."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.loggers.line import Line
from poolbench.loggers.mirror import Mirror, Shown
from poolbench.loggers.session import Session
from poolbench.spec import TARGET, bind

log = logging.getLogger(__name__)

# Arguments of Lightning's loggers that act where its trainer holds the logger or saves checkpoints: never here.
IDLE = {
    "log_graph": "`poolbench export` writes a trained network's program",
    "log_model": "the selected weights are kept beside the record as weights.pt",
    "checkpoint_name": "the selected weights are kept beside the record as weights.pt",
}
# What the end of a cell waits for all its mirrors together, at most.
LIMIT_S = 15.0


class Mirrors:
    """The loggers of one cell. Each works in a thread of its own: training waits for none of them.

    Args:
        specs: logger specifications by name, as `logger=csv` gives them.
        folder: where the cell's loggers write (its record's folder).
        run_id: the record's name, and the run's id wherever a logger has one.
        experiment: the experiment's name: the run's group wherever a logger has one.
        tags: backbone, variant and dataset.
        session: what the mirrors of this process share; None: one for this cell alone.
        limit_s: seconds that `close` waits at most.
    """

    def __init__(
        self,
        specs: Mapping[str, Mapping[str, Any]],
        *,
        folder: Path,
        run_id: str,
        experiment: str,
        tags: Sequence[str] = (),
        session: Session | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        self.limit_s = limit_s
        self._own_session = session is None
        self._session = session or Session(folder)
        self._mirrors: dict[str, Mirror] = {}
        self._lines: dict[str, Line] = {}
        self._shown = shown = Shown(run_id, experiment, tuple(tags), folder)
        self._session.open[run_id] = self
        context = _context(shown, self._session)
        for name, spec in specs.items():
            if name in self._session.hung:
                continue
            self._lines[name] = Line(f"poolbench-{name}")
            target, arguments = bind(_in_own_folder(spec, run_id), context, where=f"logger.{name}")
            self._add(name, partial(self._open, name, target, arguments, shown))

    @staticmethod
    def check(specs: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise `ConfigurationError` for a logger argument that is misspelt or does nothing, before any training."""
        for name, spec in specs.items():
            for argument, instead in IDLE.items():
                if spec.get(argument):
                    raise ConfigurationError(f"`logger.{name}.{argument}` does nothing here: {instead}; leave it out")
            if str(spec.get(TARGET)).rpartition(".")[2] == "WandbLogger":
                raise ConfigurationError(
                    f"`logger.{name}` must not be Lightning's WandbLogger, whose runs are never closed and wait for a "
                    "server that is away; take logger=wandb"
                )
            target, arguments = bound(name, spec)
            check = getattr(target, "check", None)
            if check is not None:
                check(arguments, f"logger.{name}")

    def config(self, config: Mapping[str, Any], revision: str | None = None) -> None:
        """Tell the loggers the cell's configuration and the code's revision."""
        self._each(lambda mirror: mirror.config(config, revision))

    def row(self, row: Mapping[str, float], step: int) -> None:
        """Log an epoch's figures."""
        self._each(lambda mirror: mirror.row(row, step))

    def final(self, record: Mapping[str, Any], columns: Mapping[str, Any] | None = None) -> None:
        """Tell the loggers how the cell ended, as its summary: no curve gets a point of it.

        Args:
            record: the cell's.
            columns: its arm's figures and verdict in the tables, where a report was made.
        """
        self._each(lambda mirror: mirror.final(record, columns or {}))

    def close(self, *, exit_code: int = 0) -> None:
        """End the cell's runs; those that take too long are left alone, and not used again in this process."""
        self._each(lambda mirror: mirror.close(exit_code))
        for line in self._lines.values():
            line.last()
        until = time.monotonic() + self.limit_s
        for name, line in self._lines.items():
            if not line.ended(until):
                self._session.hung.add(name)
                self._session.say_once(
                    f"logger {name} did not end within {self.limit_s:.0f} s and is used no more here; the records are "
                    "not affected"
                )
        self._lines.clear()
        self._session.open.pop(self._shown.run_id, None)
        if self._own_session:
            self._session.close()

    def _open(self, name: str, target: Callable[..., Any], arguments: dict[str, Any], shown: Shown) -> None:
        made = target(**arguments)
        if not hasattr(made, "row"):
            from poolbench.loggers.lightning_logger import LightningMirror

            made = LightningMirror(made, shown)
        self._mirrors[name] = made

    def _each(self, tell: Callable[[Mirror], None]) -> None:
        for name in list(self._lines):
            self._add(name, partial(self._tell, name, tell))

    def _tell(self, name: str, tell: Callable[[Mirror], None]) -> None:
        mirror = self._mirrors.get(name)
        if mirror is not None:
            tell(mirror)

    def _add(self, name: str, action: Callable[[], None]) -> None:
        """Let a logger do something; where it fails it is dropped, and that is said."""

        def guarded() -> None:
            try:
                action()
            except (Exception, SystemExit) as error:
                self._mirrors.pop(name, None)
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._session.say_once(f"logger {name} dropped, the record is not affected: {reason}")

        self._lines[name].add(guarded)


def decided(
    specs: Mapping[str, Mapping[str, Any]], folder: Path, say: Callable[[str], None] = log.warning
) -> dict[str, str]:
    """Return how loggers with a server will work, by name: found out once for all processes of a sweep, and said."""
    with Session(folder, say=say) as session:
        for name, spec in specs.items():
            target, arguments = bound(name, spec)
            if hasattr(target, "decide"):
                try:
                    target.decide(session, arguments)
                except OSError as error:
                    session.say_once(f"logger {name} will write nothing: {error}")
        return dict(session.decided)


def bound(name: str, spec: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a logger's class and arguments, those that only a cell gives left empty."""
    context = dict.fromkeys(("save_dir", "name", "id", "shown", "session"), "")
    return bind(spec, context, where=f"logger.{name}")


def _in_own_folder(spec: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Return a logger's specification with a folder for this cell in the one that is given, if any.

    Elsewhere the cell's own folder, or the run as the logger's name, keeps cells apart.
    """
    given = {key: value for key, value in spec.items() if key != "save_dir" or value is not None}
    if "save_dir" in given and "name" in given:
        given["save_dir"] = os.path.join(given["save_dir"], run_id)  # noqa: PTH118 - it may be an address
    return given


def _context(shown: Shown, session: Session) -> dict[str, Any]:
    """Return what a logger is given beside its specification, as far as it has an argument of the name."""
    return {
        "shown": shown,
        "session": session,
        "save_dir": str(shown.folder),
        "name": shown.run_id,
        "id": shown.run_id,
        # TensorBoard's logger would begin with a figure of its own, a -1 by the name of hp_metric.
        "default_hp_metric": False,
    }
