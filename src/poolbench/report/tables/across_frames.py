"""The tables over data sets as frames: `across`, a row an arm, and `pairs`, a row every two arms."""

from typing import Any

import pandas as pd

from poolbench.report.statistics.across import Across, score_difference
from poolbench.report.statistics.profiles import POINT, share_within
from poolbench.report.tables.frames import frame
from poolbench.score import ACCURACY


def across_tables(over: Across) -> dict[str, pd.DataFrame]:
    """Return `across`, a row an arm, and `pairs`, a row every two arms; without rows where nothing is compared."""
    return {"across": frame("across", _arm_rows(over)), "pairs": frame("pairs", _pair_rows(over))}


def _arm_rows(over: Across) -> list[dict[str, Any]]:
    if not over.variants:
        return []
    below, near, score = over.gaps, share_within(over.gaps, POINT), over.score
    points = score is not None and score.is_fraction
    rows = []
    for column, name in enumerate(over.variants):
        groups = [str(at) for at, clique in enumerate(over.cliques, start=1) if column in clique]
        found = over.improvement.get(name)
        rows.append(
            {
                "variant": name,
                "n_datasets": len(over.datasets),
                "n_blocks": over.n_blocks,
                "test_accuracy_mean": over.accuracy[:, column].mean() if score == ACCURACY else None,
                "average_rank": over.average_ranks[column],
                "cliques": "; ".join(groups) or ("alone" if over.friedman else ""),
                "best_on": int((below[:, column] == 0).sum()),
                "gap_mean": below[:, column].mean() if score else None,
                "gap_max": below[:, column].max() if score else None,
                "within_1_point": near[column] if points else None,
                "improvement_probability": found and found.probability,
                "improvement_ci95_low": found and found.low,
                "improvement_ci95_high": found and found.high,
                "reference": over.reference,
                "score": score.name if score else "",
                "score_mean": score.sign * over.accuracy[:, column].mean() if score else None,
            }
        )
    return rows


def _pair_rows(over: Across) -> list[dict[str, Any]]:
    rows = []
    for pair in over.pairs:
        difference = score_difference(over.accuracy, pair.first, pair.second)
        mean = over.score.sign * difference.mean() if over.score else None
        signed = pair.signed_rank
        rows.append(
            {
                "variant": over.variants[pair.first],
                "other": over.variants[pair.second],
                "n_datasets": len(over.datasets),
                "wins": int((difference > 0).sum()),
                "ties": int((difference == 0).sum()),
                "losses": int((difference < 0).sum()),
                "difference_mean": mean,
                "rank_difference": over.average_ranks[pair.second] - over.average_ranks[pair.first],
                "critical_difference": over.critical_difference,
                "p_nemenyi": pair.p_nemenyi,
                "apart_nemenyi": over.apart_nemenyi(pair),
                "wilcoxon_statistic": signed and signed.statistic,
                "wilcoxon_exact": signed and signed.exact,
                "p_wilcoxon": signed and signed.p,
                "p_wilcoxon_holm": pair.p_holm,
                "apart_wilcoxon": over.apart_wilcoxon(pair),
            }
        )
    return rows
