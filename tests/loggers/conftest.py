"""W&B's offline runs as W&B's own tool reads them."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from wandb.util import get_core_path

from poolbench.loggers.line import Line


class Run:
    """One offline run, read back by `wandb leet inspect`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        records = [json.loads(line) for line in _inspect(folder).splitlines()]
        self.records: list[dict[str, Any]] = records
        self.whole: dict[str, Any] = json.loads(_inspect(folder, "--summary"))
        self.run: dict[str, Any] = next(one["run"] for one in records if one["type"] == "run")
        self.history: list[dict[str, Any]] = [one["history"]["item"] for one in records if one["type"] == "history"]
        self.exits = [one["exit"].get("exit_code", 0) for one in records if one["type"] == "exit"]

    @property
    def summary(self) -> dict[str, Any]:
        return self.whole["summary"]

    @property
    def config(self) -> dict[str, Any]:
        return self.whole["config"]

    def table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        value = self.summary.get(name) or self.history[-1][name]
        content = json.loads((self.folder / "files" / value["path"]).read_text())
        return content["columns"], content["data"]


def _inspect(folder: Path, *flags: str) -> str:
    # What `wandb leet inspect FOLDER --json` runs, without the seconds that importing its command takes.
    (log,) = folder.glob("run-*.wandb")
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", *flags]
    command += ["--run-file", str(log), str(folder.parent)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def read_runs(folder: Path, pattern: str = "*") -> dict[str, Run]:
    """Return the offline runs of an experiment by their ids; one id has one folder."""
    found = [Run(path) for path in sorted((folder / "wandb").glob(f"offline-run-{pattern}"))]
    by_id = {one.run["run_id"]: one for one in found}
    assert len(by_id) == len(found), "an id has two folders"
    return by_id


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No key, no settings of W&B's, and an empty home, which is returned."""
    clean(monkeypatch, tmp_path / "home")
    return tmp_path / "home"


def clean(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("WANDB_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)


@dataclass(frozen=True)
class Wait:
    """How long a process waited for one of its loggers at most, in seconds, and whether that ended."""

    limit_s: float
    ended: bool


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Wait]:
    """Every wait for a logger, or for a look at its server; whatever a logger does, a cell waits nowhere else."""
    found: list[Wait] = []
    real = Line.ended

    def ended(line: Line, until: float) -> bool:
        limit_s = until - time.monotonic()
        done = real(line, until)
        found.append(Wait(limit_s, done))
        return done

    monkeypatch.setattr(Line, "ended", ended)
    return found
