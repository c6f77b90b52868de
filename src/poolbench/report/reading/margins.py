"""The margin of a tie, as it was set before the runs and stands in their records."""

from collections import Counter
from collections.abc import Iterable

from poolbench.report.reading.arms import Record, number
from poolbench.report.reading.scores import mean_of
from poolbench.score import task_of

# Of records that do not say which margin was set before they were made.
MARGIN = 0.005


def margins_of(records: Iterable[Record]) -> Counter[float]:
    """Return the margins of some records, fractions of 1, each with the number of its records.

    One that names none counts as `MARGIN`, by which it has always been judged.
    """
    named = (number(record.get("margin")) for record in records)
    return Counter(margin if margin >= 0 else MARGIN for margin in named)


def margin_beside(records: Iterable[Record], references: Iterable[Record]) -> float:
    """Return the margin in the unit of the score: of one that is a share of the reference's mean, that share.

    Args:
        records: that are judged.
        references: of the cells that they are compared with.
    """
    records = list(records)
    margin = margin_of(records)
    if records and task_of(records[0])[1].margin_is_relative:
        return margin * abs(mean_of(references))
    return margin


def margin_of(records: Iterable[Record]) -> float:
    """Return the margin that some records are judged by: where they name several, the smallest."""
    return min(margins_of(records), default=MARGIN)
