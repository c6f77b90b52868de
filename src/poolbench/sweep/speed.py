"""The speeds of a sweep: each arm that is trained, beside its reference, where this machine's is not on record."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from poolbench.cell import Cell
from poolbench.record import is_finished
from poolbench.speeds import measure_arm, measured
from poolbench.sweep.asked import Speed
from poolbench.sweep.planning import PlannedCell
from poolbench.sweep.process import log


def measure_speeds(cells: Sequence[PlannedCell], speed: Speed, console: Console) -> None:
    """Measure the arms that have no speed record of this machine."""
    arms: dict[str, PlannedCell] = {}
    for planned in cells:
        arm = planned.identity.arm_id
        if not planned.unsupported and arm not in arms and is_finished(planned.folder):
            arms[arm] = planned
    beside = [(planned.cell, _reference_of(planned, cells)) for planned in arms.values()]
    missing = [
        (cell, reference)
        for cell, reference in beside
        if cell.settings.force.asks_for_speed or not measured(cell, reference)
    ]
    if not missing:
        return
    console.print(f"measuring the speed of {len(missing)} arms, each beside its reference", highlight=False)
    for cell, reference in missing:
        try:
            measure_arm(cell, reference, budget_s=speed.budget_s, half_width=speed.half_width)
        except Exception as error:
            log.warning("speed of %s not measured: %s: %s", cell.title, type(error).__name__, error)


def _reference_of(planned: PlannedCell, cells: Sequence[PlannedCell]) -> Cell:
    """Return the reference's cell of the same block and recipe: the sweep's own, else one made for it."""
    name = planned.settings.reference
    for other in cells:
        if other.asked.labels["variant"] == name and _same(planned.asked.config, other.asked.config):
            return other.cell
    return planned.cell.with_reference(planned.asked.reference, name)


def _same(one: Any, other: Any) -> bool:
    return all(one[group] == other[group] for group in ("backbone", "dataset", "protocol", "trainer"))
