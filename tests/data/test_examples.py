"""Examples of any shape and of floating point, from arrays to batches."""

import math

import numpy as np
import pytest
import torch

from poolbench.data import Augment, Batches, HeldImages, InMemoryExamples, open_dataset, sizes_of
from poolbench.data.augment import Draws
from poolbench.errors import ConfigurationError, DataError

SHAPES = {"sequences": (2, 50), "wide": (3, 6, 11), "one row": (1, 1, 9)}


def generated(shape=(2, 50), dtype=np.float32):
    """Return a dataset of noise with an offset of its own in each channel; a `_target_` of the tests."""
    rng = np.random.default_rng(0)
    centre = 10.0 * np.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))
    train, test = (rng.normal(centre, 2.0, (count, *shape)).astype(dtype) for count in (40, 12))
    return InMemoryExamples(train, np.arange(40) % 4, test, np.arange(12) % 4, list("abcd"), name="generated")


def spec(**further):
    return {"_target_": f"{__name__}.generated", "val_fraction": 0.2, **further}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_batches_of_any_shape_are_normalised(shape, dtype):
    dataset = open_dataset(spec(shape=shape, dtype=dtype, image_size=list(shape[1:]), channels=shape[0]))
    loaded = dataset.load()
    assert loaded.train.shape == shape
    batches = Batches(loaded.train, torch.arange(40), 16, seed=0, mean=loaded.mean, std=loaded.std)
    found = list(batches)
    assert [tuple(x.shape) for x, _ in found] == [(16, *shape), (16, *shape), (8, *shape)]
    values = torch.cat([x for x, _ in found]).movedim(1, 0).flatten(1)
    torch.testing.assert_close(values.mean(1), torch.zeros(shape[0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.std(1, correction=0), torch.ones(shape[0]), atol=1e-4, rtol=0)
    raw = loaded.train.gather(torch.tensor([7]))[0].double()
    one = raw / 255 if dtype == np.uint8 else raw
    by_hand = [(one[c] - loaded.mean[c]) / loaded.std[c] for c in range(shape[0])]
    torch.testing.assert_close(found[0][0][7].double(), torch.stack(by_hand), atol=1e-4, rtol=1e-4)
    assert torch.equal(found[0][1], torch.arange(16) % 4)


def test_a_sequence_is_moved_along_its_length():
    sequences = torch.arange(24.0).view(2, 2, 6)
    augment = Augment.of({"crop_padding": 2, "flip": True, "cutout": 3}, (6,))
    draws = Draws(flip=torch.tensor([False, True]), crop=torch.tensor([[0], [3]]), cutout=torch.tensor([[0], [4]]))
    moved = augment.move(sequences, draws)
    assert moved[0, 0].tolist() == [0, 0, 0, 1, 2, 3]
    assert moved[1, 1].tolist() == [22, 21, 20, 19, 18, 0]
    covered = augment.cover(moved.clone(), draws)
    assert covered[0, 1].tolist() == [0, 0, 6, 7, 8, 9]
    assert covered[1, 0].tolist() == [16, 15, 14, 0, 0, 0]


def test_draws_of_a_sequence_have_one_column_and_stay_within_it():
    augment = Augment.of({"crop_padding": 3, "translate": 2, "cutout": 5, "flip": True}, (40,))
    draws = augment.draw(500, (40,), seed=1, epoch=2)
    for drawn, end in ((draws.crop, 7), (draws.translate, 5), (draws.cutout, 40)):
        assert drawn is not None
        assert drawn.shape == (500, 1)
        assert (int(drawn.min()), int(drawn.max())) == (0, end - 1)
    wide = augment.draw(2000, (6, 40), seed=1, epoch=2).cutout
    assert wide is not None
    assert wide.max(0).values.tolist() == [5, 39]


def test_reflected_padding_of_a_sequence():
    augment = Augment.of({"crop_padding": 2, "crop_mode": "reflect"}, (4,))
    sequence = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    assert augment.move(sequence, Draws(crop=torch.tensor([[0]])))[0, 0].tolist() == [3, 2, 1, 2]
    assert augment.move(sequence, Draws(crop=torch.tensor([[4]])))[0, 0].tolist() == [3, 4, 3, 2]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_named_by_its_example(value):
    examples = np.zeros((4, 1, 8), np.float32)
    examples[2, 0, 5] = value
    good, labels = np.zeros((4, 1, 8), np.float32), [0, 1, 0, 1]
    held = InMemoryExamples(good, labels, examples, labels, ["a", "b"])
    with pytest.raises(DataError, match=rf"test example 2 .* holds {value}.*finite number"):
        open_dataset({"_target_": f"{__name__}.given", "held": held, "val_fraction": 0.5}).load()


def given(held):
    return held


def test_what_a_yaml_announces_must_be_what_the_dataset_has():
    assert open_dataset(spec(image_size=[50])).shape == (2, 50)
    for size in ([51], 50, [50, 50]):
        with pytest.raises(ConfigurationError, match=r"image_size` is .*but the dataset has \(50,\)"):
            open_dataset(spec(image_size=size))
    for size in ([], [1, 2, 3], [0], "16", 2.5, [True]):
        with pytest.raises(ConfigurationError, match=r"image_size` must be a whole number.*\[length\] of sequences"):
            sizes_of(size)


def test_the_digest_of_a_dataset_follows_values_and_targets():
    dataset = generated()
    labels = np.arange(40) % 4
    train, test = dataset.load().train, dataset.load().test
    assert isinstance(train, HeldImages)
    assert isinstance(test, HeldImages)
    x, y = train.images.movedim(-1, 1).clone(), test.images.movedim(-1, 1)
    same = InMemoryExamples(x, labels, y, test.labels, list("abcd"))
    assert same.fingerprint() == dataset.fingerprint()
    x[0, 0, 0] += 1
    assert InMemoryExamples(x, labels, y, test.labels, list("abcd")).fingerprint() != dataset.fingerprint()
    moved = np.roll(labels, 1)
    x[0, 0, 0] -= 1
    assert InMemoryExamples(x, moved, y, test.labels, list("abcd")).fingerprint() != dataset.fingerprint()


def test_images_that_are_not_square_are_fitted_by_covering_their_size():
    spec = {"_target_": "poolbench.data.digits.Digits", "name": "digits", "val_fraction": 0.1}
    wide = open_dataset(spec | {"image_size": [12, 20]})
    assert wide.shape == (1, 12, 20)
    loaded = wide.load()
    assert loaded.train.shape == (1, 12, 20)
    # Each 8×8 digit becomes 20×20, of which the middle 12 rows stay.
    whole = open_dataset(spec | {"image_size": 20}).load().train.gather(torch.arange(3))
    assert torch.equal(loaded.train.gather(torch.arange(3)), whole[:, :, 4:16])
    with pytest.raises(ConfigurationError, match=r"one number or two for images, got \[12\]"):
        open_dataset(spec | {"image_size": [12]})
