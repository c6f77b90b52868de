"""Cells run one after another in this process."""

from collections.abc import Sequence

from poolbench.arms import Arms
from poolbench.run import run_cell
from poolbench.sweep.planning import PlannedCell
from poolbench.sweep.progress import SweepProgress


def run_here(cells: Sequence[PlannedCell], arms: Arms, progress: SweepProgress) -> None:
    """Train the cells; one that fails leaves a record and raises nothing."""
    with progress:
        for planned in cells:
            cell = planned.cell
            progress.begin(cell.title, cell.protocol.epochs)
            progress.end(cell.title, run_cell(cell, arms, progress))
