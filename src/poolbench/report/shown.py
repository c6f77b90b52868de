"""A report as loggers take it: plain tables, texts and files."""

from poolbench.loggers.reported import Reported
from poolbench.report.make import PAGE, Report
from poolbench.report.tables.frames import with_scores


def reported(report: Report) -> Reported:
    """Return what loggers show of a report that was written."""
    return Reported(
        folder=report.folder,
        experiment=report.shown_as,
        question=report.question,
        words=report.words,
        arms=with_scores(report.tables),
        tables=report.tables,
        figures={path.stem: path for path in report.files if path.suffix == ".png"},
        page=report.folder / PAGE,
    )
