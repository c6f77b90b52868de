"""A command that runs in this process, into a folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cells import SHORT

from poolbench.cli import main
from poolbench.report import figures, page


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a sweep; its report has no figures and no page, which would take longer than the training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")

    def run(*overrides: str) -> int:
        return main(["train", *SHORT, *overrides])

    return run
