"""How a score and its differences are written: fractions of 1 in per cent and points, others in their own unit."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from poolbench.score import ACCURACY, FRACTION, HIGHER, LOWER, PER_CENT, POINTS, Score

# Of the significant digits that a score without a scale of its own is shown with.
DIGITS = 3


@dataclass(frozen=True)
class Written:
    """How one arm's score is written.

    Args:
        score: that it is judged by.
        scale: what a value is multiplied by.
        decimals: digits behind the point.
    """

    score: Score = ACCURACY
    scale: float = 100.0
    decimals: int = 2

    @property
    def axis(self) -> str:
        """What stands at an axis or in a heading: the score on the test set with its unit."""
        return f"test {self.quantity}"

    @property
    def quantity(self) -> str:
        """The score with its unit.

        >>> Written().quantity
        'accuracy, %'
        """
        unit = "%" if self.score.is_fraction else self.score.unit
        return f"{self.score.words}, {unit}" if unit else self.score.words

    @property
    def difference_unit(self) -> str:
        """What a difference is counted in: `points`, or the score's unit; "" where that has none."""
        return "points" if self.score.is_fraction else self.score.unit

    @property
    def direction(self) -> str:
        """Which way is better, where that is not up; else empty."""
        return " (lower is better)" if self.score.better == LOWER else ""


def written(score: Score, size: float = math.nan) -> Written:
    """Return how a score is written; one without a scale of its own with three digits of a value of this size.

    >>> written(Score("mean_absolute_error", "degrees", "lower", "per cent"), 1.234).decimals
    2
    """
    if score.is_fraction:
        return Written(score)
    if not math.isfinite(size) or not size:
        return Written(score, 1.0, DIGITS)
    return Written(score, 1.0, min(max(DIGITS - 1 - math.floor(math.log10(abs(size))), 0), 9))


def told_apart(several: Iterable[Written]) -> dict[str, str]:
    """Return how scores are named beside each other, by their quantity: with the unit where names are equal.

    >>> told_apart([written(Score("error", unit, "lower", "per cent")) for unit in ("mm", "years")])
    {'error, mm': 'error, mm', 'error, years': 'error, years'}
    >>> told_apart([Written(), written(Score("error", "mm", "lower", "per cent"))])
    {'accuracy, %': 'accuracy', 'error, mm': 'error'}
    """
    named = {one.quantity: one.score.words for one in several}
    taken = Counter(named.values())
    return {quantity: words if taken[words] == 1 else quantity for quantity, words in named.items()}


def of_score(row: Mapping[str, Any], part: str) -> Any:
    """Return a part (`mean`, `ci95_low`, …) of a row's score; a row that names none has an accuracy's."""
    return row[f"score_{part}"] if f"score_{part}" in row else row.get(f"test_accuracy_{part}")


def written_row(row: Mapping[str, Any]) -> Written:
    """Return how the score of a table's row is written; a row that names none is of an accuracy."""
    unit = row.get("unit")
    if unit is None or unit == FRACTION or row.get("score") in (None, "", ACCURACY.name):
        name = str(row.get("score") or ACCURACY.name)
        return Written(Score(name, FRACTION, str(row.get("better") or HIGHER), POINTS))
    score = Score(str(row["score"]), str(unit), str(row["better"]), PER_CENT)
    sizes = (row.get(key) for key in ("score_mean", "difference_mean"))
    size = next((float(value) for value in sizes if isinstance(value, int | float) and math.isfinite(value)), math.nan)
    return written(score, size)
