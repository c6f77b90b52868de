"""Binomial weights of a line of values, and what becomes of them where the line leaves the map."""

from collections.abc import Sequence
from math import comb

from poolbench.kernels.graph import Value, where


def binomial(size: int) -> list[float]:
    """Return the binomial coefficients of a row of Pascal's triangle, divided by their sum.

    >>> binomial(1), binomial(3)
    ([1.0], [0.25, 0.5, 0.25])
    """
    return [comb(size - 1, at) / 2 ** (size - 1) for at in range(size)]


def mirrored(inside: Sequence[Value]) -> list[Value]:
    """Return the weight of each value of a line: the binomial's, and those of the values of which it is the image.

    Args:
        inside: whether each value lies in the map; the middle one does, and not those at both ends are outside.
    """
    weights = binomial(len(inside))
    found = [inside[0].graph.const(weight) for weight in weights]
    last = len(weights) - 1
    edges = [
        *((at, inside[at] & ~inside[at - 1], range(at + 1, 2 * at + 1)) for at in range(1, last // 2 + 1)),
        *((at, inside[at] & ~inside[at + 1], range(2 * at - last, at)) for at in range(last - last // 2, last)),
    ]
    for edge, is_edge, images in edges:
        for at in images:
            found[at] = found[at] + where(is_edge, weights[2 * edge - at], 0.0)
    return found


def is_mirrored_within(taps: int, stride: int, size: int, first: int, count: int) -> bool:
    """Whether the mirror image of all that lies beyond a line's ends lies in the same filter: what `mirrored` needs.

    Args:
        taps: length of the filter.
        stride: steps between filters.
        size: of the line.
        first: place in it where the first filter begins.
        count: of filters.

    >>> is_mirrored_within(3, 2, 8, -1, 4), is_mirrored_within(3, 2, 8, -2, 4)
    (True, False)
    """
    most = (taps - 1) // 2
    return size >= taps and -most <= first <= 0 and (count - 1) * stride + first + taps - size <= most
