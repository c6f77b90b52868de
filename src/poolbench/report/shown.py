"""A report as loggers take it: plain tables, texts and files."""

from pathlib import Path

from poolbench.errors import ConfigurationError
from poolbench.experiment import read_experiment
from poolbench.loggers.reported import Reported
from poolbench.record import RECORD_FILE, read_record
from poolbench.report.make import PAGE, Report
from poolbench.report.tables.frames import with_scores


def reported(report: Report) -> Reported:
    """Return what loggers show of a report that was written."""
    experiment = read_experiment(report.folder)
    return Reported(
        folder=report.folder,
        experiment=_name(report.folder) or experiment.name,
        question=experiment.question,
        words=report.words,
        arms=with_scores(report.tables),
        tables=report.tables,
        figures={path.stem: path for path in report.files if path.suffix == ".png"},
        page=report.folder / PAGE,
    )


def _name(folder: Path) -> str:
    """Return the name by which the cells were shown, `study/one` where folders are nested; empty: no record says."""
    for path in sorted(folder.glob(f"records/*/{RECORD_FILE}")):
        try:
            return str(read_record(path).get("experiment") or "")
        except (ConfigurationError, OSError):  # the report names it
            continue
    return ""
