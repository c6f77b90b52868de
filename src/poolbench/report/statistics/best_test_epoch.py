"""What choosing the epoch by the test set would have given: a mistake of published comparisons, shown and never made.

The largest of E test accuracies lies above that of an epoch chosen without them, since part of each is chance: the
figure is too high by construction, and for arms that swing more from epoch to epoch by more.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from poolbench.report.reading.arms import Arm, Block, Record, number

TESTED = "test_accuracy"


def best_test_epochs(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return a row for each arm whose records hold the test accuracy of every epoch, with the columns of its table."""
    return [row for block in blocks for arm in block.arms if (row := _row(arm))]


def _row(arm: Arm) -> dict[str, Any]:
    chosen, best = _accuracies(arm)
    if not chosen:
        return {}
    row: dict[str, Any] = {
        **{"backbone": arm.backbone, "dataset": arm.dataset, "variant": arm.variant, "arm_id": arm.arm_id},
        "n_seeds": len(chosen),
        "test_accuracy_mean": _mean(chosen),
        "best_test_epoch_accuracy_mean": _mean(best),
        "best_test_epoch_accuracy_std": float(np.std(list(best.values()), ddof=1)) if len(best) > 1 else None,
        "gain": _mean(best) - _mean(chosen),
    }
    if arm.reference is None or arm.is_reference:
        return row
    theirs, their_best = _accuracies(arm.reference)
    both = sorted(chosen.keys() & theirs.keys())
    if not both:
        return row
    return row | {
        "n_paired": len(both),
        "difference_mean": float(np.mean([chosen[seed] - theirs[seed] for seed in both])),
        "best_test_epoch_difference_mean": float(np.mean([best[seed] - their_best[seed] for seed in both])),
        "reference": arm.reference.variant,
    }


def _accuracies(arm: Arm) -> tuple[dict[int, float], dict[int, float]]:
    """Return by seed the accuracy of the epoch that was selected, and that of the best epoch on the test set."""
    chosen, best = {}, {}
    for seed, record in arm.finished.items():
        found = _tested(record)
        if found:
            chosen[seed], best[seed] = number(record["metrics"].get(TESTED)), max(found)
    return chosen, best


def _tested(record: Record) -> list[float]:
    """Return the test accuracy of every epoch, nothing where an epoch has none."""
    found = [number(row.get(TESTED)) for row in record.get("history") or []]
    return [] if any(map(np.isnan, found)) else found


def _mean(values: dict[int, float]) -> float:
    return float(np.mean(list(values.values())))
