"""The plan of a sweep as files: `RESULTS_DIR/NAME/plan/`, written once, read back by whoever works at it.

Plain values alone: reading it needs neither Hydra nor torch.

- `cells/RUN_ID.json`: one frozen cell.
- `arms/ARM_ID.json`: the audit and the cost of an arm.
- `sweeps/ID.json`: the cells that one command asked for, and how its processes are set.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.record import Identity, digest, read_json, title, write_json
from poolbench.settings import Settings

PLAN = "plan"
SCHEMA = 1


@dataclass(frozen=True)
class FrozenCell:
    """A cell as it is planned: everything that its run needs, as plain values.

    Args:
        config: backbone, pooling, head, dataset, protocol, trainer, seed, and `match` where the arm is matched.
        labels: of backbone, variant and dataset.
        settings: where its record goes, what it is compared with.
        identity: its digests.
        device: the kind of device that it was planned for (`cpu`, `cuda`).
        reference: the pooling group of the variant that the arm is compared with.
        unsupported: why it cannot be; empty: it can.
    """

    config: Mapping[str, Any]
    labels: Mapping[str, str]
    settings: Settings
    identity: Identity
    device: str
    reference: Mapping[str, Any]
    unsupported: str = ""

    @property
    def folder(self) -> Path:
        """The record's folder."""
        return self.settings.records / self.identity.run_id

    @property
    def title(self) -> str:
        """The cell in a line."""
        return title(self.labels, int(self.config["seed"]))

    def content(self) -> dict[str, Any]:
        """Return what the cell's file holds."""
        return {
            "schema": SCHEMA,
            **asdict(self.identity),
            "labels": dict(self.labels),
            "device": self.device,
            "unsupported": self.unsupported,
            "config": dict(self.config),
            "reference": dict(self.reference),
            "settings": self.settings.content(),
        }

    @classmethod
    def of(cls, content: Mapping[str, Any], folder: Path) -> "FrozenCell":
        """Return the cell of a file's content; `folder` is the experiment's."""
        return cls(
            config=content["config"],
            labels=content["labels"],
            settings=Settings.of(content["settings"], folder),
            identity=Identity(content["run_id"], content["arm_id"], content["block_id"]),
            device=content["device"],
            reference=content["reference"],
            unsupported=content["unsupported"],
        )


@dataclass(frozen=True)
class PlannedSweep:
    """What one command asked for.

    Args:
        run_ids: its cells, in their order.
        threads: of each process that trains; None: as torch takes by itself.
        allocator: `keep` or `system`.
        command: the command line.
    """

    run_ids: tuple[str, ...]
    threads: int | None
    allocator: str
    command: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The name of its file: a digest of what it holds."""
        return digest(asdict(self))


class PlanFolder:
    """The files of a plan.

    Args:
        folder: the experiment's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / PLAN / "cells"
        self.arms = folder / PLAN / "arms"
        self.sweeps = folder / PLAN / "sweeps"

    def write(self, sweep: PlannedSweep, cells: Iterable[FrozenCell], facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Write what a command asked for; what is there already and says the same stays."""
        for arm_id, found in facts.items():
            _write(self.arms / f"{arm_id}.json", {"schema": SCHEMA, **found})
        for cell in cells:
            _write(self.cells / f"{cell.identity.run_id}.json", cell.content())
        _write(self.sweeps / f"{sweep.id}.json", {"schema": SCHEMA, **asdict(sweep)})

    def cell(self, run_id: str) -> FrozenCell:
        """Return one cell; raise `ConfigurationError` where its file is none."""
        return FrozenCell.of(_read(self.cells / f"{run_id}.json"), self.folder)

    def all_cells(self) -> list[FrozenCell]:
        """Return every cell of the plan, ordered by run."""
        return [FrozenCell.of(_read(path), self.folder) for path in sorted(self.cells.glob("*.json"))]

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return the audit and the cost of each arm."""
        found = {path.stem: _read(path) for path in sorted(self.arms.glob("*.json"))}
        return {arm_id: {key: fact[key] for key in ("audit", "cost")} for arm_id, fact in found.items()}

    def sweep(self, sweep_id: str) -> PlannedSweep:
        """Return what a command asked for."""
        found = _read(self.sweeps / f"{sweep_id}.json")
        return PlannedSweep(tuple(found["run_ids"]), found["threads"], found["allocator"], tuple(found["command"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
    if content.get("schema") != SCHEMA:
        raise ConfigurationError(f"{path}: schema {content.get('schema')!r}, this version reads {SCHEMA}")
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    if path.is_file():
        try:
            if read_json(path) == content:
                return
        except ConfigurationError:
            pass  # torn by another hand: written anew
    write_json(path, content)
