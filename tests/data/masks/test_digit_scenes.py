"""Digit scenes: what is drawn, that it is as stated, and that masks move with their images."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from poolbench.data import Batches, open_dataset
from poolbench.data.digits import TRAIN_IMAGES, originals
from poolbench.data.masks.digit_scenes import SIZES, DigitScenes, drawn
from poolbench.data.masks.enlarge import enlarged
from poolbench.errors import ConfigurationError
from poolbench.streams import stream
from poolbench.tasks import Segmentation


@pytest.mark.parametrize(("old", "new"), [(8, 12), (8, 24), (6, 48), (1, 5), (8, 8), (9, 4)])
def test_enlarging_is_torchs_bilinear_but_for_rounding(old, new):
    images = np.random.default_rng(0).integers(0, 256, (3, old, old))
    wanted = F.interpolate(torch.from_numpy(images)[:, None].double(), size=(new, new), mode="bilinear")[:, 0]
    assert np.abs(enlarged(images, new) - wanted.numpy()).max() <= 0.5 + 1e-9


def test_scenes_are_the_same_on_every_machine():
    # Whole numbers all through: a change of the generator needs another version in its fingerprint.
    scenes = DigitScenes(train_scenes=30, test_scenes=6).scenes("train")
    assert int(scenes.images.astype(np.int64).sum()) == 6_873_995
    assert np.bincount(scenes.masks.ravel()).tolist() == [58974, 609, 1145, 954, 1040, 1136, 673, 1141, 622, 1333, 1493]


def test_a_scene_holds_three_digits_of_one_size_each_in_a_quarter():
    one = np.full((1, 8, 8), 255, np.uint8)
    scenes = drawn(one, np.array([4]), 60, 48, torch.Generator().manual_seed(0))
    assert (np.bincount(scenes.sizes) == 20).all()
    for mask, size in zip(scenes.masks, scenes.sizes, strict=True):
        quarters = mask.reshape(2, 24, 2, 24).transpose(0, 2, 1, 3).reshape(4, -1)
        assert sorted((quarters == 5).sum(1).tolist()) == [0] + [SIZES[size] ** 2] * 3
        assert set(np.unique(mask)) == {0, 5}


def test_digits_are_brighter_than_the_canvas_around_them():
    scenes = DigitScenes(train_scenes=60, test_scenes=6).scenes("train")
    inside = np.array([image[0][mask > 0].mean() for image, mask in zip(scenes.images, scenes.masks, strict=True)])
    outside = np.array([image[0][mask == 0].mean() for image, mask in zip(scenes.images, scenes.masks, strict=True)])
    assert (inside > outside + 30).all()


def test_no_test_digit_is_seen_in_training():
    images, labels = originals(repeat=1)
    scenes = {part: DigitScenes(train_scenes=6, test_scenes=6).scenes(part) for part in ("train", "test")}
    own = drawn(
        images[TRAIN_IMAGES:, ..., 0],
        labels[TRAIN_IMAGES:],
        6,
        48,
        stream(0, "digit_scenes", "test"),
    )
    assert np.array_equal(own.images, scenes["test"].images)
    assert not np.array_equal(scenes["train"].images, scenes["test"].images)


@pytest.mark.parametrize("size", [47, 40, [48, 50], [48], 49])
def test_a_canvas_that_digits_do_not_fit_is_refused(size):
    with pytest.raises(ConfigurationError, match="must be an even number of at least 48"):
        DigitScenes(image_size=size)


def test_masks_move_with_their_images():
    """Of an image that shows its own mask, image and mask stay equal whatever the augmentation does."""
    dataset = open_dataset(
        {
            "_target_": "poolbench.data.masks.digit_scenes.DigitScenes",
            "train_scenes": 64,
            "test_scenes": 6,
            "val_fraction": 0.1,
        }
    )
    loaded = dataset.load()
    shown = loaded.train.labels[..., None].clone()
    source = type(loaded.train)(shown, loaded.train.labels)
    augment = {"crop_padding": 6, "crop_mode": "reflect", "flip": True, "translate": 5}
    batches = Batches(
        source,
        torch.arange(64),
        32,
        seed=0,
        augment=augment,
        shuffle=True,
        mean=(0.0,),
        std=(1 / 255,),
        move_targets=Segmentation().move_targets,
    )
    moved, still = 0, {mask.numpy().tobytes() for mask in loaded.train.labels}
    for images, targets in batches:
        counted = targets != 255
        assert counted.any()
        assert torch.equal(images[:, 0].round()[counted], targets[counted].float())
        assert (images[:, 0][~counted] == 0).all()
        moved += sum(target.numpy().tobytes() not in still for target in targets)
    assert moved > 50
