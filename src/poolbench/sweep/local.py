"""Cells run one after another in this process."""

import os
from collections.abc import Sequence

from poolbench.arms import Arms
from poolbench.run import run_cell
from poolbench.sweep.planning import PlannedCell
from poolbench.sweep.progress import SweepProgress
from poolbench.sweep.ran import Ran


def run_here(cells: Sequence[PlannedCell], arms: Arms, progress: SweepProgress) -> Ran:
    """Train the cells, and return what became of them; one that fails leaves a record and raises nothing."""
    records = {}
    with progress:
        for planned in cells:
            cell = planned.cell
            progress.begin(cell.title, cell.protocol.epochs)
            records[cell.identity.run_id] = run_cell(cell, arms, progress)
            progress.end(cell.title, records[cell.identity.run_id])
    return Ran(frozenset([os.getpid()]), records)
