"""From the command line to records and tables, on real digits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cells import SHORT, records

from poolbench.cli import choices, main


def test_one_cell(train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("backbone=slides", "pooling=avg_topk", "seed=3") == 0
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert record["status"] == "ok"
    assert record["labels"] == {"backbone": "slides", "variant": "avg_topk", "dataset": "digits"}
    assert 0.1 < record["metrics"]["test_accuracy"] <= 1
    assert record["cost"]["parameters"] > 0
    assert [site["operator"] for site in record["audit"]["sites"]] == ["AvgTopKPool2d"] * 2
    folder = tmp_path / "results" / "adhoc" / "records" / record["run_id"]
    outcomes = np.load(folder / "outcomes.npz")
    assert (outcomes["target"] == outcomes["predicted"]).mean() == pytest.approx(record["metrics"]["test_accuracy"])
    assert len(outcomes["target"]) == record["data"]["test_images"] == 597
    assert set(np.load(folder / "split.npz")["validation"]) <= set(range(1200))
    for table in ("accuracy.csv", "parameters.csv", "summary.csv", "summary.md"):
        assert "avg_topk" in (tmp_path / "results" / "adhoc" / table).read_text()
    assert main(["test", record["run_id"], "--results-dir", str(tmp_path / "results")]) == 0
    assert "differs" not in capsys.readouterr().out


def test_a_sweep_trains_once_and_equal_seeds_give_equal_figures(train, tmp_path: Path) -> None:
    sweep = ("pooling=max,avg", "seed=0,1", "-m")
    assert train(*sweep, "results_dir=a") == 0
    first = records(tmp_path / "a" / "adhoc")
    assert set(first) == {"max/0", "max/1", "avg/0", "avg/1"}
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("a/adhoc/records/*/record.json")}
    assert train(*sweep, "results_dir=a") == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert train(*sweep, "results_dir=b") == 0
    second = records(tmp_path / "b" / "adhoc")
    for key, record in first.items():
        assert record["metrics"] == second[key]["metrics"]
        assert record["history"] == second[key]["history"]
    assert first["max/0"]["metrics"] != first["max/1"]["metrics"]
    assert train(*sweep, "results_dir=a", "force=true") == 0
    assert all(path.stat().st_mtime_ns > before for path, before in times.items())


def test_each_epochs_test_accuracy_stands_beside_a_cell_of_its_own(train, tmp_path: Path) -> None:
    assert train("protocol.test_each_epoch=true", "protocol.epochs=2", "name=tested") == 0
    assert train("protocol.test_each_epoch=false", "protocol.epochs=2", "name=plain") == 0
    tested, plain = (records(tmp_path / "results" / name)["max/0"] for name in ("tested", "plain"))
    assert tested["run_id"] != plain["run_id"]
    shown = [row["test_accuracy"] for row in tested["history"]]
    assert shown[tested["metrics"]["selected_epoch"]] == pytest.approx(tested["metrics"]["test_accuracy"])
    assert plain["metrics"] == tested["metrics"]
    assert (tmp_path / "results" / "tested" / "best_test_epoch.csv").is_file()


@pytest.mark.slow
def test_resampled_cells_are_a_block_of_their_own_and_equal_seeds_share_their_sample(train, tmp_path: Path) -> None:
    assert train("pooling=max,avg", "seed=0", "resample=train") == 0
    assert train("pooling=max", "seed=0") == 0
    found = [json.loads(path.read_text()) for path in (tmp_path / "results" / "adhoc").glob("records/*/record.json")]
    drawn = {one["labels"]["variant"]: one for one in found if one["labels"]["dataset"] == "digits[resample=train]"}
    (plain,) = [one for one in found if one["labels"]["dataset"] == "digits"]
    assert drawn.keys() == {"max", "avg"}
    assert drawn["max"]["block_id"] == drawn["avg"]["block_id"] != plain["block_id"]
    first = {name: one["streams"]["first_batch_sha256"] for name, one in drawn.items()}
    assert first["max"] == first["avg"] != plain["streams"]["first_batch_sha256"]
    assert drawn["max"]["streams"]["split_sha256"] == plain["streams"]["split_sha256"]


SOME = ("max", "avg_topk", "stochastic", "mixed", "strided_conv", "max_blur", "gap", "attention")


@pytest.mark.slow
@pytest.mark.parametrize("variants", [SOME, pytest.param((), marks=pytest.mark.slow, id="every")])
def test_common_random_numbers_for_every_variant(train, tmp_path: Path, variants: tuple[str, ...]) -> None:
    assert train(f"pooling={','.join(variants) or 'glob(*)'}", "dataset.augment.crop_padding=2") == 0
    found = records(tmp_path / "results" / "adhoc")
    assert {key.split("/")[0] for key in found} == set(variants or choices.names("pooling"))
    streams = [record["streams"] for record in found.values() if record["status"] == "ok"]
    assert len(streams) == len(found)
    assert len({stream["split_sha256"] for stream in streams}) == 1
    assert len({stream["first_batch_sha256"] for stream in streams}) == 1
    reference, parameters = found["max/0"]["streams"]["starting_weights"], found["max/0"]["audit"]
    assert parameters["sites"]
    shared = 0
    for record in found.values():
        for name, digest in record["streams"]["starting_weights"].items():
            if name in reference and name != "classifier.0.weight":
                shared += 1
                assert digest == reference[name], f"{record['labels']['variant']}: {name}"
    assert shared >= 2 * len(found)


@pytest.mark.slow
def test_other_seeds_split_order_and_start_differently(train, tmp_path: Path) -> None:
    assert train("seed=0,1") == 0
    one, other = (record["streams"] for record in records(tmp_path / "results" / "adhoc").values())
    assert one["split_sha256"] != other["split_sha256"]
    assert one["first_batch_sha256"] != other["first_batch_sha256"]
    assert one["starting_weights"] != other["starting_weights"]


MINE = '''
import torch
from torch import nn

class MyPool(nn.Module):
    """The mean of max and min."""

    def __init__(self, kernel_size, stride, padding=0, ceil_mode=False, *, share=0.5):
        super().__init__()
        self.share = share
        self.max = nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=ceil_mode)

    def forward(self, x):
        return self.share * self.max(x) - (1 - self.share) * self.max(-x)

class Breaks(MyPool):
    """Works when it is tried, breaks when it is trained."""

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and len(x) > 2:
            raise RuntimeError("no luck in training")
        return super().forward(x)

class Nan(MyPool):
    def forward(self, x):
        return super().forward(x) * (float("nan") if self.training and len(x) > 2 else 1.0)

class MyNet(nn.Module):
    def __init__(self, in_channels, num_classes, width=8):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.head(self.pool(self.conv(x).relu())).flatten(1))
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mypackage.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "mypackage"
    sys.modules.pop("mypackage", None)


@pytest.mark.slow
def test_an_operator_of_ones_own_is_an_arm_of_its_own(train, tmp_path: Path, mine: str) -> None:
    assert train("pooling=max") == 0
    assert train("pooling=avg_topk", f"pooling.downsample._target_={mine}.MyPool") == 0
    assert train("pooling=max", f"pooling.downsample._target_={mine}.MyPool", "+pooling.downsample.share=0.7") == 0
    found = records(tmp_path / "results" / "adhoc")
    assert set(found) == {"max/0", "MyPool/0", "MyPool[share=0.7]/0"}
    assert {record["status"] for record in found.values()} == {"ok"}
    assert len({record["block_id"] for record in found.values()}) == 1
    assert "MyPool[share=0.7]" in (tmp_path / "results" / "adhoc" / "accuracy.csv").read_text()


@pytest.mark.slow
def test_an_operator_of_ones_own_that_was_edited_is_trained_anew(train, tmp_path: Path, mine: str) -> None:
    own = ("pooling=max", f"pooling.downsample._target_={mine}.MyPool")
    assert train(*own) == 0
    assert train(*own) == 0
    assert len(records(tmp_path / "results" / "adhoc")) == 1
    (tmp_path / "mypackage.py").write_text(MINE.replace("share=0.5", "share=0.25"))
    sys.modules.pop(mine)
    assert train(*own) == 0
    arms = [json.loads(p.read_text())["arm_id"] for p in tmp_path.glob("results/adhoc/records/*/record.json")]
    assert len(set(arms)) == 2


def test_an_emptied_slot_is_not_tabled_under_the_variant(train, tmp_path: Path) -> None:
    assert train("pooling=gap", "pooling.head=null") == 0
    assert set(records(tmp_path / "results" / "adhoc")) == {"gap[head=null]/0"}


@pytest.mark.slow
def test_speed_is_measured_beside_the_reference_and_again_beside_another(train, tmp_path: Path) -> None:
    def beside() -> dict[str, str]:
        speeds = [json.loads(path.read_text()) for path in tmp_path.glob("results/adhoc/speed/*.json")]
        return {speed["labels"]["variant"]: speed["reference_arm_id"] for speed in speeds}

    quick = ("speed.measure=true", "speed.budget_s=0.01")
    assert train("pooling=max,avg", *quick) == 0
    assert train("pooling=avg", "head=gap", *quick) == 0
    first = beside()
    assert first["max"] == first["avg"] == first["avg[head=gap]"]
    assert "max" in (tmp_path / "results" / "adhoc" / "throughput.csv").read_text()
    assert train("pooling=avg", "reference=avg_topk", *quick) == 0
    assert beside()["avg"] not in first.values()


@pytest.mark.slow
def test_an_epoch_without_validation_is_never_selected(train, tmp_path: Path) -> None:
    assert train("protocol.epochs=4", "+trainer.check_val_every_n_epoch=2") == 0
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert [row["val_accuracy"] is None for row in record["history"]] == [True, False, True, False]
    assert record["metrics"]["selected_epoch"] in (1, 3)
    assert train("name=never", "+trainer.check_val_every_n_epoch=2") == 2
    assert not records(tmp_path / "results" / "never")


@pytest.mark.slow
def test_a_trainer_argument_may_be_an_object(train, tmp_path: Path) -> None:
    stopping = "+trainer.callbacks=[{_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val_loss,patience:0}]"
    assert train("protocol.epochs=40", stopping) == 0
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert len(record["history"]) < 40


def test_a_yaml_and_a_network_of_ones_own(train, tmp_path: Path, mine: str) -> None:
    folder = tmp_path / "conf"
    for group, name, text in (
        ("pooling", "halfway", f"name: halfway\ndownsample:\n  _target_: {mine}.MyPool\n  share: 0.9\n"),
        ("backbone", "mynet", f"name: mynet\n_target_: {mine}.MyNet\nwidth: 4\n"),
        (
            "experiment",
            "ours",
            "# @package _global_\nname: ours\nhydra:\n  sweeper:\n    params:\n      pooling: max,halfway\n",
        ),
    ):
        (folder / group).mkdir(parents=True)
        (folder / group / f"{name}.yaml").write_text(text)
    (folder / "pooling" / "nameless.yaml").write_text("downsample:\n  _target_: torch.nn.MaxPool2d\n")
    assert train("pooling=nameless", f"--config-dir={folder}", "name=nameless") == 0
    assert set(records(tmp_path / "results" / "nameless")) == {"nameless/0"}
    assert train("experiment=ours", "backbone=mynet", "--config-dir", str(folder)) == 0
    found = records(tmp_path / "results" / "ours")
    assert set(found) == {"max/0", "halfway/0"}
    assert all(record["labels"]["backbone"] == "mynet" for record in found.values())


def test_a_cell_that_fails_takes_no_other_with_it(
    train, tmp_path: Path, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = train(f"pooling.downsample._target_={mine}.Breaks,{mine}.MyPool,{mine}.Nan")
    assert status == 1
    found = records(tmp_path / "results" / "adhoc")
    assert {key: record["status"] for key, record in found.items()} == {
        "Breaks/0": "failed",
        "MyPool/0": "ok",
        "Nan/0": "diverged",
    }
    assert "no luck in training" in found["Breaks/0"]["reason"]
    assert "no luck in training" in found["Breaks/0"]["traceback"]
    last = capsys.readouterr().err[-1500:]
    assert "no luck in training" in last
    assert "Breaks" in last


def test_what_cannot_be_is_listed_and_fails_nothing_unless_strict(
    train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = ("dataset.image_size=8", "pooling=max,spatial_pyramid")  # of 4×4 bins, on a last map of 2×2
    assert train(*cells) == 0
    found = records(tmp_path / "results" / "adhoc")
    assert found["max/0"]["status"] == "ok"
    assert found["spatial_pyramid/0"]["status"] == "unsupported"
    assert found["spatial_pyramid/0"]["reason"]
    assert train(*cells, "strict=true") == 1
    capsys.readouterr()
    assert train(*cells[:-1], "pooling=spatial_pyramid", "name=single") == 2
    assert "poolbench: error" in capsys.readouterr().err


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["pooling=avg_topk", "pooling.downsample.k=9"], "`k` must be in 1..4"),
        (["pooling=avg_topk", "+pooling.downsample.kk=2"], "did you mean k?"),
        (["pooling.downsample._target_=no.such.Pool"], "no module named 'no'"),
        (["backbone=keras_cnn", "dataset.image_size=8"], "keras_cnn"),
        (["sead=1"], "sead"),
        (["seed=-1"], "`seed` must be a whole number of at least 0"),
        (["seed=0.5"], "`seed` must be a whole number"),
        (["protocol.batch_size=0"], "`protocol.batch_size`"),
        (["protocol.batch_size=4000"], "batch_size"),
        (["protocol.optimizer.lrr=1"], "lrr"),
        (["+trainer.gradient_clip=1"], "did you mean gradient_clip_val"),
        (["dataset.val_fraction=1.5"], "val_fraction"),
        (["+dataset.colour=true"], "colour"),
        (["threads=0"], "`threads`"),
        (["reference=maximum", "speed.measure=true", "pooling=avg"], "did you mean max"),
        (["results_dir=/proc/nowhere"], "cannot be written"),
        (["dataset=cifar10", "dataset.root=absent"], "dataset.download=true"),
        (["dataset=image_folder", "dataset.root=absent"], "absent"),
        (["seed=range(0"], "range(0"),
        (["seed=0,1", "protocol.epoch=2"], "did you mean protocol.epochs"),
        (["force=maybe"], "`force` must be true or false"),
        (["speed.budget_s=none"], "`speed.budget_s` must be a number above 0"),
        (["name=../elsewhere"], "`name` must be the name of a folder inside `results_dir`"),
        (["+trainer.strategy=ddp"], "`trainer.strategy` cannot be set"),
    ],
)
def test_bad_input_is_told_before_training(
    train, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], says: str
) -> None:
    assert train(*overrides) == 2
    told = capsys.readouterr().err
    assert told.count("poolbench: error") == 1
    assert says in told.replace("\n", " ")
    assert not list(tmp_path.glob("results/*/records/*/weights.pt"))


def test_absent_data_leaves_no_file_of_an_experiment(train, tmp_path: Path) -> None:
    assert train("question=why", "dataset=image_folder", "dataset.root=absent") == 2
    assert not list(tmp_path.glob("results/**/*.json"))


@pytest.mark.slow
def test_the_quickstart_narrowed(train, tmp_path: Path) -> None:
    assert train("experiment=quickstart", "seed=0", "pooling=gap", "backbone=lenet5", "launcher=local") == 0
    found = records(tmp_path / "results" / "quickstart")
    assert set(found) == {"gap/0"}
    assert found["gap/0"]["config"]["protocol"]["precision"] == "bfloat16"


@pytest.mark.slow
def test_side_by_side_in_processes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "poolbench", "train", *SHORT, "pooling=max,avg", "launcher=joblib", "-m"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert {r["status"] for r in records(tmp_path / "results" / "adhoc").values()} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_a_record_and_the_same_command_goes_on(tmp_path: Path, name: str) -> None:
    always = "protocol.checkpoint_every_s=0"
    command = [sys.executable, "-m", "poolbench", "train", *SHORT, always, "seed=0,1", "protocol.epochs=400"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 240
    try:
        while not list(tmp_path.glob("results/adhoc/records/*/checkpoint*.pt")):
            assert process.poll() is None, "it ended before there was a checkpoint"
            assert time.monotonic() < end, "no checkpoint came"
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        rest = process.communicate(timeout=240)[1]
    finally:
        process.kill()
    assert process.returncode == 128 + getattr(signal, name)
    assert f"ended by {name}" in rest
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert record["status"] == "interrupted"
    done = subprocess.run(
        [*command[:-1], "protocol.epochs=1"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_installed_copy_finds_its_configurations(tmp_path: Path) -> None:
    top = Path(__file__).resolve().parents[2]
    if not (top / "pyproject.toml").is_file():
        pytest.fail("the tests run from a checkout")
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    build = [uv, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", str(tmp_path), str(top)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = [uv, "pip", "install", "--python", sys.executable, "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = tmp_path / "run"
    run.mkdir()
    done = subprocess.run(
        [
            sys.executable, "-m", "poolbench", "train", *SHORT,
            "experiment=quickstart", "seed=0", "pooling=max", "backbone=slides",
        ],
        cwd=run, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = records(run / "results" / "quickstart").values()
    assert json.dumps(record).count(str(top)) == 0
