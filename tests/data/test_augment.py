import pytest
import torch

from poolbench.data import Augment
from poolbench.data.augment import Draws
from poolbench.errors import ConfigurationError


def moved_one_by_one(augment: Augment, images, draws):
    """Do what `Augment.move` does, pixel by pixel of one image after the other."""
    count, _, height, width = images.shape

    def shifted(image, corner, padding, mode):
        result = torch.zeros_like(image)
        for y in range(height):
            for x in range(width):
                source_y, source_x = y + int(corner[0]) - padding, x + int(corner[1]) - padding
                if mode == "reflect":
                    source_y, source_x = abs(source_y), abs(source_x)
                    source_y = 2 * (height - 1) - source_y if source_y >= height else source_y
                    source_x = 2 * (width - 1) - source_x if source_x >= width else source_x
                if 0 <= source_y < height and 0 <= source_x < width:
                    result[:, y, x] = image[:, source_y, source_x]
        return result

    result = []
    for index in range(count):
        image = images[index]
        if draws.flip is not None and draws.flip[index]:
            image = torch.stack([image[:, :, width - 1 - x] for x in range(width)], dim=2)
        if draws.crop is not None:
            image = shifted(image, draws.crop[index], augment.crop_padding, augment.crop_mode)
        if draws.translate is not None:
            image = shifted(image, draws.translate[index], augment.translate, "zeros")
        result.append(image)
    return torch.stack(result)


def channels_last(count, channels, size):
    drawn = torch.randint(1, 256, (count, channels, size, size), dtype=torch.uint8, generator=torch.manual_seed(0))
    return drawn.contiguous(memory_format=torch.channels_last)


@pytest.mark.quick(7)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"flip": True},
        {"crop_padding": 2},
        {"crop_padding": 6, "crop_mode": "reflect"},
        {"translate": 3},
        {"crop_padding": 1, "flip": True, "translate": 2},
        {"crop_padding": 3, "crop_mode": "reflect", "flip": True, "translate": 1},
    ],
)
def test_whole_batches_are_moved_as_images_one_by_one(arguments, channels, size):
    augment = Augment.of(arguments, size)
    images = channels_last(40, channels, size)
    draws = augment.draw(40, size, seed=0, epoch=0)
    assert torch.equal(augment.move(images.clone(), draws), moved_one_by_one(augment, images, draws))


@pytest.mark.parametrize("flips", [[True] * 3, [False] * 3])
def test_all_or_none_mirrored(flips):
    images = channels_last(3, 3, 4)
    expected = images.flip(3) if flips[0] else images
    assert torch.equal(Augment(flip=True).move(images.clone(), Draws(flip=torch.tensor(flips))), expected)


def test_cutout_covers_the_drawn_square_alone():
    images = torch.ones(2, 3, 6, 6)
    covered = Augment(cutout=3).cover(images, Draws(cutout=torch.tensor([[2, 3], [0, 5]])))
    expected = torch.ones(2, 3, 6, 6)
    expected[0, :, 1:4, 2:5] = 0
    expected[1, :, 0:2, 4:6] = 0  # what lies outside is cut off
    assert torch.equal(covered, expected)


def test_draws_reach_every_shift_and_no_further():
    draws = Augment(crop_padding=2, translate=1, cutout=2, flip=True).draw(2000, 5, seed=0, epoch=0)
    for drawn, most in ((draws.crop, 4), (draws.translate, 2), (draws.cutout, 4)):
        assert drawn.unique().tolist() == list(range(most + 1))
    assert 900 < int(draws.flip.sum()) < 1100


def test_one_kind_shifts_nothing_in_another():
    alone = Augment(crop_padding=4).draw(50, 16, seed=1, epoch=2)
    together = Augment(crop_padding=4, flip=True, translate=3, cutout=5).draw(50, 16, seed=1, epoch=2)
    assert torch.equal(alone.crop, together.crop)


def test_equal_seed_and_epoch_give_equal_draws():
    augment = Augment(crop_padding=4)
    crop = augment.draw(50, 16, seed=1, epoch=2).crop
    assert torch.equal(crop, augment.draw(50, 16, seed=1, epoch=2).crop)
    assert not torch.equal(crop, augment.draw(50, 16, seed=1, epoch=3).crop)
    assert not torch.equal(crop, augment.draw(50, 16, seed=2, epoch=2).crop)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"crop_padding": 8}, r"crop_padding` must be in 0\.\.7 for image_size=8, got 8"),
        ({"crop_padding": -1}, r"crop_padding` must be in 0\.\.7"),
        ({"translate": 8}, r"translate` must be in 0\.\.7"),
        ({"cutout": 9}, r"cutout` must be in 0\.\.8"),
        ({"cutout": 1.5}, r"cutout` must be in 0\.\.8"),
        ({"crop_mode": "zero"}, "did you mean zeros"),
        ({"crop_mode": "reflect"}, r"`dataset\.augment\.crop_mode=reflect` does nothing.*crop_padding` is 0"),
        ({"flip": 1}, "flip` must be true or false, got 1"),
        ({"flipp": True}, "unknown argument of `dataset.augment` 'flipp'; did you mean flip"),
        ("flip", "must be null or a mapping"),
    ],
)
def test_what_is_out_of_range_is_named(spec, said):
    with pytest.raises(ConfigurationError, match=said):
        Augment.of(spec, 8)
