"""Every key of every YAML that makes a cell: another value makes another cell, or it is refused.

Operators and heads are in `tests/pooling/test_every_argument_acts.py`, arguments of Lightning's trainer in
`tests/training/test_trainer_arguments.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from backbones.shapes import OF_SEQUENCES, output_for
from training.recipes import RECIPE, TRAINER, Blobs, network, run

from poolbench.backbones import assemble
from poolbench.cell import Cell
from poolbench.data import Batches, StreamedImages, open_dataset
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.loggers import Mirrors
from poolbench.paths import conf_dir
from poolbench.run.batches import open_parts
from poolbench.settings import Settings
from poolbench.training import Protocol
from poolbench.training.fit import fit
from poolbench.training.inert import inert_settings

MAX = {"name": "max", "downsample": {"_target_": "poolbench.pooling.MaxPool2d"}, "head": None}
# A label, and what chooses the class.
NO_ARGUMENTS = {"name", "_target_"}


def content(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())


def keys_of(spec: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from keys_of(value, f"{before}{key}.")
        elif key not in {*NO_ARGUMENTS, "defaults"}:
            yield f"{before}{key}"


def changed(spec: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {**spec, first: changed(spec[first], rest, value) if rest else value}


# --- datasets


def batch(spec: Mapping[str, Any]) -> torch.Tensor:
    images = open_dataset(spec).load()
    batches = Batches(
        images.train,
        torch.arange(64),
        32,
        seed=0,
        augment=spec["augment"],
        shuffle=True,
        mean=images.mean,
        std=images.std,
    )
    return next(iter(batches))[0]


def other_batch(spec: Mapping[str, Any], key: str, value: Any) -> bool:
    return not torch.equal(batch(spec), batch(changed(spec, key, value)))


DATASET: dict[str, tuple[Any, Callable[[Mapping[str, Any], str, Any], bool]]] = {
    "image_size": (8, lambda spec, key, value: batch(changed(spec, key, value)).shape[-1] == 8),
    "train_images": (20, lambda spec, key, value: len(open_dataset(changed(spec, key, value)).load().train) == 20),
    "augment.crop_padding": (2, other_batch),
    "augment.flip": (True, other_batch),
    "augment.translate": (2, other_batch),
    "augment.cutout": (5, other_batch),
    "augment.crop_mode": (
        "reflect",
        lambda spec, key, value: other_batch(changed(spec, "augment.crop_padding", 2), key, value),
    ),
    "streaming": (True, lambda spec, key, value: open_dataset(changed(spec, key, value)).load().streaming),
    "memory_limit_mib": (0, lambda spec, key, value: open_dataset(changed(spec, key, value)).load().streaming),
    "workers": (0, lambda spec, key, value: workers_of(changed(changed(spec, "streaming", True), key, value)) == value),
}
# Where files lie, and the split: tests/data/test_downloaded.py and test_split.py see to them.
DATASET_ELSEWHERE = {"root", "download", "val_fraction"}
# tests/data/sequences, tests/data/series and tests/data/sounds try these, each of a dataset of its own.
OF_SEQUENCES_AND_SOUNDS = {
    *("train_sequences", "test_sequences", "pair", "crop", "train_recordings", "test_recordings", "beats", "step_ms"),
    *("series", "missing", "train_clips", "test_clips", "rate_hz", "length_s", "bands", "fft", "hop", "range_db"),
    *("group", "leave_out", "device", "incomplete"),
}
OF_MASKS_AND_LINES = {
    *("train_scenes", "test_scenes", "train_frames", "test_frames", "levels", "class_names"),
    *("task.score", "task.tolerance", "task.loss", "task.least", "task.most"),
}
DESCRIBING = {"channels": 3, "num_classes": 11}


def workers_of(spec: Mapping[str, Any]) -> int:
    train = open_dataset(spec).load().train
    assert isinstance(train, StreamedImages)
    return train.workers


@pytest.mark.parametrize("key", sorted(keys_of(content("dataset", "digits"))))
def test_a_key_of_a_dataset_acts_or_is_refused(key: str) -> None:
    spec = content("dataset", "digits")
    if key in DESCRIBING:
        with pytest.raises(ConfigurationError, match=key):
            open_dataset(changed(spec, key, DESCRIBING[key]))
    elif key not in DATASET_ELSEWHERE:
        value, acts = DATASET[key]
        assert acts(spec, key, value)


def test_datasets_have_no_key_that_is_not_tried() -> None:
    known = {*DATASET, *DESCRIBING, *DATASET_ELSEWHERE, *OF_SEQUENCES_AND_SOUNDS, *OF_MASKS_AND_LINES}
    for path in (conf_dir() / "dataset").glob("*.yaml"):
        assert set(keys_of(yaml.safe_load(path.read_text()))) <= known, path


# --- backbones

BESIDE_POOLS = {"inter_map": 2, "pyramid_context": [3]}
BACKBONES: dict[str, dict[str, Any]] = {
    "codon_cnn": {"frames": "none", "frame_pool": "max", "width": 4, "codons": 5, "padding": "zeros"},
    "fpn": {"width": 4, "levels": 2, "pyramid": 4, **BESIDE_POOLS},
    "hypercolumn": {"width": 4, "levels": 2, "hidden": 4, **BESIDE_POOLS},
    "line_cnn": {"width": 4},
    "unet": {"width": 4, "levels": 2, "up": "interpolated", **BESIDE_POOLS},
    "audio_cnn": {"strides": [[2, 1], [2, 2], [2, 2]], "width": 4},
    "ecg_cnn": {"stages": 2, "width": 4},
    "motif_cnn": {"filters": 4, "motif": 5, "pool": 3},
    "allcnn": {"width": 8, "dropout_input": 0.9, "dropout": 0.9},
    "keras_cnn": {"last_convolution": False},
    "lenet5": {"padding": 0},
    "resnet18": {"stem": "imagenet", "strided_convolutions": "kept"},
    "resnet20": {"depth": 8, "width": 8, "strided_convolutions": "kept"},
    "slides": {},
}
# Names and files of other libraries: tests/backbones/test_any_network.py.
LIBRARIES = {"timm", "torchvision"}


def shown(spec: Mapping[str, Any]) -> str:
    image_size = (198,) if spec["name"] in OF_SEQUENCES else (32, 32)
    output_shape = output_for(spec["name"], 10, (1, *image_size))
    try:
        made = assemble(
            spec, MAX, in_channels=1, image_size=image_size, num_classes=10, seed=0, output_shape=output_shape
        )
    except UnsupportedError as error:  # without a strided place there is no site
        return str(error)
    return f"{made.network}\n{made.sites}"


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_a_key_of_a_backbone_makes_another_network(name: str) -> None:
    spec = content("backbone", name)
    assert set(keys_of(spec)) == set(BACKBONES[name])
    before = shown(spec)
    for key, value in BACKBONES[name].items():
        assert shown(changed(spec, key, value)) != before, key


def test_no_backbone_is_left_out() -> None:
    assert {path.stem for path in (conf_dir() / "backbone").glob("*.yaml")} == {*BACKBONES, *LIBRARIES}


# --- recipes


def figures(recipe: Mapping[str, Any]) -> str:
    return repr(run(protocol=Protocol.of(recipe)).history)


def selected(recipe: Mapping[str, Any]) -> int:
    # The last epoch's images are poisoned, so that it is not the best.
    return fit(network(), Blobs(), Wrong(), protocol=Protocol.of(recipe), trainer=TRAINER, seed=0).selected_epoch


class Wrong(Blobs):
    """Blobs whose classes change places from pass to pass: the first is the best."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.passes += 1
        for images, target in super().__iter__():
            yield images, target if self.passes == 1 else 1 - target


@pytest.mark.parametrize(("key", "value"), [("epochs", 2), ("label_smoothing", 0.5), ("precision", "bfloat16")])
def test_a_key_of_a_recipe_changes_figures(key: str, value: Any) -> None:
    assert figures(RECIPE | {key: value}) != figures(RECIPE)


def test_select_changes_which_epoch_counts() -> None:
    assert selected(RECIPE | {"select": "last"}) == RECIPE["epochs"] - 1 != selected(RECIPE)


class Spy(torch.nn.Module):
    """Says how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.deterministic: set[bool] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.deterministic.add(torch.are_deterministic_algorithms_enabled())
        return x


@pytest.mark.parametrize("wanted", [True, False])
def test_deterministic_is_torchs_while_it_trains(wanted: bool) -> None:
    spy = Spy()
    net = torch.nn.Sequential(spy, torch.nn.Flatten(), torch.nn.Linear(16, 2))
    run(net, protocol=Protocol.of(RECIPE | {"deterministic": wanted}))
    assert spy.deterministic == {wanted}


@pytest.mark.parametrize("wanted", [True, False])
def test_compile_is_torchs(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda net: compiled.append(net) or net)
    run(protocol=Protocol.of(RECIPE | {"compile": wanted}))
    assert bool(compiled) is wanted


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_memory_format_is_the_weights(layout: str) -> None:
    first, second = torch.nn.Conv2d(1, 4, 1), torch.nn.Conv2d(4, 2, 2)
    net = torch.nn.Sequential(first, second, torch.nn.Flatten(), torch.nn.Linear(18, 2))
    protocol = Protocol.of(RECIPE | {"memory_format": layout})
    run(net, protocol=protocol)
    assert second.weight.is_contiguous(memory_format=protocol.torch_memory_format)


def test_batch_sizes_are_those_of_the_batches(tmp_path: Path) -> None:
    protocol = content("protocol", "default") | {"batch_size": 7, "eval_batch_size": 11}
    given = {"backbone": content("backbone", "slides"), "pooling": MAX, "dataset": content("dataset", "digits")}
    config = {**given, "head": None, "protocol": protocol, "trainer": {"accelerator": "cpu"}, "seed": 0}
    labels = {"backbone": "slides", "variant": "max", "dataset": "digits"}
    parts = open_parts(Cell.of(config, labels, Settings(tmp_path, "sizes", "max")))
    sizes = {name: next(iter(getattr(parts, name)))[0].shape[0] for name in ("train", "seen", "val", "test")}
    assert sizes == {"train": 7, "seen": 11, "val": 11, "test": 11}


# What changes no figure, but when a cell is kept, ended or given up.
# What is written beside the figures: tests/cli/test_train.py.
ELSEWHERE = {"checkpoint_every_s", "time_limit", "attempts", "test_each_epoch"}
TRIED = {"epochs", "label_smoothing", "precision", "select", "deterministic", "compile", "memory_format"} | {
    *("batch_size", "eval_batch_size"),
}


@pytest.mark.parametrize("name", ["default", "sgd"])
def test_a_recipe_has_no_key_that_is_not_tried(name: str) -> None:
    recipe = content("protocol", name)
    assert set(recipe) >= TRIED
    assert set(recipe) - {"name", "optimizer", "schedule"} <= TRIED | ELSEWHERE
    # The rate of the optimiser is the one setting of the default recipe that its schedule takes the place of.
    assert set(inert_settings(Protocol.of(recipe))) == ({"optimizer.lr"} if name == "default" else set())


# --- loggers


@pytest.mark.parametrize(
    ("logger", "key", "value", "seen"),
    [
        ("csv", "name", "mine", "mine/csv/metrics.csv"),
        ("csv", "version", "mine", "mine/metrics.csv"),
        ("tensorboard", "name", "mine", "mine/tensorboard/events*"),
        ("tensorboard", "version", "mine", "mine/events*"),
    ],
)
def test_a_key_of_a_logger_acts(tmp_path: Path, logger: str, key: str, value: str, seen: str) -> None:
    spec = content("logger", logger)[logger]
    assert set(keys_of(spec)) | {"name"} == {"name", "version"}
    mirrors = Mirrors({logger: {**spec, key: value}}, folder=tmp_path, run_id="run", experiment="e")
    mirrors.row({"loss": 1.0}, 0)
    mirrors.close()
    assert list(tmp_path.glob(seen))
