"""What is run again and what is not: damage found by digest, `force=`, counts, and no old record believed."""

import json
import re
from pathlib import Path

import pytest
from cells import records

from poolbench.report import make

SEEDS = "seed=0,1,2"


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def started(folder: Path) -> dict[str, str]:
    return {key: record["times"]["started"] for key, record in records(folder).items()}


def again(before: dict[str, str], folder: Path) -> set[str]:
    return {key for key, time in started(folder).items() if before.get(key) != time}


@pytest.mark.slow
def test_each_force_trains_its_own(train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "results" / "adhoc"
    assert train(SEEDS) == 0
    assert "3 cells: 3 ok, 3 trained in" in told(capsys)
    first = started(folder)
    assert train(SEEDS) == 0
    assert "3 cells: 3 ok Wr" not in (text := told(capsys))
    assert "0 to train, 3 finished before" in text
    assert "trained in" not in text
    assert again(first, folder) == set()
    run = records(folder)["max/1"]["run_id"]
    assert train(SEEDS, f"force={run}") == 0
    assert "1 to train, 2 finished before" in told(capsys)
    assert again(first, folder) == {"max/1"}
    assert train(SEEDS, f"force={run[:-1]}") == 2
    assert f"did you mean {run}" in told(capsys)
    assert train(SEEDS, "force=failed") == 0
    assert "0 to train" in told(capsys)

    now = started(folder)
    for seed, name in ((0, "weights.pt"), (2, "outcomes.npz")):
        path = folder / "records" / records(folder)[f"max/{seed}"]["run_id"] / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert train(SEEDS, "force=damaged") == 0
    text = told(capsys)
    assert "2 to train, 1 finished before" in text
    assert "weights.pt is not the file that the record names" in text
    assert "outcomes.npz is not the file that the record names" in text
    assert again(now, folder) == {"max/0", "max/2"}


@pytest.mark.slow
def test_a_diverged_cell_is_run_again_by_force_failed(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = "again_nan"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{mine}.py").write_text(
        "import torch\n\n\nclass MyPool(torch.nn.MaxPool2d):\n    pass\n\n\nclass Nan(torch.nn.MaxPool2d):\n"
        "    def forward(self, x):\n        return super().forward(x) * float('nan')\n"
    )
    folder = tmp_path / "results" / "adhoc"
    cells = f"pooling.downsample._target_={mine}.Nan,{mine}.MyPool"
    assert train(cells) == 1
    first = started(folder)
    assert train(cells) == 1
    assert again(first, folder) == set()
    assert train(cells, "force=failed") == 1
    assert again(first, folder) == {"Nan/0"}


def test_a_record_of_another_version_is_not_lost_and_one_that_was_edited_is_announced(
    train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    (path,) = tmp_path.glob("results/adhoc/records/*/record.json")
    content = json.loads(path.read_text())
    later = json.dumps(content | {"schema": 99})
    path.write_text(later)
    capsys.readouterr()
    assert train() == 2
    assert "schema 99, this version reads" in told(capsys)
    assert path.read_text() == later
    path.write_text(json.dumps(content | {"seed": 7}))
    assert train() == 0
    assert "edited by hand?" in told(capsys)
    assert json.loads(path.read_text())["seed"] == content["seed"]


def test_what_a_stopped_sweep_did_not_reach_keeps_its_record(
    train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("seed=0,1") == 0

    def fail(*_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr("poolbench.run.walk._train_and_measure", fail)
    capsys.readouterr()
    assert train("seed=0,1", "force=true", "on_failure=stop") == 1
    text = told(capsys)
    assert "2 cells: 1 failed, 1 waiting" in text
    assert "its older record stands" in text
    assert sorted(record["status"] for record in records(tmp_path / "results" / "adhoc").values()) == ["failed", "ok"]


def test_an_old_record_is_never_believed(
    train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    assert train() == 0
    (record,) = records(tmp_path / "results" / "adhoc").values()
    folder = tmp_path / "results" / "adhoc" / "records" / record["run_id"]
    moved = folder.with_name("elsewhere")
    folder.rename(moved)
    folder.write_text("a file where the record's folder goes")
    capsys.readouterr()
    assert train("force=true") == 2
    assert "cannot be written: File exists" in told(capsys)
    folder.unlink()
    moved.rename(folder)

    # A place that can be written when the sweep begins, and no more when the record is.
    def refuse(path: Path, content: object) -> None:
        from poolbench.errors import WriteError

        raise WriteError(f"{path} cannot be written: No space left on device")

    monkeypatch.setattr("poolbench.run.walk.write_record", refuse)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # the old record stays
    assert train("force=true") == 1
    text = told(capsys)
    assert "1 ok" not in text
    assert "its record is lost" in text
    assert "No space left on device" in text


def test_a_report_that_cannot_be_written_does_not_hide_what_was_trained(
    train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from poolbench.errors import WriteError

    def refuse(folder: Path) -> None:
        raise WriteError(f"{folder}/accuracy.csv cannot be written: No space left on device")

    monkeypatch.setattr(make, "make_report", refuse)
    assert train() == 2
    text = told(capsys)
    assert "1 cell: 1 ok, 1 trained" in text
    assert "poolbench: error: " in text
    assert "No space left on device" in text


def test_a_margin_that_is_set_after_the_runs_changes_nothing_and_is_told(
    train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("pooling=max") == 0
    assert "keep" not in capsys.readouterr().err
    assert train("pooling=max", "margin=2", "reference=avg") == 0
    assert "1 of those finished keep margin=0.5, reference=max, as set before they ran" in capsys.readouterr().err


def test_paths_and_names_are_never_markup(train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("results_dir='a[/y]b'", "name='c[red]d'") == 0
    text = capsys.readouterr().err
    assert "records in a[/y]b/c[red]d" in text
    assert (tmp_path / "a[/y]b" / "c[red]d" / "accuracy.csv").is_file()


def test_a_tilde_is_the_home(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert train("results_dir='~/x'") == 0
    assert records(tmp_path / "home" / "x" / "adhoc")
    assert not (tmp_path / "~").exists()


@pytest.mark.slow
def test_code_of_ones_own_is_in_the_record_with_all_that_it_imports(
    train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "again_helper.py").write_text("SCALE = 1.0\n")
    (tmp_path / "again_pool.py").write_text(
        "import torch\nimport again_helper\n\n\nclass Pool(torch.nn.MaxPool2d):\n"
        "    def forward(self, x):\n        return super().forward(x) * again_helper.SCALE\n"
    )
    cell = "pooling.downsample._target_=again_pool.Pool"
    assert train(cell) == 0
    assert train(cell) == 0
    folder = tmp_path / "results" / "adhoc"
    (one,) = records(folder).values()
    assert set(one["provenance"]["own_code"]) == {"again_pool.Pool", "again_helper"}
    (tmp_path / "again_helper.py").write_text("SCALE = 2.0\n")
    assert train(cell) == 0
    found = [json.loads(path.read_text()) for path in folder.glob("records/*/record.json")]
    assert len(found) == 2
    assert len({record["arm_id"] for record in found}) == 2


@pytest.mark.quick(5)
@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["protocol.optimizer.lr=0.0001,0.003,1.0"], r"`protocol.optimizer.lr=0.0001` does nothing.*schedule.max_lr"),
        (["protocol.precision=float16"], r"`protocol.precision=float16` needs a GPU"),
        (["+trainer.enable_checkpointing=true"], r"`trainer.enable_checkpointing` cannot be set"),
        (["+trainer.limit_test_batches=1"], "`trainer.limit_test_batches` cannot be set"),
        (["protocol.optimizer.lr=inf"], "`protocol.optimizer.lr` must be a finite number, got inf"),
        (["pooling=gap", "head=gmp"], "`head` and `pooling.head` both fill the head"),
        (["match=foo"], "unknown `match` 'foo'"),
        (["results_dir=a,b"], "`results_dir` must be one for the whole sweep"),
        (["seed=range(0)"], "gives no value: there is nothing to run"),
        (["pooling=glob(zzz*)"], "gives no value: there is nothing to run"),
        (["head=null"], "~head"),
        (["logger=null"], "logger=none is the record alone"),
        (["logger=[csv,wand]"], "unknown logger 'wand'; did you mean wandb"),
        (["pooling=null"], "one must be chosen; see `poolbench list pooling`"),
        (["~pooling"], "`pooling` must be chosen: pooling=NAME"),
        (["~dataset"], "`dataset` must be chosen: dataset=NAME"),
        (["--resolve"], "--resolve goes with --cfg job"),
        (["--shell-completion", "install=bash"], "poolbench completion bash"),
        (["--cfg", "job", "-m", "seed=0,1"], "--cfg shows one job, and seed=0,1 asks for several"),
        (["dataset.root=/tmp/bü"], """'dataset.root="/tmp/bü"'"""),
        (["dataset.root=/tmp/a=b"], """'dataset.root="/tmp/a=b"'"""),
        (["pooling.name=x[1"], "a text that holds brackets"),
        (["poolin=max"], "did you mean pooling"),
        (["protocol.epoch=2"], "did you mean protocol.epochs"),
        (["datasett.root=x"], "did you mean dataset"),
        (["dataset.augment.crop_mode=reflect"], "`dataset.augment.crop_mode=reflect` does nothing"),
        (["speed=false"], "`speed` must hold measure, budget_s and half_width, got False; speed.measure=false"),
        (
            ["backbone._target_=viewing.Viewing"],
            "`protocol.memory_format=channels_last`: Viewing.* takes contiguous maps alone .*memory_format=contiguous",
        ),
        (["force=maybe"], "`force` must be true or false, failed, damaged, or a run's id"),
        (["logger=wandb", "+logger.wandb.log_model=true"], "`logger.wandb.log_model` does nothing here"),
        (
            ["+pooling.downsample.kernel_size={_target_:numpy.array,object:[2,2]}"],
            r"`pooling.downsample at site pool1` \(poolbench.pooling.MaxPool2d\)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_a_usage_error_in_one_line(
    train, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], says: str
) -> None:
    assert train(*overrides) == 2
    lines = capsys.readouterr().err.splitlines()
    assert re.search(says, lines[-1]), lines
    assert lines[-1].startswith("poolbench: error: ")
    assert len(lines) == 1
    assert not list(tmp_path.glob("results/*/records/*/weights.pt"))
