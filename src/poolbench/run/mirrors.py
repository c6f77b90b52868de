"""The loggers of one cell."""

from poolbench.cell import Cell
from poolbench.loggers import Mirrors
from poolbench.run.description import package_revision
from poolbench.run.under import Under


def open_mirrors(cell: Cell, under: Under) -> Mirrors:
    """Return the cell's loggers, with its configuration shown in each."""
    mirrors = Mirrors(
        cell.settings.loggers or {},
        folder=cell.folder,
        run_id=cell.identity.run_id,
        experiment=cell.settings.name,
        tags=list(cell.labels.values()),
        session=under.session,
    )
    mirrors.config({**cell.config, "labels": dict(cell.labels)}, revision=package_revision()[0])
    return mirrors


def close_unsaid(mirrors: Mirrors | None) -> None:
    """End this process's view of a cell that another process has taken over and now shows."""
    if mirrors:
        mirrors.close(exit_code=1)
