import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from poolbench.data.digits import Digits, TranslatedDigits
from poolbench.data.images import HeldImages
from poolbench.errors import ConfigurationError


def sha256(source):
    assert isinstance(source, HeldImages)
    return hashlib.sha256(source.images.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("dataset", "train", "test"),
    [
        (
            Digits,
            "db7c5cb849f622b0eec48123f8a264628b9e61c3139f9c17973ad02eb552b424",
            "2411a55d85abf6d28c47c88e7fd70323fc830f38658f27db91f6151e4944d663",
        ),
        (
            TranslatedDigits,
            "fd4dd4f48400d09951c3076658dd3cfceb41306a7d76545ca485de2c9e42a097",
            "e70b4300ab88e1029c9942a4c8da004ea454ec1d019e35b15bb8432978ea02fc",
        ),
    ],
)
def test_the_images_are_equal_on_every_machine(dataset, train, test):
    images = dataset().load()
    assert (sha256(images.train), sha256(images.test)) == (train, test)


def test_digits_are_scikit_learns_in_their_order():
    images = Digits(image_size=8).load()
    bunch = load_digits()
    levels = torch.cat([images.train.images, images.test.images])[..., 0].numpy()
    np.testing.assert_allclose(levels, bunch.images * 255 / 16, atol=0.5)
    assert torch.cat([images.train.labels, images.test.labels]).tolist() == bunch.target.tolist()
    assert (len(images.train), len(images.test)) == (1200, 597)


def test_enlarging_repeats_pixels():
    small, large = Digits(image_size=8).load().test.images, Digits(image_size=24).load().test.images
    assert torch.equal(large, small.repeat_interleave(3, 1).repeat_interleave(3, 2))


def test_a_size_between_is_resized():
    assert Digits(image_size=20).load().train.shape == (1, 20, 20)


@pytest.mark.parametrize(("part", "reach"), [("train", 1), ("test", 8)])
def test_translated_digits_lie_whole_on_the_canvas_within_reach(part, reach):
    placed = getattr(TranslatedDigits().load(), part)
    digits = getattr(Digits().load(), part)
    assert torch.equal(placed.labels, digits.labels)
    shifts = set()
    for canvas, digit in zip(placed.images[..., 0], digits.images[..., 0], strict=True):
        corners = [
            (top, left)
            for top in range(8 - reach, 9 + reach)
            for left in range(8 - reach, 9 + reach)
            if torch.equal(canvas[top : top + 16, left : left + 16], digit)
        ]
        assert corners  # the digit is there, unchanged
        assert canvas.sum() == digit.sum()  # and nothing else
        shifts.update(top - 8 for top, _ in corners)
    assert shifts == set(range(-reach, reach + 1))


def test_statistics_are_those_of_the_training_images():
    images = Digits().load()
    levels = images.train.images.double() / 255
    assert images.mean == pytest.approx([float(levels.mean())], abs=1e-12)
    assert images.std == pytest.approx([float(levels.std(correction=0))], abs=1e-12)


@pytest.mark.parametrize("dataset", [Digits, TranslatedDigits])
def test_grey_and_ten_classes_only(dataset):
    with pytest.raises(ConfigurationError, match=r"dataset\.channels` must be 1"):
        dataset(channels=3)
    with pytest.raises(ConfigurationError, match=r"dataset\.num_classes` must be 10"):
        dataset(num_classes=5)


def test_streaming_gives_the_same_facts():
    held, streamed = Digits().load(), Digits(streaming=True, workers=0).load()
    assert streamed.streaming
    assert not held.streaming
    assert (streamed.digest, streamed.mean, streamed.std) == (held.digest, held.mean, held.std)
