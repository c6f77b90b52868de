"""A regression and a segmentation, from a YAML to a verdict, without a special case; and a custom task."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from poolbench.cli import main
from poolbench.record import OUTCOMES_FILE
from poolbench.report import figures, page

CODE = '''
import numpy as np
import torch
from torch import nn
from poolbench.data import InMemoryExamples
from poolbench.tasks import Regression, Score

REGRESSION = {"_target_": "poolbench.tasks.Regression", "unit": "m"}

def plain():
    return places(own=None)

def places(spoilt=False, own=REGRESSION):
    """Where a bump lies in noise, in −1 … 1."""
    rng = np.random.default_rng(0)
    def part(n):
        y = rng.uniform(-1, 1, n).astype(np.float32)
        x = rng.normal(0, 0.2, (n, 1, 40)).astype(np.float32)
        for one, at in zip(x, y):
            one[0, int((at + 1) / 2 * 34):][:6] += 1
        return x, y
    train, test = part(96), part(48)
    if spoilt:
        train[1][7] = np.nan
    return InMemoryExamples(*train, *test, ["place"], name="places", task=own)

def squares():
    """A bright rectangle on a noisy ground, and where it lies."""
    rng = np.random.default_rng(0)
    def part(n):
        x, y = rng.normal(60, 20, (n, 1, 12, 16)), np.zeros((n, 12, 16), np.uint8)
        for image, truth in zip(x, y):
            top, left = rng.integers(0, 7), rng.integers(0, 10)
            image[0, top:top + 5, left:left + 6] += 90
            truth[top:top + 5, left:left + 6] = 1
        return np.clip(x, 0, 255).astype(np.uint8), y
    return InMemoryExamples(*part(48), *part(32), ["ground", "square"], name="squares", task="segmentation")

class Steer(nn.Module):
    def __init__(self, in_channels, num_classes, image_size):
        super().__init__()
        self.conv, self.pool = nn.Conv1d(in_channels, 8, 5, padding=2), nn.MaxPool1d(2)
        self.flatten, self.fc = nn.Flatten(), nn.Linear(8 * (image_size[0] // 2), num_classes)

    def forward(self, x):
        return self.fc(self.flatten(self.pool(torch.relu(self.conv(x)))))

class Outline(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.down, self.pool = nn.Conv2d(in_channels, 8, 3, padding=1), nn.MaxPool2d(2)
        self.inner, self.up = nn.Conv2d(8, 8, 3, padding=1), nn.Upsample(scale_factor=2)
        self.out = nn.Conv2d(16, num_classes, 1)

    def forward(self, x):
        x = torch.relu(self.down(x))
        return self.out(torch.cat([x, self.up(torch.relu(self.inner(self.pool(x))))], 1))

class Within(Regression):
    """The share of the examples that are met to a tenth: a custom task with a score of its own."""

    name = "within"

    def __init__(self):
        super().__init__()
        self.score = Score("within", "fraction of 1", "higher", "points")

    def scores(self, output, target):
        return (output - target).abs().mean(1).lt(0.1).float()
'''
SIZES = {
    "places": "channels: 1\nimage_size: [40]\nnum_classes: 1",
    "plain": "channels: 1\nimage_size: [40]\nnum_classes: 1",
    "squares": "channels: 1\nimage_size: [12, 16]\nnum_classes: 2",
}
TASKS = {"places": "regression", "squares": "segmentation", "plain": None}


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "owntasks.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "files", lambda *_: {})
    monkeypatch.setattr(page, "html", lambda _: b"")
    datasets = {
        name: f"_target_: owntasks.{name}\n{SIZES[name]}\n{f'task: {task}' if task else ''}\ntrain_images: null\n"
        "val_fraction: 0.25\naugment: {crop_padding: 0, flip: false}\n"
        for name, task in TASKS.items()
    }
    networks = {name: f"_target_: owntasks.{name.title()}\n" for name in ("steer", "outline")}
    for group, texts in (("dataset", datasets), ("backbone", networks)):
        (tmp_path / "conf" / group).mkdir(parents=True)
        for name, text in texts.items():
            (tmp_path / "conf" / group / f"{name}.yaml").write_text(f"name: {name}\n{text}")
    short = ["trainer=cpu", "threads=1", "allocator=system", "protocol.epochs=2", "protocol.batch_size=8"]

    def run(*overrides: str, speed: str = "speed.measure=false") -> int:
        return main(["train", "--config-dir", "conf", *short, speed, *overrides])

    return run


def found_in(tmp_path: Path, name: str):
    folder = tmp_path / "results" / name
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("records/*/record.json"))]
    return records, pd.read_csv(folder / "scores.csv"), folder


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("dataset", "backbone", "score", "better"),
    [
        ("places", "steer", "mean_absolute_error", "lower"),
        ("squares", "outline", "mean_iou", "higher"),
    ],
)
def test_from_a_yaml_to_a_verdict(
    train, tmp_path: Path, dataset: str, backbone: str, score: str, better: str, capsys: pytest.CaptureFixture[str]
):
    asked = [f"dataset={dataset}", f"backbone={backbone}", "pooling=max,avg", "seed=0,1,2", f"name={dataset}"]
    assert train(*asked, "dataset.augment.flip=true" if dataset == "squares" else "dataset.augment.crop_padding=0") == 0
    records, scores, folder = found_in(tmp_path, dataset)
    assert [record["status"] for record in records] == ["ok"] * 6
    for record in records:
        assert record["task"]["name"] == TASKS[dataset]
        assert record["task"]["score"]["better"] == better
        assert {f"val_{score}", f"train_{score}", "train_loss"} <= record["history"][0].keys()
        with np.load(folder / "records" / record["run_id"] / OUTCOMES_FILE) as stored:
            assert stored["score"].mean() == pytest.approx(record["metrics"][f"test_{score}"], rel=1e-12)
            assert len(stored["score"]) == record["data"]["test_images"]
    by_hand = {
        variant: np.array([r["metrics"][f"test_{score}"] for r in records if r["labels"]["variant"] == variant])
        for variant in ("max", "avg")
    }
    row = scores.set_index("variant").loc["avg"]
    assert (row["task"], row["score"], row["better"], row["n_seeds"]) == (TASKS[dataset], score, better, 3)
    assert row["score_mean"] == pytest.approx(by_hand["avg"].mean())
    assert row["difference_mean"] == pytest.approx((by_hand["avg"] - by_hand["max"]).mean())
    assert row["difference_noise"] == "seeds and images"
    assert row["difference_ci95_low"] < row["difference_mean"] < row["difference_ci95_high"]
    relative = by_hand["max"].mean() if better == "lower" else 1.0
    assert row["margin"] == pytest.approx(0.005 * relative)
    assert pd.read_csv(folder / "accuracy.csv").empty
    said = " ".join(capsys.readouterr().out.split())
    assert ("Lower is better in mean absolute error, and a Δ below 0." in said) == (better == "lower")
    text = (folder / "summary.md").read_text()
    assert {"lower": "test mean absolute error, m (lower is better)", "higher": "test mean IoU, %"}[better] in text


@pytest.mark.slow
def test_speed_and_work_go_by_example(train, tmp_path: Path):
    asked = ["dataset=squares", "backbone=outline", "pooling=max", "name=speed"]
    assert train(*asked, "speed.budget_s=0.05", speed="speed.measure=true") == 0
    (record,), _, folder = found_in(tmp_path, "speed")
    assert record["cost"]["multiply_adds"] == 9 * 8 * 192 + 9 * 64 * 48 + 16 * 2 * 192
    assert pd.read_csv(folder / "throughput.csv")["training_images_per_s"][0] > 0


def test_a_custom_task(train, tmp_path: Path):
    asked = ["dataset=plain", "backbone=steer", "pooling=max", "seed=0,1", "name=own"]
    assert train(*asked, "dataset.task._target_=owntasks.Within") == 0
    records, scores, folder = found_in(tmp_path, "own")
    assert {record["task"]["name"] for record in records} == {"within"}
    assert scores[["task", "score", "unit", "better"]].drop_duplicates().values.tolist() == [
        ["within", "within", "fraction of 1", "higher"]
    ]
    assert scores["score_mean"].between(0, 1).all()
    assert "owntasks.Within" in records[0]["provenance"]["own_code"]
    assert "test within, %" in (folder / "summary.md").read_text()
    with np.load(folder / "records" / records[0]["run_id"] / OUTCOMES_FILE) as stored:
        assert set(stored["score"].tolist()) <= {0.0, 1.0}


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["dataset=places", "backbone=steer", "+dataset.spoilt=true"],
            "train example 7 (counted from 0) has the target [nan]",
        ),
        (
            ["dataset=places", "backbone=steer", "protocol.label_smoothing=0.1"],
            "does nothing: the task is a regression",
        ),
        (
            ["dataset=places", "backbone=steer", "dataset.task=segmentation"],
            "`dataset.task` is segmentation, but the dataset",
        ),
        (["dataset=squares", "backbone=slides"], "slides must give shape (2, 12, 16) for an example"),
    ],
)
def test_what_does_not_fit_is_told_before_training(train, tmp_path: Path, capsys, overrides: list[str], says: str):
    assert train(*overrides, "name=bad") == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("results/*/records/*/weights.pt"))
