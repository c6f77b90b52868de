"""The polynomials and tables that elementary functions are computed by."""

import math
import struct
from collections.abc import Callable


def bits_of(number: float, double: bool) -> int:
    """Return the bits of a float32, or of a float64.

    >>> hex(bits_of(1.0, double=False))
    '0x3f800000'
    """
    return int.from_bytes(struct.pack("<d" if double else "<f", number), "little")


def _number_of(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def interpolated(function: Callable[[float], float], low: float, high: float, degree: int) -> list[float]:
    """Return the polynomial through a function's values at Chebyshev's points, the highest power's coefficient first.

    >>> [round(c, 6) for c in interpolated(lambda x: 3 * x * x - 1, 0, 2, 2)]
    [3.0, 0.0, -1.0]
    """
    middle, reach = (low + high) / 2, (high - low) / 2
    points = [middle + reach * math.cos((2 * k + 1) * math.pi / (2 * degree + 2)) for k in range(degree + 1)]
    slopes = [function(point) for point in points]
    for order in range(1, degree + 1):  # Newton's divided differences, in place
        for k in range(degree, order - 1, -1):
            slopes[k] = (slopes[k] - slopes[k - 1]) / (points[k] - points[k - order])
    terms = [slopes[-1]]
    for point, slope in zip(reversed(points[:-1]), reversed(slopes[:-1]), strict=True):
        longer = [*terms, 0.0]
        terms = [a - point * b for a, b in zip(longer, [0.0, *terms], strict=True)]
        terms[-1] += slope
    return terms


def _log2_slope(f: float) -> float:
    return math.log1p(f) / f / math.log(2) if f else 1 / math.log(2)


def _exp2_slope(r: float) -> float:
    return math.expm1(r * math.log(2)) / r if r else math.log(2)


# log2(1 + f) / f for 1 + f in [√½, √2], to float32's precision.
LOG2_TERMS = interpolated(_log2_slope, math.sqrt(0.5) - 1, math.sqrt(2) - 1, 9)
# Where two registers hold a table: its numbers.
PARTS = 32
# As many parts of [PARTED, 2 · PARTED), by the first digits of a number, and 1 / their middles, with so few digits that
# float32 holds them. 1 is one of them, so that a logarithm near 0 loses nothing. A number times that of its part is
# 1 + r, |r| ≤ 1 / 64.
PARTED = (1 + 13.5 / PARTS) / 2
INVERSES = [
    round(2**12 / (1 + part / PARTS) * (2 if part > 13 else 1)) / 2**12 for part in (*range(14, PARTS), *range(14))
]
LOG2_TERMS_OF_PARTS = interpolated(_log2_slope, -1 / 64, 1 / 64, 2)
# To 10^−6.
COARSE_LOG2_TERMS_OF_PARTS = interpolated(_log2_slope, -1 / 64, 1 / 64, 1)
# 2^0, 2^(1 / 32), … as bits, less what `exp2` adds for their places; 2^x is 2^r times the nearest, |r| ≤ 1 / 64.
ROOTS = [_number_of(bits_of(2 ** (part / PARTS), False) - (part << (23 - 5))) for part in range(PARTS)]
EXP2_TERMS_OF_PARTS = [*interpolated(_exp2_slope, -1 / 64, 1 / 64, 1), 1.0]
