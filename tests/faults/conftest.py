"""One process with everything imported, from which all workers of these tests are forked; a command in this one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cells import SHORT

from poolbench.cli import main
from poolbench.report import figures, page
from poolbench.sweep.processes import Nursery


@pytest.fixture(scope="session")
def nursery() -> Nursery:
    os.environ["OMP_NUM_THREADS"] = "1"
    return Nursery.warmed()


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a sweep; its report has no figures and no page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")

    def run(*overrides: str) -> int:
        return main(["train", *SHORT, *overrides])

    return run
