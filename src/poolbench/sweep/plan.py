"""The plan of a sweep as files: `RESULTS_DIR/NAME/plan/`, written once, read back by whoever works at it.

Plain values alone: reading it needs neither Hydra nor torch.

- `cells/RUN_ID.json`: one frozen cell.
- `arms/ARM_ID.json`: the audit and the cost of an arm, by who was first at it.
- `claims/`: who is at which cell.
- `sweeps/ID.json`: the cells that one command asked for, and how its processes are set.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.record import Identity, digest, read_json, title, write_bytes
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
        source: digest of what it was composed from; empty: not known.
    """

    config: Mapping[str, Any]
    labels: Mapping[str, str]
    settings: Settings
    identity: Identity
    device: str
    reference: Mapping[str, Any]
    unsupported: str = ""
    source: str = ""

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
            "source": self.source,
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
            source=content.get("source", ""),
        )


@dataclass(frozen=True)
class PlannedSweep:
    """What one command asked for.

    Args:
        run_ids: its cells, in their order.
        threads: of each process that trains.
        allocator: `keep` or `system`.
        on_failure: `continue`, or `stop`: the first cell that fails ends the sweep.
        retry: how often a cell that failed is tried again.
        again: cells that are trained anew: the digest of the record that is to be replaced, by run.
        code: digest of the code and versions that the cells were planned with.
        command: the command line.
        mirrors: how loggers with a server work in this sweep (`online`, `offline`), by name, where that was found out.
        name: of its file; empty: by what it holds.
    """

    run_ids: tuple[str, ...]
    threads: int
    allocator: str
    on_failure: str = "continue"
    retry: int = 0
    again: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    mirrors: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def id(self) -> str:
        """The name of its file: a digest of what it holds; kept where more is asked of a worker."""
        return self.name or digest(self.content())

    def content(self) -> dict[str, Any]:
        """Return what its file holds."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


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
        self.claims = folder / PLAN / "claims"

    def write(self, sweep: PlannedSweep, cells: Iterable[FrozenCell]) -> None:
        """Write what a command asked for; what is there already and says the same stays."""
        for cell in cells:
            _write(self.cells / f"{cell.identity.run_id}.json", cell.content())
        _write(self.sweeps / f"{sweep.id}.json", {"schema": SCHEMA, **sweep.content()})

    def cell(self, run_id: str) -> FrozenCell:
        """Return one cell; raise `ConfigurationError` where its file is none."""
        path = self.cells / f"{run_id}.json"
        cell = FrozenCell.of(_read(path), self.folder)
        if cell.identity.run_id != run_id or Path(run_id).name != run_id:
            raise ConfigurationError(f"{path}: holds the cell {cell.identity.run_id!r}, its name another")
        return cell

    def all_cells(self) -> list[FrozenCell]:
        """Return every cell of the plan, ordered by run."""
        return [self.cell(path.stem) for path in sorted(self.cells.glob("*.json"))]

    def sweep(self, sweep_id: str) -> PlannedSweep:
        """Return what a command asked for."""
        found = _read(self.sweeps / f"{sweep_id}.json")
        found |= {"run_ids": tuple(found["run_ids"]), "command": tuple(found["command"]), "name": sweep_id}
        return PlannedSweep(**{key: found[key] for key in PlannedSweep.__dataclass_fields__ if key in found})

    def newest_sweep(self) -> PlannedSweep:
        """Return what the last command asked for; raise `ConfigurationError` where nothing was planned."""
        found = sorted(self.sweeps.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        if not found:
            raise ConfigurationError(f"{self.folder} has no plan: `poolbench train` makes one")
        return self.sweep(found[-1].stem)

    def stop(self, sweep: PlannedSweep, reason: str) -> None:
        """Ask every worker of a sweep to stop."""
        write_bytes(self.sweeps / f"{sweep.id}.stop", reason.encode())

    def stopped(self, sweep: PlannedSweep) -> str:
        """Return why the workers of a sweep shall stop, empty where they shall not."""
        try:
            return (self.sweeps / f"{sweep.id}.stop").read_text(encoding="utf-8")
        except OSError:
            return ""

    def start(self, sweep: PlannedSweep) -> None:
        """Let the workers of a sweep begin: what asked an earlier run of it to stop holds no more; it is the newest."""
        (self.sweeps / f"{sweep.id}.json").touch()
        (self.sweeps / f"{sweep.id}.stop").unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
    if content.get("schema") != SCHEMA:
        raise ConfigurationError(
            f"{path}: schema {content.get('schema')!r}, this version reads {SCHEMA}; remove the folder `plan`, and the "
            "same command plans again"
        )
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    encoded = (json.dumps(content, indent=1) + "\n").encode()
    if path.is_file() and path.read_bytes() == encoded:
        return
    # What is lost in a power cut is planned again by the same command.
    write_bytes(path, encoded, sync=False)
