"""The committed runs: their report made again gives the committed tables and texts, byte for byte."""

import shutil
from pathlib import Path

import pytest

from poolbench.report import figures, page
from poolbench.report.make import make_report

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
RUNS = sorted(path.name for path in REFERENCE.iterdir() if (path / "records").is_dir())


def test_there_are_some() -> None:
    assert {"quickstart", "cifar10_jpeg75", "windows"} <= set(RUNS)


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", RUNS)
def test_tables_made_again_are_the_committed_ones(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")
    own = REFERENCE / name
    copy = tmp_path / name
    for part in ("records", "speed", "trials", "tuned"):
        if (own / part).is_dir():
            shutil.copytree(own / part, copy / part, ignore=shutil.ignore_patterns("weights.pt"))
    if (own / "experiment.json").is_file():
        shutil.copy(own / "experiment.json", copy)
    make_report(copy)
    for kind in ("*.csv", "*.md", "*.tex"):
        assert {path.name for path in copy.glob(kind)} == {path.name for path in own.glob(kind)}
        for committed in sorted(own.glob(kind)):
            assert (copy / committed.name).read_bytes() == committed.read_bytes(), committed.name


@pytest.mark.parametrize("name", RUNS)
def test_records_hold_no_absolute_path(name: str) -> None:
    for path in (REFERENCE / name).glob("records/*/record.json"):
        assert '"/' not in path.read_text(encoding="utf-8").replace('"/"', ""), f"{path}: an absolute path"
