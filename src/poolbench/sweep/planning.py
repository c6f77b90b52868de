"""From what is asked to a plan: every cell made and checked, before the first one runs."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from poolbench.backbones.trace import pass_zeros
from poolbench.cell import Cell, identity_of
from poolbench.data import Datasets
from poolbench.errors import ConfigurationError, OtherVersionError, UnsupportedError
from poolbench.record import ENDED, RECORD_FILE, Identity, damaged_files, read_record, title
from poolbench.run.batches import open_parts
from poolbench.settings import Settings
from poolbench.sweep.asked import Asked
from poolbench.sweep.plan import FrozenCell
from poolbench.sweep.process import log
from poolbench.sweep.state import file_digest
from poolbench.training import resolve_device
from poolbench.training.inert import require_acting

# Dimensions of an image (C, H, W), whose maps have a memory format.
IMAGE = 3


class Opened:
    """A cell, made where it is needed first: a finished one of a plan was checked before.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[], Cell]) -> None:
        self._make = make

    @cached_property
    def cell(self) -> Cell:
        """The cell, checked and opened."""
        return self._make()


@dataclass(frozen=True)
class PlannedCell:
    """A cell with what the plan knows of it.

    Args:
        asked: what was asked for.
        settings: where its record goes, what it is compared with.
        identity: its digests.
        device: where it is trained.
        opened: the cell itself, where it is needed.
        unsupported: why it cannot be; empty: it can.
        before: the status of the record that stands for it; empty: it is to be trained.
        replaces: digest of the record that is to be replaced; empty: there is none.
        damaged: what is wrong with the files of a finished record that therefore counts no more.
        kept: what its finished record says that is asked for otherwise now; empty: nothing.
    """

    asked: Asked
    settings: Settings
    identity: Identity
    device: torch.device
    opened: Opened
    unsupported: str = ""
    before: str = ""
    replaces: str = ""
    damaged: str = ""
    kept: str = ""

    @property
    def cell(self) -> Cell:
        """The cell, checked and opened."""
        return self.opened.cell

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.identity.run_id

    @property
    def folder(self) -> Path:
        """The record's folder."""
        return self.settings.records / self.run_id

    @property
    def seed(self) -> int:
        """The cell's seed."""
        return int(self.asked.config["seed"])

    @property
    def title(self) -> str:
        """The cell in a line."""
        return title(self.asked.labels, self.seed)

    @property
    def is_to_do(self) -> bool:
        """Whether it must be trained."""
        return not self.unsupported and not self.before

    def frozen(self) -> FrozenCell:
        """Return the cell as plain values."""
        return FrozenCell(
            config=self.asked.config,
            labels=self.asked.labels,
            settings=self.settings,
            identity=self.identity,
            device=self.device.type,
            reference=self.asked.reference,
            unsupported=self.unsupported,
            source=self.asked.source,
        )


@dataclass(frozen=True)
class Plan:
    """What a sweep does: its cells, each once, in the order in which they were asked for."""

    cells: tuple[PlannedCell, ...]

    @cached_property
    def to_do(self) -> list[PlannedCell]:
        """The cells that must be trained."""
        return [planned for planned in self.cells if planned.is_to_do]

    def extended(self, further: "Plan") -> "Plan":
        """Return the plan with the cells of another behind its own."""
        return Plan((*self.cells, *further.cells))


def plan_cells(asked: Iterable[Asked], settings: Settings, datasets: Datasets | None = None) -> Plan:
    """Return the plan of these cells, the network of every arm that has something to do built once.

    `datasets` holds those that are open already.

    Raises:
        ConfigurationError: what is wrong in any of the cells, all mistakes together; or the only cell cannot be.
    """
    found = checked(asked, settings, datasets or Datasets())
    settings.force.check(found.keys())
    reasons: dict[str, str] = {}
    cells = []
    for planned in map(_with_record, found.values()):
        arm = planned.identity.arm_id
        if planned.is_to_do and arm not in reasons:
            reasons[arm] = _why_not(planned.cell)
        cells.append(replace(planned, unsupported=reasons[arm]) if planned.is_to_do else planned)
    if len(cells) == 1 and cells[0].unsupported:
        raise ConfigurationError(cells[0].unsupported)
    return Plan(tuple(cells))


def checked(asked: Iterable[Asked], settings: Settings, datasets: Datasets) -> dict[str, PlannedCell]:
    """Return these cells by their run, each once, checked as far as that takes no network.

    Raises:
        ConfigurationError: what is wrong in any of the cells, all mistakes together.
    """
    found: dict[str, PlannedCell] = {}
    mistakes: list[str] = []
    acting = _Acting()
    for one in asked:
        try:
            planned = _made(one, settings, datasets)
            if not one.is_known:
                acting.require(planned.cell, one.protocol)
        except UnsupportedError:
            raise
        except ConfigurationError as error:
            if str(error) not in mistakes:
                mistakes.append(str(error))
            continue
        found.setdefault(planned.run_id, planned)
    if mistakes:
        raise ConfigurationError("; and ".join(mistakes))
    return found


def _made(asked: Asked, settings: Settings, datasets: Datasets) -> PlannedCell:
    """Return the cell, checked here where it was not when it was planned before."""
    opened = Opened(lambda: Cell.of(asked.config, asked.labels, settings, datasets))
    if not asked.is_known:
        cell = opened.cell
        return PlannedCell(asked, settings, cell.identity, cell.device, opened)
    device = resolve_device(asked.config["trainer"] or {})
    dataset = datasets.open(asked.config["dataset"])
    identity = identity_of(asked.config, asked.labels, device, dataset)
    return PlannedCell(asked, settings, identity, device, opened)


class _Acting:
    """Recipes whose settings were found to act, each tried once."""

    def __init__(self) -> None:
        self._tried: set[str] = set()

    def require(self, cell: Cell, written: Mapping[str, Any] | None) -> None:
        """Raise `ConfigurationError` where a setting beside the recipe's YAML does nothing."""
        protocol, dimensions = cell.protocol, len(cell.input_shape)
        asked = [protocol.optimizer, protocol.schedule, protocol.memory_format, written, dimensions]
        key = json.dumps(asked, sort_keys=True, default=str)
        if written is not None and key not in self._tried:
            require_acting(protocol, written, cell.input_shape)
            self._tried.add(key)


def _with_record(planned: PlannedCell) -> PlannedCell:
    """Return the cell with what its record says: that it is done, or that it is to be done again.

    Raises:
        ConfigurationError: there is a record that cannot be read, or of another version: none of these is lost.
    """
    path = planned.folder / RECORD_FILE
    try:
        record = read_record(path)
    except (FileNotFoundError, NotADirectoryError):
        return planned
    except OtherVersionError as error:
        raise ConfigurationError(f"{error}: use the one that wrote it, or another `results_dir` or `name`") from error
    except ConfigurationError as error:
        return replace(planned, replaces=file_digest(path), damaged=str(error))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
    damage = damaged_files(planned.folder, record)
    # What could not be is tried again: its code may be another now.
    done = record["status"] in ENDED and record["status"] != "unsupported" and not damage
    if done and not planned.settings.force.asks_for(planned.folder, record):
        return replace(planned, before=record["status"], kept=_kept(record, planned.settings))
    return replace(planned, replaces=file_digest(path), damaged="; ".join(damage.values()))


def _kept(record: Mapping[str, Any], settings: Settings) -> str:
    """Return the margin and the reference of a finished record that a command asks for otherwise."""
    asked = {"margin": settings.margin, "reference": settings.reference}
    said = {key: record[key] for key, value in asked.items() if record.get(key) not in (None, value)}
    shown = {key: f"{value * 100:g}" if key == "margin" else value for key, value in said.items()}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _why_not(cell: Cell) -> str:
    """Return why the arm's network cannot be, empty where it can."""
    try:
        network = cell.assemble().network
        _require_layout(network, cell)
    except UnsupportedError as error:
        return str(error)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:  # a network that breaks fails its own cells, and no others
        log.debug("%s: %s: %s", cell.title, type(error).__name__, error)
    return ""


def _require_layout(network: nn.Module, cell: Cell) -> None:
    """Raise `ConfigurationError` where a network takes contiguous maps, and none in the recipe's memory format."""
    layout = cell.protocol.torch_memory_format
    if layout is torch.contiguous_format or len(cell.input_shape) != IMAGE:
        return
    try:
        pass_zeros(network, cell.input_shape, layout)
    except RuntimeError as error:
        asked = f"`protocol.memory_format={cell.protocol.memory_format}`"
        raise ConfigurationError(
            f"{asked}: the network of {cell.title} takes contiguous maps alone ({error}); write "
            "flatten or reshape in the place of view, or give protocol.memory_format=contiguous"
        ) from error


def load_data(planned: Sequence[PlannedCell]) -> None:
    """Load each dataset once, before the first cell: absent data, or too little for a batch, is an error now."""
    for cell in {one.identity.arm_id: one.cell for one in planned}.values():
        images = open_parts(cell).images
        if images.streaming:
            log.info("%s: %s", cell.labels["dataset"], "; ".join(images.notes))
