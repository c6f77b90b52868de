import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import compose
from poolbench.data import Datasets, HeldImages, InMemory, LoadedImages, open_dataset
from poolbench.data.dataset import DESCRIBING, SHARED
from poolbench.data.sizes import sizes_of
from poolbench.errors import ConfigurationError, DataError
from poolbench.paths import conf_dir
from poolbench.spec import accepts, bind, locate

YAMLS = sorted((conf_dir() / "dataset").glob("*.yaml"))
DIGITS = {"_target_": "poolbench.data.digits.Digits", "name": "digits", "val_fraction": 0.1}


def of_yaml(name: str) -> dict:
    (job,) = compose(CommandLine.of("train", [f"dataset={name}"]))
    return dict(job.config["dataset"])


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_fits_its_target_and_describes_itself(path: Path):
    spec = of_yaml(path.stem)
    assert path.read_text().startswith("# ")
    assert spec["name"] == path.stem
    target = locate(spec["_target_"])
    own = {key: value for key, value in spec.items() if key not in (*SHARED, *DESCRIBING) or accepts(target, key)}
    bind(own, spec, where="dataset")
    assert {*DESCRIBING, "train_images", "val_fraction", "augment"} <= spec.keys()
    if spec.get("root", "") is not None:
        dataset = open_dataset(spec)
        assert (dataset.name, dataset.channels) == (path.stem, spec["channels"])
        assert sizes_of(dataset.image_size) == sizes_of(spec["image_size"])
        assert dataset.fingerprint() == open_dataset(spec).fingerprint()


def test_a_root_that_is_not_set_is_named():
    spec = yaml.safe_load((conf_dir() / "dataset" / "image_folder.yaml").read_text())
    with pytest.raises(DataError, match=r"`dataset\.root` must name the folder.*got null"):
        open_dataset(spec)


def test_equal_specifications_load_once_for_who_holds_them():
    held = Datasets()
    first = held.open(DIGITS).load()
    assert held.open(dict(DIGITS)).load() is first
    # What is drawn from the images later does not load them again.
    assert held.open(DIGITS | {"val_fraction": 0.2, "augment": {"flip": True}}).load() is first
    assert held.open(DIGITS | {"image_size": 8}).load() is not first
    assert held.open(DIGITS).load() is first
    assert Datasets().open(DIGITS).load() is not first


def test_a_stated_subset_of_training_images():
    full, part = open_dataset(DIGITS).load(), open_dataset(DIGITS | {"train_images": 100}).load()
    assert (len(part.train), len(part.test)) == (100, 597)
    assert part.train.labels.bincount().tolist() == [10] * 10
    assert part.digest == full.digest
    assert part.mean == pytest.approx([float(part.train.images.double().mean()) / 255])
    assert "a stated subset: 100 of 1,200 training images" in part.notes
    with pytest.raises(ConfigurationError, match=r"train_images` must be null \(all\) or in 2\.\.1200"):
        open_dataset(DIGITS | {"train_images": 1201}).load()


def test_given_statistics_are_taken():
    images = open_dataset(DIGITS | {"mean": [0.5], "std": [0.25]}).load()
    assert (images.mean, images.std) == ((0.5,), (0.25,))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"val_fraction": 1.0}, "val_fraction` must lie strictly between"),
        ({"train_images": 1}, r"train_images` must be null \(all\) or a whole number, at least 2"),
        ({"train_images": "many"}, "train_images` must be null"),
        ({"augment": {"crop_padding": 16}}, r"crop_padding` must be in 0\.\.15 for image_size=16"),
        ({"mean": [0.5, 0.5]}, r"dataset\.mean` must be null .* or 1 numbers"),
        ({"std": [0.0]}, r"dataset\.std` must be null .* above 0"),
        ({"image_size": 0}, r"image_size` must be a whole number, at least 1"),
        ({"image_size": "large"}, "image_size` must be a whole number"),
        ({"streaming": "yes"}, "streaming` must be auto, true or false"),
        ({"memory_limit_mib": -1}, "memory_limit_mib` must be null or at least 0"),
        ({"workers": -1}, "workers` must be a whole number, at least 0"),
        ({"imagesize": 8}, "unknown argument 'imagesize'; did you mean image_size"),
        ({"_target_": "poolbench.data.digits.Digit"}, "did you mean Digits"),
        ({"_target_": "fractions.Fraction"}, "lacks name, channels"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_loaded(change, said):
    with pytest.raises(ConfigurationError, match=said):
        open_dataset(DIGITS | change)


def test_a_missing_fraction_is_named():
    with pytest.raises(ConfigurationError, match=r"dataset\.val_fraction` is missing"):
        open_dataset({"_target_": "poolbench.data.digits.Digits"})


def stripes(count: int = 12) -> InMemory:
    """A dataset of one's own, as a user would write it."""
    labels = np.arange(count) % 2
    images = np.zeros((count, 8, 8, 3), np.uint8)
    images[labels == 1, ::2] = 255
    return InMemory(images, labels, images[:4], labels[:4], ["plain", "striped"])


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules are found in this test, and forgotten after it."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_a_function_of_ones_own_is_a_dataset(importable: Path):
    (importable / "my_stripes.py").write_text(
        "import numpy as np\nfrom poolbench.data import InMemory\n\n"
        "def stripes(count, image_size=8):\n"
        "    labels = np.arange(count) % 2\n"
        "    images = np.zeros((count, image_size, image_size), np.uint8)\n"
        "    images[labels == 1, ::2] = 255\n"
        "    return InMemory(images, labels, images[:4], labels[:4], ['plain', 'striped'])\n"
    )
    spec = {"_target_": "my_stripes.stripes", "name": "mine", "val_fraction": 0.25, "count": 12, "train_images": 6}
    dataset = open_dataset(spec)
    assert (dataset.name, dataset.channels, dataset.image_size, dataset.num_classes) == ("mine", 1, 8, 2)
    assert len(dataset.load().train) == 6
    with pytest.raises(ConfigurationError, match=r"`dataset\.channels` is 3, but the dataset has 1"):
        open_dataset(spec | {"channels": 3})


def test_own_arrays_in_any_layout_hold_the_same_images():
    own = stripes()
    images, labels = own.load().train.images, own.load().train.labels
    moved = InMemory(images.permute(0, 3, 1, 2), labels, images[:4], labels[:4], ["plain", "striped"])
    assert moved.fingerprint() == own.fingerprint()
    assert torch.equal(moved.load().train.images, images)


@pytest.mark.parametrize(
    ("images", "labels", "names", "said"),
    [
        (np.zeros((2, 8, 8, 3)), [0, 1], "ab", "must be uint8"),
        (np.zeros((2, 8, 6, 3), np.uint8), [0, 1], "ab", r"must be square images .* got shape \(2, 8, 6, 3\)"),
        (np.zeros((2, 8, 8, 4), np.uint8), [0, 1], "ab", "1 or 3 channels"),
        (np.zeros((2, 8, 8, 3), np.uint8), [0], "ab", "one for each of the 2 images"),
        (np.zeros((2, 8, 8, 3), np.uint8), [0.0, 1.0], "ab", "must be whole numbers"),
        (np.zeros((2, 8, 8, 3), np.uint8), [0, 2], "ab", r"must be in 0\.\.1 for 2 class names, got 0\.\.2"),
        (np.zeros((2, 8, 8, 3), np.uint8), [0, 0], "a", "at least 2 classes"),
    ],
)
def test_own_arrays_that_do_not_fit_are_named(images, labels, names, said):
    with pytest.raises(DataError, match=said):
        InMemory(images, labels, images, labels, names)


class Announcing:
    """A dataset whose images are not what it announces."""

    name, channels, num_classes = "announcing", 3, 2

    def __init__(self, image_size: int, label: int) -> None:
        self.image_size = image_size
        self.label = label

    def fingerprint(self) -> str:
        return f"announcing {self.label}"

    def load(self) -> LoadedImages:
        source = HeldImages(torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.full((4,), self.label))
        return LoadedImages(source, source, ("a", "b"), (0.0,) * 3, (1.0,) * 3, "0" * 64)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"image_size": 9, "label": 0}, r"train images have shape \(3, 8, 8\), announced: \(3, 9, 9\)"),
        ({"image_size": 8, "label": 2}, r"train labels must be in 0\.\.1, got 2\.\.2"),
    ],
)
def test_images_that_differ_from_what_was_announced_are_an_error(arguments, said, monkeypatch):
    module = types.ModuleType("announcing_module")
    module.Announcing = Announcing
    monkeypatch.setitem(sys.modules, "announcing_module", module)
    dataset = open_dataset({"_target_": "announcing_module.Announcing", "val_fraction": 0.5, **arguments})
    with pytest.raises(DataError, match=said):
        dataset.load()


def test_what_a_custom_class_raises_is_said_with_its_line(importable: Path):
    (importable / "mydata.py").write_text(
        "class Broken:\n"
        "    name, channels, image_size, num_classes = 'broken', 1, 4, 2\n"
        "    def __init__(self, root=None, broken='init'):\n"
        "        self.broken = broken\n"
        "        if broken == 'init': open(f'{root}/train.npz')\n"
        "    def fingerprint(self):\n"
        "        return {}['digest'] if self.broken == 'fingerprint' else ''\n"
        "    def load(self):\n"
        "        raise RuntimeError('no\\narrays')\n"
    )
    spec = {"_target_": "mydata.Broken", "val_fraction": 0.1, "root": None}
    with pytest.raises(
        ConfigurationError, match=r"`dataset` \(mydata\.Broken\) raised FileNotFound.*mydata\.py, line 5"
    ):
        open_dataset(spec)
    with pytest.raises(ConfigurationError, match=r"`fingerprint` of `dataset` .*raised KeyError: 'digest' .*line 7"):
        open_dataset(spec | {"broken": "fingerprint"}).fingerprint()
    with pytest.raises(ConfigurationError, match=r"`load` of `dataset` .*raised RuntimeError: no arrays .*line 9"):
        open_dataset(spec | {"broken": "load"}).load()


def test_a_task_derived_from_the_datasets_own_is_taken(importable: Path):
    (importable / "mytask.py").write_text(
        "from poolbench.tasks import Regression, Task\n"
        "class Within(Regression):\n"
        "    name = 'within'\n"
        "class Other(Task):\n"
        "    name, score = 'other', Regression().score\n"
        "    def check_targets(self, *_): pass\n"
        "    output_shape = loss = scores = kept = metrics = outcomes = trial_targets = check_targets\n"
    )
    spec = of_yaml("line")
    assert open_dataset(spec | {"task": {"_target_": "mytask.Within", "unit": "m"}}).task.name == "within"
    with pytest.raises(ConfigurationError, match=r"but the dataset is for regression.*a class derived from Regression"):
        open_dataset(spec | {"task": {"_target_": "mytask.Other"}})
