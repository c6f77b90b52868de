"""What a module keeps of what it made last."""

from collections.abc import Callable

import torch

from poolbench.pooling.shared.last import Last


def numbered() -> Callable[[], int]:
    count = iter(range(100))
    return lambda: next(count)


def test_it_is_made_again_only_where_what_it_depends_on_changes() -> None:
    last: Last[int] = Last()
    make, single, double = numbered(), torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    asked = [(single, (2, "haar")), (single, (2, "haar")), (single, (3, "haar")), (double, (3, "haar"))]
    assert [last.of(like, about, make) for like, about in asked] == [0, 0, 1, 2]


def test_what_depends_on_anything_but_numbers_and_strings_is_not_kept() -> None:
    last: Last[int] = Last()
    make = numbered()
    assert [last.of(torch.zeros(1), (2.5,), make) for _ in range(2)] == [0, 1]
