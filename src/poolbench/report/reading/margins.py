"""The margin of a tie, as it was set before the runs and stands in their records."""

from collections import Counter
from collections.abc import Iterable

from poolbench.report.reading.arms import Record, number

# Of records that do not say which margin was set before they were made.
MARGIN = 0.005


def margins_of(records: Iterable[Record]) -> Counter[float]:
    """Return the margins of some records, fractions of 1, each with the number of its records.

    One that names none counts as `MARGIN`, by which it has always been judged.
    """
    named = (number(record.get("margin")) for record in records)
    return Counter(margin if margin >= 0 else MARGIN for margin in named)


def margin_of(records: Iterable[Record]) -> float:
    """Return the margin that some records are judged by: where they name several, the smallest."""
    return min(margins_of(records), default=MARGIN)
