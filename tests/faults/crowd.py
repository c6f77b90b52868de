"""Sweeps of tiny cells, worked at by processes that are forked from one with everything imported, and killed."""

import json
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

from poolbench.paths import PACKAGE, conf_dir
from poolbench.record import RECORD_FILE, read_record
from poolbench.settings import Settings
from poolbench.source import training_code
from poolbench.sweep.asked import Asked
from poolbench.sweep.claims import Claims
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.planning import plan_cells
from poolbench.sweep.processes import Job, Nursery
from poolbench.sweep.state import file_digest

LIMIT_S = 1800


def written(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())


def asked(
    pooling: str | dict[str, Any] = "max", seed: int = 0, *, label: str = "", images: int = 200, **protocol: Any
) -> Asked:
    """Return a cell of one epoch over few images, unless `protocol` says otherwise."""
    group = written("pooling", pooling) if isinstance(pooling, str) else pooling
    config = {
        "backbone": written("backbone", "slides"),
        "pooling": group,
        "head": None,
        "dataset": written("dataset", "digits") | {"train_images": images},
        "protocol": written("protocol", "default")
        | {"epochs": 1, "batch_size": 64, "checkpoint_every_s": 0}
        | protocol,
        "trainer": {"accelerator": "cpu"},
        "seed": seed,
    }
    labels = {"backbone": "slides", "variant": label or group["name"], "dataset": "digits"}
    return Asked(config, labels, written("pooling", "max"))


def planned(
    results: Path, cells: Sequence[Asked], name: str = "faults", **sweep: Any
) -> tuple[PlanFolder, PlannedSweep]:
    """Write the plan of these cells."""
    settings = Settings(results, name, "max", command=("poolbench", "train"))
    plan = plan_cells(cells, settings)
    run_ids = tuple(one.run_id for one in plan.cells)
    made = PlannedSweep(run_ids, 1, "system", code=training_code(PACKAGE), command=settings.command)
    made = replace(made, **sweep)
    folder = PlanFolder(results / name)
    folder.write(made, [one.frozen() for one in plan.cells])
    return folder, made


def records(plan: PlanFolder) -> dict[str, dict[str, Any]]:
    """Return every record by its run, each read with its seal."""
    paths = sorted(plan.folder.glob(f"records/*/{RECORD_FILE}"))
    return {path.parent.name: read_record(path) for path in paths}


@dataclass
class Crowd:
    """Workers at a plan, started again when they end before their time.

    Args:
        plan: the plan's files.
        sweep: whose cells.
        count: workers at a time.
        nursery: forks them.
    """

    plan: PlanFolder
    sweep: PlannedSweep
    count: int
    nursery: Nursery
    kills: int = 0
    workers: list[BaseProcess] = field(default_factory=list)
    # The digest of each record when it was seen first.
    seen: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> "Crowd":
        self.fill()
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers:
            if worker.is_alive():
                worker.kill()
            worker.join()

    def fill(self) -> None:
        self.workers = [worker for worker in self.workers if worker.is_alive()]
        while len(self.workers) < self.count:
            self.workers.append(self.nursery.start(Job(self.plan.folder, self.sweep.id, {})))

    def look(self) -> None:
        """Note each record that is done, and that none which was done has changed."""
        for run_id in self.sweep.run_ids:
            path = self.plan.folder / "records" / run_id / RECORD_FILE
            if run_id not in self.seen and path.is_file() and read_record(path)["status"] != "interrupted":
                self.seen[run_id] = file_digest(path)

    @property
    def is_over(self) -> bool:
        return set(self.seen) == set(self.sweep.run_ids)

    def kill_some(self, kills: int, *, every_s: float, seed: int = 0) -> None:
        """Kill workers at random moments, each while it holds a claim, until all cells are done."""
        draw, claims = random.Random(seed), Claims(self.plan.claims)
        end = time.monotonic() + LIMIT_S
        turn = time.monotonic() + draw.uniform(0, 2 * every_s)
        while not self.is_over:
            assert time.monotonic() < end, f"{self.kills} kills, {len(self.seen)} cells done in {LIMIT_S} s"
            if self.kills < kills and time.monotonic() >= turn:
                turn = time.monotonic() + draw.uniform(0, 2 * every_s)
                at_work = {held.process.pid for held in claims.all().values() if not held.end}
                victims = [worker for worker in self.workers if worker.pid in at_work and worker.is_alive()]
                if victims:
                    os.kill(draw.choice(victims).pid or 0, signal.SIGKILL)
                    self.kills += 1
            self.look()
            self.fill()
            time.sleep(0.02)

    def require_done_once(self) -> None:
        """Each cell has one whole record, the one that was seen first; nothing is left of claims and checkpoints."""
        for worker in self.workers:
            worker.join(timeout=120)
        found = records(self.plan)
        assert set(found) == set(self.sweep.run_ids)
        for run_id, digest in self.seen.items():
            assert file_digest(self.plan.folder / "records" / run_id / RECORD_FILE) == digest, f"{run_id}: done twice"
        assert not list(self.plan.folder.glob("records/*/checkpoint*.pt"))
        assert not Claims(self.plan.claims).all()


def run_alone(plan: PlanFolder, sweep: PlannedSweep, nursery: Nursery) -> int | None:
    """Let one worker do the plan; return its exit status."""
    worker = nursery.start(Job(plan.folder, sweep.id, {}))
    worker.join()
    return worker.exitcode


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without what depends on the clock, and on who did what."""
    kept = {key: value for key, value in record.items() if key not in ("times", "files")}
    kept["provenance"] = {
        key: value
        for key, value in record["provenance"].items()
        if key not in ("attempts", "resumed_epochs", "places", "host", "pid")
    }
    return json.loads(json.dumps(kept))
