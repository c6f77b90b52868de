"""A command that runs in this process, into a folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cells import SHORT

from poolbench.cli import main


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> int:
        return main(["train", *SHORT, *overrides])

    return run
