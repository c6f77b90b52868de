"""The values of a window by rank."""

import math
from collections.abc import Sequence

from poolbench.kernels.graph import Value, Window, sum_of, where, with_gradient_of


def largest(window: Window, k: int) -> list[Value]:
    """Return the k largest values in falling order, −∞ where there are fewer; equal ones in row-major order.

    The last is put in first, and each goes before its equals. A −∞ of the map goes before what is outside: that makes
    no other value, so the derivative alone asks for it.
    """
    top: list[Value] = []
    places: list[Value] = []
    for value, asked in zip(
        reversed(window.masked_fill(-math.inf)), reversed(window.masked_fill(math.nan)), strict=True
    ):
        low = at = value
        for rank, kept in enumerate(top):
            # Outside the map nothing goes before anything, and everything before it.
            before = asked >= kept
            places[rank], at = where(before, at, places[rank]), where(before, places[rank], at)
            # As processors have the larger and the smaller of two.
            stays = kept > low
            top[rank], low = where(stays, kept, low), where(stays, low, kept)
        if len(top) < k:
            top.append(low)
            places.append(at)
    return (
        top
        if window.valid is None
        else [with_gradient_of(value, place) for value, place in zip(top, places, strict=True)]
    )


def existing(numbers: Sequence[Value], window: Window) -> list[Value]:
    """Return numbers by rank, 0 for ranks that a window at the border does not have."""
    if window.valid is None:
        return list(numbers)
    return [where(window.count > float(rank), number, 0.0) for rank, number in enumerate(numbers)]


def median(window: Window, ranked: Sequence[Value]) -> Value:
    """Return the median, of an even number of values the mean of the two in the middle; blind to NaN.

    Args:
        window: of n values.
        ranked: at least the ⌊n/2⌋ + 1 largest values in falling order.
    """
    upper = ranked[: window.size // 2 + 1]
    if window.valid is None:
        return upper[-1] if window.size % 2 else (upper[-1] + upper[-2]) * 0.5
    # Ranks from 0: the middle of c values lies at (c − 1) / 2, on a rank or half-way between two.
    at = (window.count - 1.0) * 0.5
    chosen = [(at > rank - 0.75) & (at < rank + 0.75) for rank in range(len(upper))]
    there = [where(yes, value, 0.0) for yes, value in zip(chosen, upper, strict=True)]
    return sum_of(there) / sum_of([where(yes, 1.0, 0.0) for yes in chosen])


# Pairs to compare, of which the larger is to stand first: the fewest for 9 values, as 3×3 windows have. Floyd's 25 of
# 1964 are the fewest that do (Codish et al., Twenty-Five Comparators is Optimal when Sorting Nine Inputs, 2014).
NINE = (
    (0, 3), (1, 7), (2, 5), (4, 8), (0, 7), (2, 4), (3, 8), (5, 6), (0, 2), (1, 3), (4, 5), (7, 8), (1, 4),
    (3, 6), (5, 7), (0, 1), (2, 4), (3, 5), (6, 8), (2, 3), (4, 5), (6, 7), (1, 2), (3, 4), (5, 6),
)  # fmt: skip


def sorting_network(count: int) -> list[tuple[int, int]]:
    """Return pairs to compare, one after the other, until `count` values are sorted.

    By Batcher's odd-even merge sort, but for 9 values: see `NINE`.

    Source: Batcher, Sorting networks and their applications (1968).

    >>> sorting_network(4)
    [(0, 1), (2, 3), (0, 2), (1, 3), (1, 2)]
    """
    if count == 9:
        return list(NINE)
    pairs, width = [], 1
    while width < count:
        step = width
        while step:
            for start in range(step % width, count - step, 2 * step):
                for at in range(start, min(start + step, count - step)):
                    if at // (2 * width) == (at + step) // (2 * width):
                        pairs.append((at, at + step))
            step //= 2
        width *= 2
    return pairs


def sorted_descending(values: Sequence[Value]) -> list[Value]:
    """Return values in falling order by a network of comparisons; which of equal ones comes first is left open.

    Fewer comparisons than `largest` takes for all ranks.
    """
    result = list(values)
    for first, second in sorting_network(len(values)):
        one, other = result[first], result[second]
        above = other > one
        result[first], result[second] = where(above, other, one), where(above, one, other)
    return result
