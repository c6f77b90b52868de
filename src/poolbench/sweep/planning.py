"""From what is asked to a plan: every cell made and checked, before the first one runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from poolbench.arms import Arms
from poolbench.cell import Cell
from poolbench.data import Datasets
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.record import FINISHED, RECORD_FILE, damaged_files, read_record
from poolbench.run import CLAIMS, open_parts, standing
from poolbench.settings import Settings
from poolbench.sweep.asked import Asked
from poolbench.sweep.plan import FrozenCell
from poolbench.sweep.process import log
from poolbench.training import Protocol
from poolbench.training.inert import require_acting
from poolbench.writable import require_replaceable, require_writable


@dataclass(frozen=True)
class PlannedCell:
    """A cell with what the plan knows of it.

    Args:
        cell: checked, its dataset opened.
        reference: the pooling group of the variant that the arm is compared with.
        unsupported: why it cannot be; empty: it can.
        finished: whether its finished record is there.
        damaged: what is wrong with the files of a finished record that therefore counts no more.
    """

    cell: Cell
    reference: Any
    unsupported: str = ""
    finished: bool = False
    damaged: str = ""

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
    datasets, acting = Datasets(), _Acting()
    found: dict[str, PlannedCell] = {}
    mistakes: list[str] = []
    for one in asked:
        try:
            cell = Cell.of(one.config, one.labels, settings, datasets)
            acting.require(cell.protocol, one.protocol)
        except UnsupportedError:
            raise
        except ConfigurationError as error:
            if str(error) not in mistakes:
                mistakes.append(str(error))
            continue
        found.setdefault(cell.identity.run_id, PlannedCell(cell, one.reference))
    if mistakes:
        raise ConfigurationError("; and ".join(mistakes))
    settings.force.check(found)
    arms = Arms()
    reasons: dict[str, str] = {}
    planned = []
    for known in found.values():
        cell, arm = known.cell, known.cell.identity.arm_id
        if standing(cell):
            planned.append(replace(known, finished=True))
            continue
        if arm not in reasons:
            reasons[arm] = _why_not(cell, arms)
        planned.append(replace(known, unsupported=reasons[arm], damaged=_damage(cell)))
    if len(planned) == 1 and planned[0].unsupported:
        raise ConfigurationError(planned[0].unsupported)
    return Plan(tuple(planned), arms)


class _Acting:
    """Recipes whose settings were found to act, each tried once."""

    def __init__(self) -> None:
        self._tried: set[str] = set()

    def require(self, protocol: Protocol, written: Mapping[str, Any] | None) -> None:
        """Raise `ConfigurationError` where a setting beside the recipe's YAML does nothing."""
        key = json.dumps([protocol.optimizer, protocol.schedule, written], sort_keys=True, default=str)
        if written is not None and key not in self._tried:
            require_acting(protocol, written)
            self._tried.add(key)


def _damage(cell: Cell) -> str:
    """Return what is wrong with the files of a finished record, empty where nothing is or there is none."""
    try:
        record = read_record(cell.folder / RECORD_FILE)
    except (ConfigurationError, OSError):
        return ""
    return "; ".join(damaged_files(cell.folder, record).values()) if record["status"] in FINISHED else ""


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


def require_places(plan: Plan, settings: Settings, *, speed: bool) -> None:
    """Try every place that the sweep will write to, before anything is trained.

    Args:
        plan: the sweep's.
        settings: of its cells.
        speed: whether speeds will be measured.

    Raises:
        ConfigurationError: a place cannot be written.
    """
    places = [settings.folder, settings.records, settings.folder / CLAIMS]
    places += [settings.speeds] if speed else []
    written = [planned.cell.folder for planned in plan.cells if not planned.finished]
    require_writable([*places, *(folder for folder in written if folder.exists())])
    require_replaceable(folder / RECORD_FILE for folder in written)
