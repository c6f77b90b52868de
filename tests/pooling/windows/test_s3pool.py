"""What stochastic spatial sampling promises beyond the conformance suite."""

import copy
import itertools
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.pooling.windows.s3pool import S3Pool1d, S3Pool2d


def images(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def line(size: int) -> Tensor:
    """A sequence whose values are their places: what a window of one keeps of it says which were chosen."""
    return torch.arange(float(size)).view(1, 1, -1)


def seeded(**arguments: object) -> S3Pool1d:
    torch.manual_seed(5)
    return S3Pool1d(1, 2, **arguments)  # type: ignore[arg-type]


def chosen(operator: nn.Module, size: int) -> tuple[int, ...]:
    return tuple(int(place) for place in operator(line(size)).flatten().tolist())


# ---- what is drawn ----


def test_every_choice_of_a_cell_is_equally_likely() -> None:
    operator, count = seeded(grid_size=4), 2000
    found = Counter(chosen(operator, 8) for _ in range(count))
    pairs = list(itertools.combinations(range(4), 2))
    expected = {(*first, 4 + second[0], 4 + second[1]) for first in pairs for second in pairs}
    assert set(found) == expected
    # Of 36 equally likely ones: five standard deviations.
    assert all(abs(number / count - 1 / 36) < 5 * (1 / 36 / count) ** 0.5 for number in found.values())


def test_a_cell_as_large_as_the_stride_gives_one_of_its_places() -> None:
    operator = seeded()
    found = {chosen(operator, 6) for _ in range(200)}
    assert found == set(itertools.product((0, 1), (2, 3), (4, 5)))


@pytest.mark.parametrize("size", [5, 6, 7, 9, 13])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_what_is_left_over_is_a_smaller_cell(size: int, ceil_mode: bool) -> None:
    operator = seeded(grid_size=4, ceil_mode=ceil_mode)
    count = -(-size // 2) if ceil_mode or size % 2 else size // 2
    seen: set[int] = set()
    for _ in range(150):
        places = chosen(operator, size)
        assert len(places) == count
        assert list(places) == sorted(set(places))
        for cell in range(-(-count // 2)):
            inside = [place for place in places if 4 * cell <= place < 4 * cell + 4]
            assert len(inside) == min(2, count - 2 * cell)
        seen.update(places)
    assert seen == set(range(min(size, 2 * count)))


def test_a_cell_may_be_the_whole_map() -> None:
    operator = seeded(grid_size=100)
    found = [chosen(operator, 9) for _ in range(300)]
    assert all(len(set(places)) == 5 and list(places) == sorted(places) for places in found)
    # Five of nine: also those that no smaller cell would give.
    assert {places[0] for places in found} == {0, 1, 2, 3, 4}


def test_images_and_channels_share_a_choice_rows_and_columns_do_not() -> None:
    torch.manual_seed(5)
    operator = S3Pool2d(1, 2, grid_size=8)
    x = torch.arange(16.0).view(4, 4).expand(3, 2, 4, 4)
    found = set()
    for _ in range(60):
        pooled = operator(x)
        assert all(torch.equal(pooled[0, 0], plane) for plane in pooled.flatten(0, 1))
        rows, columns = pooled[0, 0, :, 0] // 4, pooled[0, 0, 0] % 4
        torch.testing.assert_close(pooled[0, 0], 4 * rows[:, None] + columns)
        found.add((tuple(rows.tolist()), tuple(columns.tolist())))
    assert len(found) > 20


@pytest.mark.quick(2)
@pytest.mark.parametrize("geometry", [(2, 2, 0, False), (3, 2, 1, False), (2, 2, 0, True), (3, 2, 0, False)], ids=str)
def test_the_mean_of_draws_is_the_evaluation(geometry: tuple[int, int, int, bool]) -> None:
    torch.manual_seed(5)
    operator, x = S3Pool2d(*geometry), images(1, 2, 7, 6)
    drawn = torch.stack([operator(x) for _ in range(1000)])
    error = drawn.std(0) / 1000**0.5
    assert ((drawn.mean(0) - operator.eval()(x)).abs() <= 5 * error + 1e-9).all()


def test_maxima_come_first() -> None:
    torch.manual_seed(5)
    operator, x = S3Pool2d(3, 2, 1, grid_size=4), images(2, 3, 8, 8)
    dense = F.max_pool2d(x, 3, 1, 1)
    pooled = operator(x)
    assert all(value in dense[0, 0] for value in pooled[0, 0].flatten())


def test_evaluation_by_hand() -> None:
    # The maxima of windows of two: 2, 3, 5, and of the last, which hangs over, 5.
    x = torch.tensor([[[1.0, 2.0, 3.0, 5.0]]])
    assert S3Pool1d(2).eval()(x).tolist() == [[[2.5, 5.0]]]
    assert S3Pool1d(2, grid_size=4).eval()(x).tolist() == [[[2.5, 5.0]]]


# ---- the stream ----


def test_repeats_by_seed() -> None:
    first, second = seeded(grid_size=4), seeded(grid_size=4)
    draws = [chosen(first, 32) for _ in range(3)]
    assert draws == [chosen(second, 32) for _ in range(3)]
    assert len(set(draws)) == 3
    other = S3Pool1d(1, 2, grid_size=4)
    assert [chosen(other, 32) for _ in range(3)] != draws
    other.draws.reseed(7)
    again = [chosen(other, 32) for _ in range(3)]
    other.draws.reseed(7)
    assert [chosen(other, 32) for _ in range(3)] == again


def test_a_copy_goes_on_where_the_original_stood() -> None:
    operator = seeded(grid_size=4)
    chosen(operator, 32)
    copied = copy.deepcopy(operator)
    assert chosen(copied, 32) == chosen(operator, 32)


def test_evaluation_draws_nothing() -> None:
    operator = seeded().eval()
    before = int(operator.draws.count)
    chosen(operator, 8)
    assert int(operator.draws.count) == before


# ---- arguments ----


def test_grid_size_has_a_rule() -> None:
    with pytest.raises(ValueError, match=r"`grid_size` must be a multiple of stride=\(2, 2\), got 3"):
        S3Pool2d(2, grid_size=3)
    with pytest.raises(ValueError, match=r"`grid_size` must be one or two whole numbers of at least 1, got 0"):
        S3Pool2d(2, grid_size=0)
    with pytest.raises(ValueError, match=r"`grid_size` must be a multiple of stride=\(1, 2\), got 3"):
        S3Pool1d(2, grid_size=3)
    assert S3Pool2d(3, (2, 3)).grid_size == (2, 3)
    assert "grid_size=(4, 4)" in repr(S3Pool2d(2, grid_size=4))
