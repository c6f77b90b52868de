import pytest
import torch

from poolbench.data import open_dataset, resampled, split, split_digest, subset
from poolbench.errors import ConfigurationError

LABELS = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)


def test_parts_are_sorted_disjoint_and_complete():
    train, val = split(LABELS, 0.1, seed=3)
    assert torch.equal(train, train.sort().values)
    assert torch.equal(val, val.sort().values)
    assert torch.cat([train, val]).sort().values.tolist() == list(range(100))


def test_validation_has_each_class_in_proportion():
    _, val = split(LABELS, 0.1, seed=3)
    assert LABELS[val].bincount().tolist() == [5, 3, 2]


def test_remainders_go_to_the_largest():
    # 15 % of 50, 30 and 20 are 7.5, 4.5 and 3: the one image left goes to the first of the equal remainders.
    _, val = split(LABELS, 0.15, seed=0)
    assert LABELS[val].bincount().tolist() == [8, 4, 3]


def test_a_class_keeps_its_last_image_for_training():
    labels = torch.tensor([0] * 9 + [1])
    train, val = split(labels, 0.5, seed=0)
    assert 1 in labels[train]
    assert 1 not in labels[val]


def test_the_seed_alone_decides():
    assert all(map(torch.equal, split(LABELS, 0.1, seed=1), split(LABELS, 0.1, seed=1)))
    assert split_digest(split(LABELS, 0.1, seed=1)[1]) != split_digest(split(LABELS, 0.1, seed=2)[1])


@pytest.mark.parametrize("val_fraction", [0, 1, -0.1, 1.5, True, "half", None])
def test_a_fraction_out_of_range_is_named(val_fraction):
    with pytest.raises(ConfigurationError, match=r"dataset\.val_fraction` must lie strictly between 0 and 1"):
        split(LABELS, val_fraction, seed=0)


def test_a_part_without_images_is_an_error():
    with pytest.raises(ConfigurationError, match=r"0\.001 of 100 training images leaves 0 to validate"):
        split(LABELS, 0.001, seed=0)


def test_subsets_are_balanced_and_nested():
    small, large = subset(LABELS, 12), subset(LABELS, 70)
    assert LABELS[small].bincount().tolist() == [4, 4, 4]
    assert LABELS[large].bincount().tolist() == [25, 25, 20]
    assert set(small.tolist()) < set(large.tolist())
    assert torch.equal(large, large.sort().values)


@pytest.mark.parametrize("train_images", [0, 1, 101, True, 0.5])
def test_a_subset_out_of_range_is_named(train_images):
    with pytest.raises(ConfigurationError, match=r"dataset\.train_images` must be null \(all\) or in 2\.\.100"):
        subset(LABELS, train_images)


def test_a_bootstrap_sample_is_of_its_seed_and_takes_nothing_from_elsewhere():
    train, val = split(LABELS, 0.1, seed=1)
    drawn = resampled(train, seed=1)
    assert len(drawn) == len(train)
    assert set(drawn.tolist()) < set(train.tolist())
    assert not set(drawn.tolist()) & set(val.tolist())
    assert torch.equal(drawn, resampled(train, seed=1))
    assert not torch.equal(drawn, resampled(train, seed=2))


def test_only_the_training_images_can_be_drawn_anew():
    spec = {"_target_": "poolbench.data.digits.Digits", "name": "digits", "val_fraction": 0.1, "resample": "test"}
    with pytest.raises(ConfigurationError, match=r"`resample` must be null .* or train .*, got 'test'"):
        open_dataset(spec)
