"""A worker: a process that takes the cells of a written plan one after another."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from poolbench.arms import Arms
from poolbench.cell import Cell
from poolbench.data import Datasets
from poolbench.errors import ConfigurationError
from poolbench.run import run_cell
from poolbench.sweep.plan import FrozenCell, PlanFolder

# Gets a cell's title and its record, None where another process is at it.
Said = Callable[[str, Mapping[str, Any] | None], None]


def work(plan: PlanFolder, run_ids: Iterable[str], said: Said) -> None:
    """Train every cell of these that no other process is at and that is not finished."""
    arms, datasets = Arms(plan.facts()), Datasets()
    for run_id in run_ids:
        frozen = plan.cell(run_id)
        if not frozen.unsupported:
            said(frozen.title, run_cell(thawed(frozen, datasets), arms))


def thawed(frozen: FrozenCell, datasets: Datasets) -> Cell:
    """Return the cell of a plan, checked and opened; it must still be the one that was planned.

    Raises:
        ConfigurationError: the data, the user's own code or the kind of device has changed since.
    """
    cell = Cell.of(frozen.config, frozen.labels, frozen.settings, datasets)
    if cell.identity != frozen.identity:
        changed = (
            f"the device is {cell.device.type} here, {frozen.device} in the plan"
            if cell.device.type != frozen.device
            else "its data or its code has changed"
        )
        raise ConfigurationError(
            f"{frozen.title} is not the cell that was planned: {changed}; give the command that planned it again"
        )
    return cell
