"""`poolbench export`: from a trained cell's record to files, and what it refuses."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
from cells import SHORT, records

from poolbench.cli import main
from poolbench.data import open_dataset
from poolbench.export import network as exporting
from poolbench.record import write_record


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of results with one trained cell."""
    results = tmp_path_factory.mktemp("export") / "results"
    assert main(["train", *SHORT, "backbone=slides", "pooling=avg_topk", "seed=0", f"results_dir={results}"]) == 0
    return results


def record_of(results: Path) -> dict[str, Any]:
    (record,) = records(results / "adhoc").values()
    return record


def export(results: Path, *arguments: str) -> int:
    return main(["export", record_of(results)["run_id"], "--results-dir", str(results), *arguments])


@pytest.mark.slow
def test_files_give_the_accuracy_of_the_record(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert export(trained) == 0
    record = record_of(trained)
    run_id = record["run_id"]
    folder = trained / "adhoc" / "records" / run_id / "exports"
    assert {path.name for path in folder.iterdir()} == {f"{run_id}.onnx", f"{run_id}.pt2", f"{run_id}.json"}
    out, err = capfd.readouterr()
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        str(folder / f"{run_id}{end}") for end in (".onnx", ".pt2", ".json")
    ]
    assert err == ""
    described = json.loads((folder / f"{run_id}.json").read_text())
    assert described["input"]["shape"] == ["batch", 1, 16, 16]
    assert described["input"]["dtype"] == "uint8"
    assert described["num_classes"] == 10
    assert described["normalisation"]["mean"] == record["data"]["mean"]
    assert described["weights_sha256"] == record["files"]["weights.pt"]
    assert {"torch", "onnx", "onnxruntime", "onnxscript", "poolbench", "python"} == set(described["versions"])
    differences = [file["largest_difference"] for file in described["files"].values()]
    assert len(differences) == 2
    assert all(difference < 1e-4 for difference in differences)

    images = open_dataset(record["config"]["dataset"]).load().test
    raw = next(iter(images.batches([torch.arange(len(images))])))
    session = onnxruntime.InferenceSession(folder / f"{run_id}.onnx")
    program = torch.export.load(folder / f"{run_id}.pt2").module()
    for logits in (torch.from_numpy(session.run(None, {"images": raw.numpy()})[0]), program(raw)):
        accuracy = (logits.argmax(1) == images.labels).double().mean().item()
        assert accuracy == pytest.approx(record["metrics"]["test_accuracy"], abs=1 / len(images))


@pytest.mark.slow
def test_one_format_a_fixed_batch_a_folder_and_no_comparison(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert export(trained, "--format", "torch", "--batch", "4", "--output", str(folder), "--no-check") == 0
    run_id = record_of(trained)["run_id"]
    assert {path.name for path in folder.iterdir()} == {f"{run_id}.pt2", f"{run_id}.json"}
    described = json.loads((folder / f"{run_id}.json").read_text())
    assert described["input"]["shape"] == [4, 1, 16, 16]
    assert described["comparison"] is None
    assert set(described["versions"]) == {"python", "poolbench", "torch"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "onnx,pt"], "unknown format 'pt'"),
        (["--batch", "0"], "--batch must be a whole number of at least 1, got 0"),
    ],
)
def test_what_is_asked_wrongly(
    trained: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(trained, *arguments) == 2
    assert says in capsys.readouterr().err


def test_a_run_that_is_not_there(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = record_of(trained)["run_id"]
    assert main(["export", run_id[:-1] + "x", "--results-dir", str(trained)]) == 2
    assert f"did you mean {run_id}" in capsys.readouterr().err


def copied(trained: Path, to: Path, **changes: Any) -> Path:
    """Return results with a copy of the cell, its record changed."""
    shutil.copytree(trained, to / "results", ignore=shutil.ignore_patterns("exports"))
    (path,) = (to / "results").glob("adhoc/records/*/record.json")
    write_record(path, json.loads(path.read_text()) | changes)
    return to / "results"


def test_a_cell_without_weights(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = copied(trained, tmp_path, status="diverged", reason="the loss was nan")
    assert export(results) == 2
    assert "is diverged, it has no weights: the loss was nan" in capsys.readouterr().err


def test_weights_that_are_not_the_records(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = copied(trained, tmp_path)
    (weights,) = results.glob("adhoc/records/*/weights.pt")
    content = weights.read_bytes()
    weights.write_bytes(content + b"0")
    assert export(results) == 2
    assert "its digest is" in capsys.readouterr().err
    weights.unlink()
    assert export(results) == 2
    assert "weights.pt cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.slow
def test_data_is_not_needed(trained: Path, tmp_path: Path) -> None:
    config = record_of(trained)["config"]
    gone = {"_target_": "poolbench.data.image_folder.ImageFolder", "root": "nowhere", "num_classes": None}
    results = copied(trained, tmp_path, config=config | {"dataset": config["dataset"] | gone})
    assert export(results, "--format", "torch") == 0


def test_a_folder_that_cannot_be(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert export(trained, "--output", str(tmp_path / "file" / "exports")) == 2
    assert f"`--output`: {tmp_path / 'file' / 'exports'} cannot be written: Not a directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_disk_that_fills_leaves_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = exporting.replacing

    @contextmanager
    def full(path: Path) -> Iterator[Any]:
        if path.suffix == ".json":
            raise OSError(28, "No space left on device")
        with real(path) as file:
            yield file

    monkeypatch.setattr(exporting, "replacing", full)
    assert export(trained, "--output", str(tmp_path), "--no-check") == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_difference_is_status_1_and_leaves_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    assert export(trained, "--output", str(tmp_path / "new")) == 1
    assert "gives other logits than the network" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_extra(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export(trained, "--output", str(tmp_path)) == 2
    assert "pip install '.[export]'" in capsys.readouterr().err
    assert export(trained, "--output", str(tmp_path), "--format", "torch") == 0
