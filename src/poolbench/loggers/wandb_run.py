"""`logger=wandb`: one W&B run a cell, its id the record's, whole each time it is written.

After an interruption every epoch is logged again, and a run that is begun again under its id replaces what was there:
the run is not resumed but written anew, and holds each epoch once, however often the cell was begun.
"""

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.loggers.mirror import Shown, figures
from poolbench.loggers.reported import Reported
from poolbench.loggers.session import Session
from poolbench.loggers.wandb_place import (
    DISABLED,
    FINISH_S,
    INIT_S,
    LONGEST_NAME,
    OFFLINE,
    ONLINE,
    go_offline,
    group_of,
    in_sweep,
    mode,
    prepare,
)
from poolbench.loggers.wandb_report import add_columns, write_report
from poolbench.loggers.wandb_tables import Rows, audit_rows, confusion_rows

LONGEST_TAG = 64
MODES = (ONLINE, OFFLINE, DISABLED)


class WandbRun:
    """A cell's run in W&B.

    Args:
        shown: the cell.
        session: what the runs of this process share.
        project: the project.
        entity: the user or team; None: the key's own.
        offline: whether runs are kept on disk and not sent.
        mode: `online`, `offline` or `disabled`; None: online where there is a key and the server answers.
        group: None: the experiment's name.
        job_type: what the run did.
        tags: None: labels of backbone, variant and dataset.
        name: what W&B shows; None: the id.
        notes: a text.
    """

    def __init__(
        self,
        shown: Shown,
        session: Session,
        project: str = "poolbench",
        entity: str | None = None,
        offline: bool = False,
        mode: str | None = None,
        group: str | None = None,
        job_type: str = "train",
        tags: Sequence[str] | None = None,
        name: str | None = None,
        notes: str | None = None,
    ) -> None:
        self.shown, self.session = shown, session
        self.arguments = {"entity": entity, "offline": offline, "mode": mode}
        self.init: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "group": group_of(group, shown.experiment),
            "job_type": job_type,
            "tags": list(
                dict.fromkeys(str(tag)[:LONGEST_TAG] for tag in (shown.tags if tags is None else tags) if tag)
            ),
            "name": (name or shown.run_id)[:LONGEST_NAME],
            "notes": notes,
        }
        self.run: Any = None

    @staticmethod
    def check(arguments: Mapping[str, Any], where: str) -> None:
        """Raise `ConfigurationError` for arguments that W&B would refuse when the first cell has begun."""
        project = arguments.get("project", "poolbench")
        if not isinstance(project, str) or not project or len(project) > LONGEST_NAME or set(project) & set("/\\#?%:"):
            raise ConfigurationError(
                f"`{where}.project` must be a name of at most {LONGEST_NAME} characters without any of /\\#?%:, "
                f"got {project!r}"
            )
        if arguments.get("mode") not in (None, *MODES):
            raise ConfigurationError(f"`{where}.mode` must be one of {', '.join(MODES)}, got {arguments['mode']!r}")
        if not isinstance(arguments.get("offline", False), bool):
            raise ConfigurationError(f"`{where}.offline` must be true or false, got {arguments['offline']!r}")
        tags = arguments.get("tags")
        if tags is not None and (isinstance(tags, str) or not isinstance(tags, Sequence)):
            raise ConfigurationError(f"`{where}.tags` must be a list, got {tags!r}")

    @staticmethod
    def decide(session: Session, arguments: Mapping[str, Any]) -> None:
        """Find out whether runs are sent or kept offline, once for a sweep."""
        mode(session, arguments)

    @staticmethod
    def report(reported: Reported, session: Session, arguments: Mapping[str, Any]) -> None:
        """Show a report, as one run of the experiment's group."""
        write_report(reported, session, arguments)

    @staticmethod
    def add(run_id: str, columns: Mapping[str, Any], session: Session, arguments: Mapping[str, Any]) -> bool:
        """Add to the summary of a run that is on the server; return whether there is no more to do."""
        return add_columns(run_id, columns, session, arguments)

    def config(self, config: Mapping[str, Any], revision: str | None) -> None:
        """Begin the run with the resolved configuration as plain values."""
        self.begin(config, revision)
        self._define_curves()

    def begin(self, config: Mapping[str, Any], revision: str | None) -> None:
        """Begin the run; offline where the server does not take it."""
        chosen = mode(self.session, self.arguments)
        try:
            self._begin(chosen, dict(config), revision)
        except Exception as error:
            if chosen != ONLINE:
                raise
            go_offline(self.session, error)
            self._begin(OFFLINE, dict(config), revision)

    def row(self, row: Mapping[str, float], epoch: int) -> None:
        """Log an epoch's figures over `epoch`; what is not finite is left out, as in the record."""
        self.run.log({"epoch": epoch, **{k: v for k, v in row.items() if v is not None and math.isfinite(v)}})

    def final(self, record: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        """Write the record's status, metrics, cost and times into the summary, the audit and confusions as tables."""
        self.summary({**columns, **summary(record)})
        self.table("audit", audit_rows(record))
        self.table("confusion", confusion_rows(record, self.shown.folder))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Write values into the summary."""
        self.run.summary.update({key: value for key, value in values.items() if _is_kept(value)})

    def table(self, name: str, rows: Rows | None) -> None:
        """Write a table into the summary, as one of the run's files; None: there is none."""
        if rows is None:
            return
        import wandb

        table = wandb.Table(columns=list(rows.columns), data=[list(row) for row in rows.data])
        # Bound here it is a file of the run alone: an artifact would name the place where it lies now, and be lost in
        # a copy.
        table.bind_to_run(self.run, name, "summary")
        self.run.summary[name] = table

    def close(self, exit_code: int) -> None:
        """End the run; what could not be sent in time stays on disk."""
        if self.run is not None:
            run, self.run = self.run, None
            try:
                run.finish(exit_code=exit_code)
            except TimeoutError as error:  # all of it is on disk, and sent later
                go_offline(self.session, error)

    def _begin(self, chosen: Any, config: dict[str, Any], revision: str | None) -> None:
        runs = prepare(self.session)
        import wandb

        if chosen != DISABLED:
            _remove_earlier(runs, self.shown.run_id)
        settings = wandb.Settings(
            mode=chosen,
            console="off",
            silent=True,
            init_timeout=INIT_S,
            finish_timeout=FINISH_S,
            finish_timeout_raises=True,
            git_commit=revision,
            disable_git=True,
            disable_code=True,
            symlink=False,
            allow_offline_artifacts=False,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        # A run of a W&B sweep has the id that the sweep gave it.
        named = {} if in_sweep() else {"id": self.shown.run_id}
        hooks = sys.exit, sys.excepthook
        try:
            self.run = wandb.init(
                **(self.init | named), config=config, dir=str(runs.parent), settings=settings, reinit="create_new"
            )
        finally:
            sys.exit, sys.excepthook = hooks

    def _define_curves(self) -> None:
        """Let every curve be drawn over the epoch, and the summary hold the record's figures alone."""
        self.run.define_metric("epoch", hidden=True, summary="none")
        self.run.define_metric("*", step_metric="epoch", summary="none")


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's single values: status, reason, metrics, cost, times, code and machine."""
    origin = record.get("provenance") or {}
    return {
        "status": record["status"],
        "reason": record["reason"],
        "run_id": record["run_id"],
        "arm_id": record.get("arm_id"),
        "block_id": record.get("block_id"),
        **figures(record, "cost"),
        **figures(record, "times"),
        **{name: origin.get(name) for name in ("revision", "dirty", "machine", "machine_id", "device_name", "threads")},
        **figures(record),
    }


def _is_kept(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _remove_earlier(runs: Path, run_id: str) -> None:
    """Remove what an earlier attempt at the cell left here: the run is written whole again, and has no duplicate."""
    for folder in runs.glob(f"*run-*-{run_id}"):
        if (folder / f"run-{run_id}.wandb").is_file():
            shutil.rmtree(folder, ignore_errors=True)
