"""What belongs to an arm and not to a seed: its audit and its cost, found once for all of its cells.

They are found by whoever is first at a cell of the arm, under that cell's claim: a network that ends its process when
it is looked at ends no plan.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolbench.cell import Cell
from poolbench.errors import ConfigurationError
from poolbench.measure.audit import audited
from poolbench.measure.implementations import implementations
from poolbench.measure.machine import machine
from poolbench.paths import PACKAGE
from poolbench.record import read_json, write_json
from poolbench.source import training_code

Facts = Mapping[str, Any]


class Arms:
    """The facts of arms, held for as long as a sweep is worked at.

    Args:
        folder: where they are shared with other processes, a file an arm; None: they are not.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._facts: dict[str, Facts] = {}

    def facts(self, cell: Cell) -> Facts:
        """Return `audit` and `cost` of the cell's arm, found by the first that asks.

        Raises what its network raises; `UnsupportedError` where it cannot be.
        """
        arm = cell.identity.arm_id
        if arm not in self._facts:
            # What they depend on besides: another version's, or another machine's, are found anew.
            by = {"machine_id": machine(cell.device)["machine_id"], **training_code(PACKAGE)}
            self._facts[arm] = self._read(arm, by) or self._write(arm, by, _found(cell))
        return self._facts[arm]

    def _read(self, arm: str, by: Mapping[str, str]) -> Facts | None:
        if self.folder is None:
            return None
        try:
            found = read_json(self.folder / f"{arm}.json")
        except (ConfigurationError, OSError):
            return None
        is_ours = {"audit", "cost"} <= found.keys() and found.pop("found_by", None) == by
        return found if is_ours else None

    def _write(self, arm: str, by: Mapping[str, str], facts: Facts) -> Facts:
        if self.folder is not None:
            write_json(self.folder / f"{arm}.json", {"found_by": by, **facts})
        return facts


def _found(cell: Cell) -> Facts:
    protocol, assembled = cell.protocol, cell.assemble()
    audit, cost = audited(assembled, batch_size=protocol.batch_size, device=cell.device, step_ms=cell.step_ms)
    ran = implementations(
        assembled.network,
        cell.input_shape,
        device=cell.device,
        dtype=protocol.dtype,
        memory_format=protocol.torch_memory_format,
        batch_size=protocol.batch_size,
    )
    return {"audit": audit | {"implementations": ran}, "cost": cost}
