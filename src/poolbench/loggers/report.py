"""A report as loggers show it: `poolbench report … logger=wandb`, and the end of a sweep."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.loggers.line import within
from poolbench.loggers.mirror import exit_code
from poolbench.loggers.mirrors import LIMIT_S, Mirrors, bound
from poolbench.loggers.reported import Reported
from poolbench.loggers.session import Session
from poolbench.record import epoch_rows, read_records

REPORT_LIMIT_S = 60.0


def mirror_report(specs: Mapping[str, Mapping[str, Any]], reported: Reported, session: Session) -> None:
    """Show the report, and its columns at each cell. What fails is said, and no more.

    Args:
        specs: logger specifications by name; those that show cells alone are passed over.
        reported: the report.
        session: what the mirrors of this process share.
    """
    columns = reported.columns()
    for name, spec in specs.items():
        target, arguments = bound(name, spec)
        if not hasattr(target, "report"):
            continue
        _said(session, name, LIMIT_S, partial(target.decide, session, arguments))
        _said(session, name, REPORT_LIMIT_S, partial(target.report, reported, session, arguments))
        for record in read_records(reported.folder)[0]:
            if name in session.hung:
                break
            _cell(name, spec, target, arguments, record, columns.get(record["arm_id"], {}), reported, session)


def _cell(
    name: str,
    spec: Mapping[str, Any],
    target: Any,
    arguments: Any,
    record: Mapping[str, Any],
    columns: Mapping[str, Any],
    reported: Reported,
    session: Session,
) -> None:
    """Show a cell with the columns of its arm: where its run cannot be added to, it is written whole."""
    try:
        if target.add(record["run_id"], columns, session, arguments):
            return
    except Exception as error:  # a folder that cannot be written, a server that answers something else
        session.say_once(f"logger {name} does not show the report's columns: {type(error).__name__}: {error}")
        return
    labels = dict(record["labels"])
    mirrors = Mirrors(
        {name: spec},
        folder=reported.folder / "records" / record["run_id"],
        run_id=record["run_id"],
        experiment=record.get("experiment") or reported.experiment,
        tags=list(labels.values()),
        session=session,
    )
    mirrors.config({**record["config"], "labels": labels}, revision=(record.get("provenance") or {}).get("revision"))
    for row in epoch_rows(record):
        mirrors.row({key: value for key, value in row.items() if key != "epoch"}, step=row["epoch"])
    mirrors.final(record, columns)
    mirrors.close(exit_code=exit_code(record))


def _said(session: Session, name: str, limit_s: float, action: Callable[[], None]) -> None:
    if name in session.hung:
        return

    def run() -> str:
        action()
        return ""

    reason = within(limit_s, run)
    if reason is None:
        session.hung.add(name)
        session.say_once(f"logger {name} did not end within {limit_s:.0f} s and is used no more here")
    elif reason:
        session.say_once(f"logger {name} does not show the report: {reason}")


def require_reporting(specs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `ConfigurationError` for a logger that cannot show a report."""
    for name, spec in specs.items():
        if not hasattr(bound(name, spec)[0], "report"):
            raise ConfigurationError(
                f"logger={name} mirrors cells while they are trained and shows no report; logger=wandb does"
            )
