"""What choosing the epoch by the test set would have given: a mistake of published comparisons, shown and never made.

The best of E test scores lies beyond that of an epoch chosen without them, since part of each is chance: the figure is
too good by construction, and for arms that swing more from epoch to epoch by more.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from poolbench.record import epoch_rows
from poolbench.report.reading.arms import Arm, Block, Record, number
from poolbench.report.reading.scores import of_arm
from poolbench.score import ACCURACY, Score


def best_test_epochs(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return a row for each arm whose records hold the test score of every epoch, with the columns of its table."""
    return [row for block in blocks for arm in block.arms if (row := _row(arm))]


def _row(arm: Arm) -> dict[str, Any]:
    task, score = of_arm(arm)
    chosen, best = _scores(arm, score)
    if not chosen:
        return {}
    row: dict[str, Any] = {
        **{"backbone": arm.backbone, "dataset": arm.dataset, "variant": arm.variant, "arm_id": arm.arm_id},
        **{"task": task, "score": score.name, "unit": score.unit, "better": score.better},
        "n_seeds": len(chosen),
        "score_mean": _mean(chosen),
        "best_test_epoch_score_mean": _mean(best),
        "best_test_epoch_score_std": float(np.std(list(best.values()), ddof=1)) if len(best) > 1 else None,
        "gain": _mean(best) - _mean(chosen),
    }
    if score == ACCURACY:
        row["test_accuracy_mean"] = row["score_mean"]
        row |= {f"best_test_epoch_accuracy_{part}": row[f"best_test_epoch_score_{part}"] for part in ("mean", "std")}
    if arm.reference is None or arm.is_reference:
        return row
    theirs, their_best = _scores(arm.reference, score)
    both = sorted(chosen.keys() & theirs.keys())
    if not both:
        return row
    return row | {
        "n_paired": len(both),
        "difference_mean": float(np.mean([chosen[seed] - theirs[seed] for seed in both])),
        "best_test_epoch_difference_mean": float(np.mean([best[seed] - their_best[seed] for seed in both])),
        "reference": arm.reference.variant,
    }


def _scores(arm: Arm, score: Score) -> tuple[dict[int, float], dict[int, float]]:
    """Return by seed the score of the epoch that was selected, and that of the best epoch on the test set."""
    chosen, best = {}, {}
    for seed, record in arm.finished.items():
        found = _tested(record, score)
        if found:
            chosen[seed] = number(record["metrics"].get(f"test_{score.name}"))
            best[seed] = max(found) if score.sign > 0 else min(found)
    return chosen, best


def _tested(record: Record, score: Score) -> list[float]:
    """Return the test score of every epoch, nothing where an epoch has none."""
    found = [number(row.get(f"test_{score.name}")) for row in epoch_rows(record)]
    return [] if any(map(np.isnan, found)) else found


def _mean(values: dict[int, float]) -> float:
    return float(np.mean(list(values.values())))
