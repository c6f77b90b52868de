"""What belongs to an arm and not to a seed: its audit and its cost, found once by whoever plans or trains its cells."""

from collections.abc import Mapping
from typing import Any

from poolbench.cell import Cell
from poolbench.measure.audit import audited
from poolbench.measure.implementations import implementations

Facts = Mapping[str, Any]


class Arms:
    """The facts of arms, held for as long as a sweep is planned or worked at.

    Args:
        known: facts that another process found, by `arm_id`.
    """

    def __init__(self, known: Mapping[str, Facts] | None = None) -> None:
        self._facts: dict[str, Facts] = dict(known or {})

    def facts(self, cell: Cell) -> Facts:
        """Return `audit` and `cost` of the cell's arm, found at the first call.

        Raises what its network raises; `UnsupportedError` where it cannot be.
        """
        arm = cell.identity.arm_id
        if arm not in self._facts:
            self._facts[arm] = _found(cell)
        return self._facts[arm]

    def known(self, cell: Cell) -> Facts | None:
        """Return the facts of the cell's arm where they were found."""
        return self._facts.get(cell.identity.arm_id)


def _found(cell: Cell) -> Facts:
    protocol, assembled = cell.protocol, cell.assemble()
    audit, cost = audited(assembled, batch_size=protocol.batch_size, device=cell.device)
    ran = implementations(
        assembled.network,
        cell.input_shape,
        device=cell.device,
        dtype=protocol.dtype,
        memory_format=protocol.torch_memory_format,
        batch_size=protocol.batch_size,
    )
    return {"audit": audit | {"implementations": ran}, "cost": cost}
