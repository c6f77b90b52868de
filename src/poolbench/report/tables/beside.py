"""Arms compared by the scores that stand beside the primary one: the same cells, the same statistics."""

from collections.abc import Sequence

import pandas as pd

from poolbench.declared import Declared
from poolbench.report.reading.arms import Record, group
from poolbench.report.reading.outcomes import OutcomeFiles
from poolbench.report.reading.scores import judged_by
from poolbench.report.statistics.comparison import compare_blocks
from poolbench.report.tables.frames import scores_table
from poolbench.score import beside_of


def beside(records: Sequence[Record], outcomes: OutcomeFiles, declared: Declared | None = None) -> pd.DataFrame:
    """Return the table `beside`, a row for each arm and further score; empty where no record names one.

    For each score the arms of a block are a family of their own, and the margin is the primary score's. Cells were
    trained and their epochs chosen by the primary score.

    Args:
        records: of all cells.
        outcomes: of the folder.
        declared: the looks by which arms are judged; None: by all seeds at once.
    """
    names = dict.fromkeys(score.name for record in records for score in beside_of(record))
    made = []
    for name in names:
        judged = [judged_by(record, score) for record in records for score in beside_of(record) if score.name == name]
        blocks, _ = group(judged)
        made.append(scores_table("beside", blocks, compare_blocks(blocks, outcomes.by(name), declared)))
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()
