"""Accuracy by stratum of the test set, where a dataset names strata: the place of a motif, the speaker of a sound."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from poolbench.report.reading.arms import Arm, Block, section
from poolbench.report.reading.outcomes import OutcomeFiles, UnknownOutcomesError
from poolbench.report.statistics.estimates import estimate
from poolbench.report.tables.frames import frame


def strata(blocks: Sequence[Block], outcomes: OutcomeFiles) -> pd.DataFrame:
    """Return the table `strata`, a row for each arm and stratum; empty where no dataset names any.

    Args:
        blocks: with their arms.
        outcomes: of the folder; cells whose outcomes are not known are left out.
    """
    return frame("strata", [row for block in blocks for arm in block.arms for row in _rows(arm, outcomes)])


def _rows(arm: Arm, outcomes: OutcomeFiles) -> Iterator[dict[str, Any]]:
    names: list[str] = []
    accuracies, counts = [], np.zeros(0, np.int64)
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
            accuracies.append(np.bincount(found.strata, weights=found.right, minlength=len(names)) / counts)
    if not accuracies or len(counts) != len(names):
        return
    estimated = estimate(np.stack(accuracies, 1))
    for place, name in enumerate(names):
        yield {
            "backbone": arm.backbone,
            "dataset": arm.dataset,
            "variant": arm.variant,
            "stratum": name,
            "test_images": counts[place],
            "n_seeds": estimated.n[place],
            "test_accuracy_mean": estimated.mean[place],
            "test_accuracy_std": estimated.std[place],
            "test_accuracy_ci95_low": estimated.ci95_low[place],
            "test_accuracy_ci95_high": estimated.ci95_high[place],
            "arm_id": arm.arm_id,
        }
