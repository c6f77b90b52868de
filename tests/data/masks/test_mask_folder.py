"""Folders of images and masks: what is read of them, and what is refused before anything is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from poolbench.cli import main
from poolbench.data import open_dataset
from poolbench.data.masks.fit_pair import fit_pair
from poolbench.data.masks.mask_folder import MaskFolder
from poolbench.errors import ConfigurationError, DataError


def put(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array.astype(np.uint8))
    (image if mode is None else image.convert(mode)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pairs for training and one for the test: a bright square on a dark ground."""
    for name in ("train/a", "train/b", "test/c"):
        part, stem = name.split("/")
        mask = np.zeros((16, 16))
        mask[2:9, 3:12] = 255
        put(tmp_path / part / "images" / f"{stem}.png", mask // 2 + 20)
        put(tmp_path / part / "masks" / f"{stem}.png", mask)
    return tmp_path


def opened(root: Path, **changes) -> MaskFolder:
    return MaskFolder(**{"root": root, "image_size": 16, "levels": [0, 255]} | changes)


def test_images_and_masks_are_those_of_the_files(root):
    loaded = opened(root).load()
    assert loaded.train.labels.dtype == torch.uint8
    assert loaded.train.labels.unique().tolist() == [0, 1]
    assert (loaded.train.images[0, ..., 0] > 100).equal(loaded.train.labels[0].bool())
    assert loaded.class_names == ("class 0", "class 1")


def test_levels_name_the_classes_in_their_order(root):
    turned = opened(root, levels=[255, 0]).load().train.labels
    assert turned.equal(1 - opened(root).load().train.labels)
    notes = opened(root, levels=[0, 255, 7], class_names=["sky", "road", "tree"]).load().notes
    assert "train: no mask has a place of tree" in notes


def test_without_levels_they_are_classes_and_255_does_not_count(root):
    with pytest.raises(DataError, match=r"every place that counts is of the class class 0: .*`dataset.levels`"):
        opened(root, levels=None, num_classes=2).load()
    classes = np.zeros((16, 16))
    classes[0] = 1
    put(root / "train/masks/a.png", classes)
    loaded = opened(root, levels=None, num_classes=2).load()
    assert loaded.train.labels.unique().tolist() == [0, 1, 255]
    classes[0] = 2
    put(root / "train/masks/a.png", classes)
    with pytest.raises(DataError, match=r"a\.png has the level 2: .* a class: 0\.\.1, or 255"):
        opened(root, levels=None, num_classes=2).load()
    assert opened(root, levels=None, num_classes=3).load().train.labels.unique().tolist() == [0, 2, 255]


def test_masks_of_one_bit_have_two_classes_with_levels_and_without(root):
    expected = opened(root).load().train.labels
    for path in root.glob("*/masks/*.png"):
        put(path, np.asarray(Image.open(path)), mode="1")
    assert opened(root).load().train.labels.equal(expected)
    assert opened(root, levels=None, num_classes=2).load().train.labels.equal(expected)


def test_another_size_is_fitted_and_makes_up_no_class():
    random = np.random.default_rng(0)
    classes = random.choice(np.array([0, 7, 200], np.uint8), (31, 47))
    image = np.stack([classes] * 3, axis=2)
    for size in [(16, 16), (16, 20), (48, 48), (31, 47), (20, 47)]:
        fitted, kept = fit_pair(image, classes, size)
        assert fitted.shape == (*size, 3)
        assert kept.shape == size
        assert set(np.unique(kept)) <= {0, 7, 200}


def test_image_and_mask_stay_together_when_fitted():
    classes = np.zeros((64, 96), np.uint8)
    classes[20:40, 30:60] = 1
    fitted, kept = fit_pair(classes[..., None] * 200, classes, (32, 32))
    assert ((fitted[..., 0] > 100) != kept).mean() < 0.02


def broken(root: Path, what: str) -> None:
    mask = root / "train/masks/a.png"
    if what == "mask missing":
        mask.unlink()
    elif what == "image missing":
        (root / "test/images/c.png").unlink()
        put(root / "test/images/d.png", np.zeros((16, 16)))
        put(root / "test/masks/d.png", np.zeros((16, 16)))
    elif what == "empty":
        for path in (root / "test/masks").iterdir():
            path.unlink()
    elif what == "no folder":
        (root / "train/masks").rename(root / "train/labels")
    elif what == "jpeg mask":
        mask.rename(mask.with_suffix(".jpg"))
    elif what == "twice":
        put(root / "train/images/a.jpg", np.zeros((16, 16)))
    elif what == "other size":
        put(mask, np.zeros((16, 12)))
    elif what == "no image":
        mask.write_bytes(b"nothing")
    elif what == "no picture":
        (root / "train/images/a.png").write_bytes(b"nothing")
    elif what == "level":
        put(mask, np.full((16, 16), 128))
    elif what == "colour":
        put(mask, np.zeros((16, 16)), "RGB")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("mask missing", r"train/images/a\.png has no mask"),
        ("image missing", r"test/masks/c\.png has no image"),
        ("empty", r"test/masks is empty: it must hold \.png files"),
        ("no folder", r"train/masks cannot be read: No such file"),
        ("jpeg mask", r"train/masks holds what is no \.png file: a\.jpg"),
        ("twice", r"two files of one name, a\.jpg and a\.png"),
    ],
)
def test_files_that_do_not_pair_are_named_when_opened(root, what, said):
    broken(root, what)
    with pytest.raises(DataError, match=said):
        opened(root)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("other size", r"masks/a\.png is 12x16 pixels large, its image 16x16"),
        ("no image", r"masks/a\.png is no image that can be read \(UnidentifiedImageError"),
        ("no picture", r"images/a\.png is no image that can be read"),
        ("level", r"masks/a\.png has the level 128: it must be one of a class: 0, 255"),
        ("colour", r"masks/a\.png has the mode RGB: a mask must be grey"),
    ],
)
def test_pairs_that_cannot_be_used_are_named_when_loaded(root, what, said):
    broken(root, what)
    with pytest.raises(DataError, match=r"1 pairs cannot be used:\n.*" + said):
        opened(root).load()


def test_all_faults_are_named_together(root):
    broken(root, "level")
    put(root / "test/masks/c.png", np.zeros((4, 4)))
    with pytest.raises(DataError, match=r"2 pairs cannot be used:\n.*a\.png.*\n.*c\.png"):
        opened(root).load()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"root": None}, "`dataset.root` must name the folder"),
        ({"channels": 2}, "`dataset.channels` must be 1"),
        ({"levels": [0]}, "`dataset.levels` must be null or a list of different whole numbers"),
        ({"levels": [0, 0]}, "`dataset.levels`"),
        ({"levels": [0, 255], "num_classes": 3}, "`dataset.num_classes` must be null .* or 2"),
        ({"levels": None}, "`dataset.num_classes` must say how many"),
        ({"class_names": ["one"]}, "`dataset.class_names` must name 2 classes"),
        ({"image_size": [16]}, "`dataset.image_size` must be that of images"),
    ],
)
def test_wrong_arguments_are_named(root, changes, said):
    with pytest.raises(ConfigurationError, match=said):
        MaskFolder(**{"root": root, "image_size": 16, "levels": [0, 255]} | changes)


def test_it_opens_by_its_yaml(root):
    spec = {"_target_": "poolbench.data.masks.mask_folder.MaskFolder", "root": str(root), "levels": [0, 255]}
    dataset = open_dataset(spec | {"image_size": 16, "val_fraction": 0.5})
    assert dataset.task.name == "segmentation"
    assert (dataset.shape, dataset.num_classes) == ((1, 16, 16), 2)
    assert len(dataset.load().train) == 2
    before = dataset.fingerprint()
    put(root / "train/masks/a.png", np.eye(16) * 255)
    assert open_dataset(spec | {"image_size": 16, "val_fraction": 0.5}).fingerprint() != before


def test_a_fault_is_told_before_anything_is_trained(root, tmp_path, capsys):
    broken(root, "level")
    asked = [f"dataset.root={root}", "dataset.image_size=16", "dataset.augment.crop_padding=0", "backbone=unet"]
    quiet = ["dataset.augment.crop_mode=zeros", "pooling=max", "trainer=cpu", "protocol.batch_size=1"]
    assert main(["train", "dataset=mask_folder", *asked, *quiet, f"results_dir={tmp_path / 'results'}"]) == 2
    assert "has the level 128: it must be one of a class: 0, 255" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("results/**/weights.pt"))
