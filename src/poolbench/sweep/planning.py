"""From what is asked to a plan: every cell made and checked, before the first one runs."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from poolbench.arms import Arms
from poolbench.cell import Cell
from poolbench.data import Datasets
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.run import is_finished, open_parts
from poolbench.settings import Settings
from poolbench.sweep.asked import Asked
from poolbench.sweep.plan import FrozenCell
from poolbench.sweep.process import log


@dataclass(frozen=True)
class PlannedCell:
    """A cell with what the plan knows of it.

    Args:
        cell: checked, its dataset opened.
        reference: the pooling group of the variant that the arm is compared with.
        unsupported: why it cannot be; empty: it can.
        finished: whether its finished record is there.
    """

    cell: Cell
    reference: Any
    unsupported: str = ""
    finished: bool = False

    @property
    def is_to_do(self) -> bool:
        """Whether it must be trained."""
        return not self.unsupported and not self.finished

    def frozen(self) -> FrozenCell:
        """Return the cell as plain values."""
        cell = self.cell
        return FrozenCell(
            config=cell.config,
            labels=cell.labels,
            settings=cell.settings,
            identity=cell.identity,
            device=cell.device.type,
            reference=self.reference,
            unsupported=self.unsupported,
        )


@dataclass(frozen=True)
class Plan:
    """What a sweep does.

    Args:
        cells: each once, in the order in which they were asked for.
        arms: what is known of their arms.
    """

    cells: tuple[PlannedCell, ...]
    arms: Arms

    @property
    def to_do(self) -> list[PlannedCell]:
        """The cells that must be trained."""
        return [planned for planned in self.cells if planned.is_to_do]


def plan_cells(asked: Iterable[Asked], settings: Settings) -> Plan:
    """Return the plan of these cells, what belongs to an arm found for every arm that has something to do.

    Raises:
        ConfigurationError: what is wrong in any of the cells, all mistakes together; or the only cell cannot be.
    """
    datasets = Datasets()
    found: dict[str, PlannedCell] = {}
    mistakes: list[str] = []
    for one in asked:
        try:
            cell = Cell.of(one.config, one.labels, settings, datasets)
        except UnsupportedError:
            raise
        except ConfigurationError as error:
            if str(error) not in mistakes:
                mistakes.append(str(error))
            continue
        found.setdefault(cell.identity.run_id, PlannedCell(cell, one.reference))
    if mistakes:
        raise ConfigurationError("\n  ".join(mistakes))
    arms = Arms()
    reasons: dict[str, str] = {}
    planned = []
    for known in found.values():
        cell, arm = known.cell, known.cell.identity.arm_id
        if not settings.force and is_finished(cell):
            planned.append(replace(known, finished=True))
            continue
        if arm not in reasons:
            reasons[arm] = _why_not(cell, arms)
        planned.append(replace(known, unsupported=reasons[arm]))
    if len(planned) == 1 and planned[0].unsupported:
        raise ConfigurationError(planned[0].unsupported)
    return Plan(tuple(planned), arms)


def _why_not(cell: Cell, arms: Arms) -> str:
    """Return why the arm's network cannot be, empty where it can; what is known of the arm is kept."""
    try:
        arms.facts(cell)
    except UnsupportedError as error:
        return str(error)
    except ConfigurationError:
        raise
    except Exception as error:  # a network that breaks fails its own cells, and no others
        log.debug("%s: %s: %s", cell.title, type(error).__name__, error)
    return ""


def load_data(planned: Sequence[PlannedCell]) -> None:
    """Load each dataset once, before the first cell: absent data, or too little for a batch, is an error now."""
    for cell in {one.cell.identity.arm_id: one.cell for one in planned}.values():
        images = open_parts(cell).images
        if images.streaming:
            log.info("%s: %s", cell.labels["dataset"], "; ".join(images.notes))


def require_writable(folder: Path) -> None:
    """Find a results folder that cannot be written before training, not after."""
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(f"`results_dir`: {folder} cannot be written: {error.strerror or error}") from error
