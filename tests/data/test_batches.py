import numpy as np
import pytest
import torch

from poolbench.data import Batches, HeldImages, StreamedImages, batch_digest
from poolbench.data.content import ArrayReader
from poolbench.errors import ConfigurationError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
AUGMENT = {"crop_padding": 2, "flip": True, "translate": 1, "cutout": 3}
# Python 3.12 and later warn of a fork beside threads; the workers are the DataLoader's and touch no lock of ours.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def images():
    return torch.randint(256, (50, 8, 8, 3), dtype=torch.uint8, generator=torch.manual_seed(0))


@pytest.fixture(scope="module")
def held(images):
    return HeldImages(images, torch.arange(50) % 4)


def training(source, batch_size=16, seed=0, **arguments):
    shared = {"augment": AUGMENT, "shuffle": True, "mean": MEAN, "std": STD} | arguments
    return Batches(source, torch.arange(len(source)), batch_size, seed=seed, **shared)


def collected(batches):
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_equal_seeds_give_equal_batches_whatever_was_drawn_before(held):
    first = collected(training(held))
    torch.rand(7)
    assert all(map(torch.equal, first, collected(training(held))))
    assert not torch.equal(first[0], collected(training(held, seed=1))[0])


def test_epochs_differ_and_come_back(held):
    batches = training(held)
    first = collected(batches)
    batches.set_epoch(1)
    assert not torch.equal(first[0], collected(batches)[0])
    batches.set_epoch(0)
    assert torch.equal(first[0], collected(batches)[0])


def test_order_and_augmentation_do_not_depend_on_the_batch_size(held):
    small, large = collected(training(held, 5)), collected(training(held, 25))
    assert all(map(torch.equal, small, large))


def test_augmentation_does_not_change_the_order(held):
    assert torch.equal(collected(training(held))[1], collected(training(held, augment=None))[1])


def test_each_image_comes_once_in_an_epoch():
    marked = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 4, 4, 1).contiguous()
    source = HeldImages(marked, torch.arange(40))
    batches = Batches(source, torch.arange(40), 10, seed=0, shuffle=True, mean=(0.0,), std=(1 / 255,))
    seen, labels = collected(batches)
    assert labels.sort().values.tolist() == list(range(40))
    assert torch.equal(seen[:, 0, 0, 0].round().long(), labels)


@forks
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_gives_the_same_batches_bit_for_bit(held, images, workers):
    streamed = StreamedImages(ArrayReader(images.numpy(), 8), held.labels, workers)
    for epoch in range(2):
        from_memory, from_stream = training(held), training(streamed)
        from_memory.set_epoch(epoch)
        from_stream.set_epoch(epoch)
        assert all(map(torch.equal, collected(from_memory), collected(from_stream)))


def test_a_stream_takes_no_number_that_dropout_would_draw(held, images):
    streamed = StreamedImages(ArrayReader(images.numpy(), 8), held.labels, 0)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    collected(training(streamed))
    assert torch.equal(torch.rand(3), expected)


@forks
def test_two_passes_over_one_stream_do_not_disturb_each_other(held, images):
    streamed = StreamedImages(ArrayReader(images.numpy(), 8), held.labels, 1)
    expected = collected(training(held))
    passing = iter(training(streamed))
    got = [next(passing)]
    collected(training(streamed, seed=5))
    got.extend(passing)
    assert torch.equal(torch.cat([x for x, _ in got]), expected[0])


def test_images_are_normalised_by_channel(held, images):
    indices = torch.tensor([3, 1, 40])
    batches = Batches(held, indices, 2, seed=0, mean=MEAN, std=STD)
    got, labels = collected(batches)
    level = images[indices].permute(0, 3, 1, 2).double() / 255
    expected = (level - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(labels, held.labels[indices])
    assert got.dtype == torch.float32


def test_the_memory_format_changes_no_value(held):
    last = next(iter(training(held)))[0]
    contiguous = next(iter(training(held, memory_format=torch.contiguous_format)))[0]
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert contiguous.is_contiguous()
    assert torch.equal(last, contiguous)


def test_training_leaves_out_what_fills_no_batch_and_evaluation_does_not(held):
    assert [len(x) for x, _ in training(held, 16)] == [16, 16, 16]
    evaluation = Batches(held, torch.arange(50), 16, seed=0, mean=MEAN, std=STD)
    assert [len(x) for x, _ in evaluation] == [16, 16, 16, 2]
    assert len(evaluation) == 4
    assert evaluation.images == 50


def test_a_last_training_batch_of_one_joins_the_one_before(held):
    batches = Batches(held, torch.arange(33), 16, seed=0, shuffle=True, drop_last=False, mean=MEAN, std=STD)
    assert [len(x) for x, _ in batches] == [16, 17]


def test_a_batch_may_be_the_whole_training_set(held):
    assert [len(x) for x, _ in training(held, 50)] == [50]


def test_first_batches_have_equal_digests_for_equal_seeds_only(held):
    batches = training(held)
    batches.set_epoch(3)
    assert batch_digest(batches) == batch_digest(training(held, memory_format=torch.contiguous_format))
    assert batches.epoch == 3
    assert batch_digest(batches) != batch_digest(training(held, seed=1))
    assert batch_digest(training(held, dtype=torch.bfloat16)) != batch_digest(batches)


def test_a_batch_larger_than_the_training_set_is_named(held):
    with pytest.raises(ConfigurationError, match=r"protocol\.batch_size` must be at most 50.*got 51"):
        training(held, 51)


@pytest.mark.parametrize("batch_size", [0, 2.0, True])
def test_a_batch_size_out_of_range_is_named(held, batch_size):
    with pytest.raises(ConfigurationError, match="`batch_size` must be a whole number of at least 1"):
        training(held, batch_size)


def test_statistics_of_other_channels_are_named(held):
    with pytest.raises(ConfigurationError, match="`mean` must have 3 values"):
        training(held, mean=(0.5,))


def test_no_image_is_an_error(held):
    with pytest.raises(ConfigurationError, match="at least one image"):
        Batches(held, torch.arange(0), 4, seed=0, mean=MEAN, std=STD)


def test_sources_gather_and_take(held, images):
    streamed = StreamedImages(ArrayReader(images.numpy(), 8), held.labels, 0)
    rows = torch.tensor([9, 2, 2])
    for source in (held, streamed):
        gathered = source.gather(rows)
        assert gathered.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(gathered, images[rows].permute(0, 3, 1, 2))
        taken = source.take(rows)
        assert len(taken) == 3
        assert torch.equal(taken.labels, held.labels[rows])
        assert torch.equal(taken.gather(torch.tensor([0])), images[9:10].permute(0, 3, 1, 2))


def test_held_images_are_checked():
    with pytest.raises(ConfigurationError, match="must be uint8"):
        HeldImages(torch.zeros(2, 4, 4, 3, dtype=torch.int16), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ConfigurationError, match="`labels` must be int64"):
        HeldImages(torch.from_numpy(np.zeros((2, 4, 4, 3), np.uint8)), torch.zeros(3, dtype=torch.int64))
