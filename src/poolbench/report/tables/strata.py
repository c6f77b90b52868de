"""The score by stratum of the test set, where a dataset names strata: the place of a motif, the speaker of a sound."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from poolbench.report.reading.arms import Arm, Block, section
from poolbench.report.reading.outcomes import OutcomeFiles, UnknownOutcomesError
from poolbench.report.statistics.estimates import estimate
from poolbench.report.tables.frames import frame
from poolbench.score import task_of


def strata(blocks: Sequence[Block], outcomes: OutcomeFiles) -> pd.DataFrame:
    """Return the table `strata`, a row for each arm and stratum; empty where no dataset names any.

    Args:
        blocks: with their arms.
        outcomes: of the folder; cells whose outcomes are not known are left out.
    """
    return frame("strata", [row for block in blocks for arm in block.arms for row in _rows(arm, outcomes)])


def _rows(arm: Arm, outcomes: OutcomeFiles) -> Iterator[dict[str, Any]]:
    names: list[str] = []
    scores, counts = [], np.zeros(0, np.int64)
    for record in arm.finished.values():
        try:
            found = outcomes.of(record)
        except UnknownOutcomesError:
            continue
        if found.strata is None:
            continue
        names = [str(name) for name in section(record, "data").get("strata") or ()]
        counts = np.bincount(found.strata, minlength=len(names))
        with np.errstate(invalid="ignore"):
            scores.append(np.bincount(found.strata, weights=found.score, minlength=len(names)) / counts)
    if not scores or len(counts) != len(names):
        return
    task, score = task_of(next(iter(arm.finished.values())))
    estimated = estimate(np.stack(scores, 1))
    for place, name in enumerate(names):
        yield {
            "backbone": arm.backbone,
            "dataset": arm.dataset,
            "variant": arm.variant,
            "task": task,
            "score": score.name,
            "unit": score.unit,
            "better": score.better,
            "stratum": name,
            "test_examples": counts[place],
            "n_seeds": estimated.n[place],
            "score_mean": estimated.mean[place],
            "score_std": estimated.std[place],
            "score_ci95_low": estimated.ci95_low[place],
            "score_ci95_high": estimated.ci95_high[place],
            "arm_id": arm.arm_id,
        }
