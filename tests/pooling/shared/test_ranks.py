"""Networks of comparisons sort."""

import itertools

import pytest

from poolbench.pooling.shared.ranks import sorting_network


@pytest.mark.parametrize("count", range(1, 13))
def test_a_network_sorts_all_zeros_and_ones_and_so_everything(count: int) -> None:
    """The 0-1 principle: Knuth, The Art of Computer Programming 3, 5.3.4, theorem Z."""
    pairs = sorting_network(count)
    for numbers in itertools.product((0, 1), repeat=count):
        result = list(numbers)
        for first, second in pairs:
            if result[second] > result[first]:
                result[first], result[second] = result[second], result[first]
        assert result == sorted(numbers, reverse=True)


def test_nine_values_take_the_fewest_comparisons() -> None:
    assert len(sorting_network(9)) == 25
