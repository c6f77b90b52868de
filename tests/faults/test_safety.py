"""Plans and records that were tampered with, and secrets: nothing leads outside the results folder."""

import json
import shutil
from pathlib import Path

import pytest
from cells import records

from poolbench.cli import main
from poolbench.errors import ConfigurationError
from poolbench.sweep.plan import PlanFolder


@pytest.fixture
def plan(train, tmp_path: Path) -> PlanFolder:
    assert train("pooling=avg") == 0
    return PlanFolder(tmp_path / "results" / "adhoc")


def changed(plan: PlanFolder, **changes: object) -> Path:
    (path,) = plan.cells.glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@pytest.mark.quick(1)
@pytest.mark.parametrize("run_id", ["../../escape", "/tmp/escape", "other"])
def test_a_cell_of_another_name_is_refused(plan: PlanFolder, run_id: str) -> None:
    path = changed(plan, run_id=run_id)
    with pytest.raises(ConfigurationError, match="its name another"):
        plan.cell(path.stem)


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "elsewhere", ""])
def test_a_plan_that_names_another_experiment_is_refused(plan: PlanFolder, name: str) -> None:
    (path,) = plan.cells.glob("*.json")
    content = json.loads(path.read_text())
    content["settings"]["name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="holds the plan of"):
        plan.cell(path.stem)


def test_a_record_that_is_a_link_is_not_written_through(train, plan: PlanFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "record.json").write_text("precious")
    (folder,) = plan.folder.glob("records/*")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.symlink_to(outside)
    assert train("pooling=avg") != 0
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"record.json": "precious"}


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["cells", "arms", "sweeps", "claims"])
def test_nothing_of_a_plan_is_written_through_a_link(
    train, plan: PlanFolder, tmp_path: Path, name: str, capsys
) -> None:
    outside, inside = tmp_path / "outside", getattr(plan, name)
    shutil.rmtree(inside, ignore_errors=True)
    outside.mkdir()
    inside.symlink_to(outside)
    assert train("pooling=avg", "seed=7") == 2
    assert "outside" in capsys.readouterr().err
    assert list(outside.iterdir()) == []


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", ["n" * 300, '"a\0b"'])
def test_a_name_that_no_folder_can_have_is_refused(
    train, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").mkdir()
    assert train(f"name={name}") == 2
    assert "`results_dir` and `name` must be the path of a folder" in capsys.readouterr().err


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "a/../../b", "''", "."])
def test_a_name_that_leads_elsewhere_is_refused(train, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(f"name={name}") == 2
    assert "`name` must be the name of a folder inside `results_dir`" in capsys.readouterr().err


@pytest.mark.quick(2)
@pytest.mark.parametrize("key", ["api_key", "password", "token", "settings.api_key"])
def test_a_secret_on_the_command_line_is_refused(train, tmp_path: Path, key: str, capsys) -> None:
    assert train("logger=wandb", f"+logger.wandb.{key}=abcdef123") == 2
    told = capsys.readouterr().err
    assert "environment variable" in told
    assert "abcdef123" not in told
    assert not (tmp_path / "results").exists()


def test_no_environment_variable_is_written(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MY_SECRET", "verysecretvalue")
    assert train("logger=wandb") == 0
    for path in (tmp_path / "results").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"0123456789abcdef0123456789abcdef01234567" not in content, path
            assert b"verysecretvalue" not in content, path


def test_status_of_a_sweep(plan: PlanFolder, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["status", str(plan.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {key: found[key] for key in ("ok", "running", "waiting", "failed")} == {
        "ok": 1,
        "running": 0,
        "waiting": 0,
        "failed": 0,
    }
    assert found["cells"][0]["title"] == "slides · avg · digits · seed 0"
    assert main(["status", str(plan.folder)]) == 0
    assert "1 ok" in capsys.readouterr().out
    assert main(["status", str(plan.folder), "--watch"]) == 0
    assert capsys.readouterr().out.endswith("1 ok, 0 running, 0 waiting, 0 failed\n")
    shutil.copytree(plan.folder / "plan", plan.folder / "tune" / "plan")
    for path in (plan.folder / "tune").rglob("*.json"):
        path.write_text(path.read_text().replace('"adhoc"', '"adhoc/tune"'))
    assert main(["status", str(plan.folder)]) == 0
    assert "tune: 0 ok, 0 running, 1 waiting, 0 failed" in capsys.readouterr().out
    assert main(["status", str(plan.folder / "records")]) == 2
    assert "has no plan" in capsys.readouterr().err
    assert set(records(plan.folder)) == {"avg/0"}
