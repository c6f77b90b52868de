"""`poolbench test`: the figures of weights that are kept, computed again; and what it refuses to compare."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.crowd import asked, planned

from poolbench.cli import main
from poolbench.cli.evaluate import find
from poolbench.record import RECORD_FILE, read_record, write_record


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one experiment of one trained cell; it is only copied."""
    results = tmp_path_factory.mktemp("trained")
    plan, _ = planned(results, [asked("avg")], name="first")
    assert main(["work", str(plan.folder)]) == 0
    return results


@pytest.fixture
def folder(once: Path, tmp_path: Path) -> Path:
    """The folder of the run, in `tmp_path/results`."""
    shutil.copytree(once, tmp_path / "results")
    (record,) = tmp_path.glob(f"results/first/records/*/{RECORD_FILE}")
    return record.parent


def change(folder: Path, **changes: Any) -> None:
    """Write the record anew with other content, sealed."""
    path = folder / RECORD_FILE
    write_record(path, read_record(path) | changes)


def test_equal_figures_are_equal_by_id_and_by_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = folder.parents[2]
    capsys.readouterr()
    assert main(["test", folder.name, "--results-dir", str(results)]) == 0
    by_id = capsys.readouterr().out
    assert main(["test", str(folder)]) == 0
    assert capsys.readouterr().out == by_id
    assert "differs" not in by_id
    metrics = read_record(folder / RECORD_FILE)["metrics"]
    found = {line.split()[0]: line.split()[1:] for line in by_id.splitlines()}
    assert set(found) >= {"test_accuracy", "test_loss"}
    for name, figures in found.items():
        assert figures == ["recorded", f"{metrics[name]:.6f}", "now", f"{metrics[name]:.6f}"]


@pytest.mark.parametrize("name", ["test_accuracy", "test_loss"])
def test_a_figure_that_differs_is_told_and_is_the_status(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    metrics = read_record(folder / RECORD_FILE)["metrics"]
    # Beyond what another machine's rounding may change, by little.
    change(folder, metrics=metrics | {name: metrics[name] + 2e-4 * max(1.0, metrics[name])})
    capsys.readouterr()
    assert main(["test", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("  differs")] == [name]
    assert len(lines) > 1


def test_a_small_error_in_a_unit_of_its_own_is_compared_by_its_size(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record is made one of errors a million times as small as an accuracy is; the figures found stay."""
    record = read_record(folder / RECORD_FILE)
    score = {"name": "accuracy", "unit": "m", "better": "lower", "margin": "per cent"}
    small = {name: value * 1e-6 for name, value in record["metrics"].items() if name.startswith("test_")}
    change(folder, task={"name": "regression", "score": score}, metrics=record["metrics"] | small)
    capsys.readouterr()

    def found(*_: Any) -> dict[str, float]:
        return {"test_accuracy": small["test_accuracy"], "test_loss": 1.01 * small["test_loss"]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("poolbench.run.evaluate.evaluate", found)
        assert main(["test", str(folder)]) == 1
    same, other = capsys.readouterr().out.splitlines()
    accuracy, loss = small["test_accuracy"], small["test_loss"]
    assert same.split() == ["test_accuracy", "recorded", f"{accuracy:.6g}", "now", f"{accuracy:.6g}"]
    assert other.split() == ["test_loss", "recorded", f"{loss:.6g}", "now", f"{1.01 * loss:.6g}", "differs"]


def test_a_run_behind_a_link_is_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "linked").symlink_to(folder.parents[1], target_is_directory=True)
    assert find(folder.name, tmp_path / "others") == folder.resolve()


def other_weights(folder: Path) -> None:
    with (folder / "weights.pt").open("ab") as file:
        file.write(b"\0")


def edited(folder: Path) -> None:
    path = folder / RECORD_FILE
    path.write_text(path.read_text().replace('"test_accuracy": 0.', '"test_accuracy": 0.1', 1))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (other_weights, "weights.pt is not the file that the record names: its digest is "),
        (lambda folder: (folder / "weights.pt").unlink(), "weights.pt cannot be read: No such file or directory"),
        (lambda folder: change(folder, status="failed", reason="it broke"), "is failed, it has no weights: it broke"),
        (lambda folder: change(folder, data={"sha256": "0" * 64}), "the images of digits are not those of the record"),
        (edited, "its content is not what was written: edited by hand?"),
        (lambda folder: folder.rename(folder.with_name("other")), "unknown run in"),
        (lambda folder: shutil.copytree(folder, folder.parents[2] / "b" / "records" / folder.name), "is in several"),
    ],
    ids=["weights", "no weights", "failed", "images", "edited", "unknown", "twice"],
)
def test_what_cannot_be_compared_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], says: str
) -> None:
    run_id, results = folder.name, folder.parents[2]
    spoil(folder)
    capsys.readouterr()
    assert main(["test", run_id, "--results-dir", str(results)]) == 2
    told = capsys.readouterr()
    assert says in " ".join(told.err.split())
    assert told.out == ""
