"""`poolbench status` of a folder that no sweep was planned in."""

import shutil
from pathlib import Path

import pytest

from poolbench.cli import main

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference" / "cifar10_jpeg75"


def test_records_without_a_plan_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(REFERENCE / "records", tmp_path / "records")
    assert main(["status", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "no plan" in out
    assert "1 record is there" in out
    assert f"poolbench report {tmp_path}" in out


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 0
    assert "no plan and no records" in capsys.readouterr().out
