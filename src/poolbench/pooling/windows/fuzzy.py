"""Fuzzy pooling: the mean of a window's small, medium or large values, whichever the window has most of."""

from collections.abc import Sequence

from poolbench.kernels.graph import Value, Window, maximum, minimum, reduce, sum_of, where
from poolbench.pooling.bases.arguments import is_number
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import absolute, weighted

AGGREGATIONS = ("sum", "algebraic")
# Far from where a slope of 4 / r_max or a place of r_max / 6 would leave float32.
LEAST, MOST = 1e-9, 1e9


class FuzzyPool2d(TapPool2d):
    """The mean of a window's values, weighted by how far they belong to the fuzzy set that the window has most of.

    Of r = r_max a value x belongs to the small ones by clip((r/2 − x) / (r/3)), to the medium ones by
    clip(1 − |x − r/2| / (r/4)), to the large ones by clip((x − r/2) / (r/4)), each clipped to [0, 1]. A set's score is
    the sum of the memberships π of the window's values, with `aggregation="algebraic"` 1 − Π (1 − π). Of the set with
    the largest score (of equal ones the smaller values') the result is Σ π·x / Σ π.

    So a window of values up to r/6 gives their mean, one of values above 3·r/4 too. Values need not be in [0, r]: what
    lies beyond is as small or as large as there is. The gradient flows through the memberships as well. The result
    jumps where another set takes the lead, so a network's export may be refused: another program rounds otherwise.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        r_max: on the scale of the activations, where they count as large; from 10⁻⁹ to 10⁹. 6 in the source, whose
            networks have ReLUs that end there.
        aggregation: `"sum"` or `"algebraic"`. One value up to r/6 gives the small ones the full score of the latter.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Diamantis and Iakovidis, Fuzzy Pooling, IEEE Transactions on Fuzzy Systems 29 (2021), of which the abstract
    was read. The formula is second-hand, from three public implementations by others: they agree in the medium and the
    large set, and in the choice for each window and channel in two of them; the third sums over all sets. The small
    set ends at r/6 in two, at r/4 in one. The score is the sum in one, the algebraic sum in another.

    >>> import torch
    >>> FuzzyPool2d(2)(torch.tensor([[[[0.0, 1.0], [0.5, 6.0]]]])).item()  # three small ones, one large one
    0.5
    >>> FuzzyPool2d(2)(torch.tensor([[[[0.0, 6.0], [5.0, 7.0]]]])).item()  # three large ones
    6.0
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        r_max: float = 6.0,
        aggregation: str = "sum",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        if not is_number(r_max) or not LEAST <= r_max <= MOST:
            raise ValueError(f"`r_max` must be a number from {LEAST:g} to {MOST:g}, got {r_max!r}")
        if aggregation not in AGGREGATIONS:
            raise ValueError(f"`aggregation` must be 'sum' or 'algebraic', got {aggregation!r}")
        self.r_max, self.aggregation = float(r_max), aggregation
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return the mean weighted by the memberships in the set of the largest score."""
        small, medium, large = zip(*(self.memberships(value) for value in window.values), strict=True)
        sets = [window.mask(shares, 0.0) for shares in (small, medium, large)]
        scores = [self.score(shares) for shares in sets]
        is_small = (scores[0] >= scores[1]) & (scores[0] >= scores[2])
        is_medium = scores[1] >= scores[2]
        weights = [where(is_small, a, where(is_medium, b, c)) for a, b, c in zip(*sets, strict=True)]
        # Divided first: no sum of weighted values is larger than the values.
        inverse = 1.0 / sum_of(weights)
        return weighted(window.masked_fill(0.0), [weight * inverse for weight in weights])

    def memberships(self, value: Value) -> tuple[Value, Value, Value]:
        """Return how far a value is small, medium and large; NaN is NaN."""
        above = (value - self.r_max / 2) * (4 / self.r_max)
        small = minimum(maximum(above * -0.75, 0.0), 1.0)
        return small, maximum(1.0 - absolute(above), 0.0), minimum(maximum(above, 0.0), 1.0)

    def score(self, shares: Sequence[Value]) -> Value:
        """Return the sum, or the algebraic sum, of a set's memberships."""
        if self.aggregation == "sum":
            return sum_of(shares)
        return 1.0 - reduce(lambda a, b: a * b, [1.0 - share for share in shares])

    def extra_repr(self) -> str:
        """Show the geometry and the sets."""
        return f"{super().extra_repr()}, r_max={self.r_max:g}, aggregation={self.aggregation!r}"


class FuzzyPool1d(WindowPool1d, FuzzyPool2d):
    """`FuzzyPool2d` for sequences.

    >>> import torch
    >>> FuzzyPool1d(3)(torch.tensor([[[0.0, 1.0, 6.0]]])).tolist()
    [[[0.5]]]
    """
