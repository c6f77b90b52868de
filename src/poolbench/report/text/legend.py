"""How to read the tables: what n, the intervals, a verdict and its marks are, and what they leave out."""

from collections.abc import Sequence

import pandas as pd

from poolbench.report.reading.arms import Block
from poolbench.report.reading.scores import of_block
from poolbench.report.statistics.verdicts import BETTER, FAILS, UNDECIDED, WORSE
from poolbench.report.text.units import written_row
from poolbench.report.text.values import FLAGGED, SMALL, given, margin_text
from poolbench.report.text.views import UNLIKE, rows_by_arm, unlike_arms
from poolbench.score import ACCURACY, LOWER, Score

# With so few, what is called better is likely to be overstated.
FEW_SEEDS = 5


def head_lines(summary: pd.DataFrame, blocks: Sequence[Block]) -> list[str]:
    """Return how to read the tables: what n, the interval and the differences are, and what they leave out.

    Args:
        summary: the table, with the scores.
        blocks: whose arms it is of.
    """
    lines = _means(summary)
    if summary["difference_mean"].notna().any():
        noise = _noise(summary)
        interval = (
            f", ± half the width of the interval that decides the verdict: {noise}, and better and worse are corrected "
            f"for the number of variants in the block (Holm). Where runs are too few{_before_looks(summary)}, ± is of "
            "the variant's own 95 % interval; one seed has none."
        )
        lines.append(
            "Δ: mean difference to the reference, seed by seed (equal seeds share split, order, augmentation "
            "and starting weights)" + (interval if noise else "; one seed has no interval.")
        )
        lines.append(_verdicts(summary))
        lines += _further(summary)
        lines.append(SCOPE)
    errors = summary["test_accuracy_image_se"].dropna()
    if len(errors):
        lines.append(
            "The ± of an accuracy leaves out that the test set is itself a sample: that adds a standard error of "
            f"√(p(1−p)/examples), here up to {errors.max() * 100:.2f} points."
        )
    lines += _of_scores([of_block(block)[1] for block in blocks])
    if unlike_arms(rows_by_arm(summary).values()):
        lines.append(
            f"{UNLIKE}: the variant and its reference were computed by different implementations (compiled kernels or "
            "torch), so the ratio is not due to the operators alone. `pooling.downsample.implementation=torch` for "
            "both (of heads `pooling.head.implementation=torch`) makes them equal."
        )
    if any(given(value) for value in summary["training_ratio"]):
        unsettled = any(
            given(value) and not value for key in ("training", "latency") for value in summary[f"{key}_settled"]
        )
        lines.append(
            "Speed: train × (above 1: faster) and latency × of one example (below 1: faster) are medians of ratios to "
            "the reference, both measured in turns; examples/s was measured at another time, so its ratios are less "
            "reliable." + (" ~: the measurement ended before the interval was narrow." if unsettled else "")
        )
    return lines


def _means(summary: pd.DataFrame) -> list[str]:
    """Say what a mean is over, as a list of one; empty where no cell finished."""
    seeds = summary.loc[summary["n_seeds"] > 0, "n_seeds"]
    if not len(seeds):
        return []
    low, high = int(seeds.min()), int(seeds.max())
    few = f"{low}" if low == high else f"{low} to {high}"
    names = dict.fromkeys(written_row(row).score.words for row in rows_by_arm(summary).values())
    words = " or ".join(names) or ACCURACY.words
    return [
        f"Test {words}: mean over the n = {few} seed{'s' * (high != 1)} of each variant"
        + (
            " ± half the width of its 95 % interval (Student's t over the seeds)."
            if high > 1
            else "; one seed has no interval."
        )
    ]


def _has_looks(summary: pd.DataFrame) -> bool:
    """Whether verdicts were reached at declared looks, or wait for one."""
    return bool(summary["look_seeds"].notna().any() or summary["next_look_seeds"].notna().any())


def _before_looks(summary: pd.DataFrame) -> str:
    return ", or before a variant's first declared look" if _has_looks(summary) else ""


def _of_scores(scores: Sequence[Score]) -> list[str]:
    """Say of which scores less is better, and of which the margin is a fraction of the reference's mean."""
    lower = [score for score in scores if score.better == LOWER]
    relative = [score for score in scores if score.margin_is_relative]
    margin = "the margin is a fraction of the reference's mean"
    lines = []
    if lower:
        both = f", and {margin}" if lower == relative else ""
        lines.append(f"Where a lower score is better, such as an error, a difference below 0 is better{both}.")
    if relative and lower != relative:
        lines.append(f"By {' and '.join(dict.fromkeys(score.words for score in relative))}, {margin}.")
    return lines


def _noise(summary: pd.DataFrame) -> str:
    """Say what the intervals of differences count as noise, empty where there is no interval."""
    found = set(summary["difference_noise"]) - {""}
    if not found:
        return ""
    if found == {"seeds and images"}:
        return "seeds and test examples both count as noise"
    if found == {"seeds"}:
        return "only the seeds count as noise, since it is not known what other test examples would add"
    return "seeds count as noise, and test examples where it is known what others would add"


def _verdicts(summary: pd.DataFrame) -> str:
    """Say how a verdict comes about, and what its marks mean."""
    rows = [row for row in rows_by_arm(summary).values() if given(row["margin"])]
    margin = " or ".join(dict.fromkeys(margin_text(row) for row in sorted(rows, key=lambda row: row["margin"])))
    level = "the level of its declared look" if _has_looks(summary) else "5 %"
    text = (
        f"Verdict: tie where the difference is shown to lie within the margin of {margin or '0 points'}, set "
        f"before the runs (two one-sided tests, each at {level}); better or worse where the interval excludes zero; "
        "else undecided"
    )
    if (summary["verdict"] == FAILS).any():
        text += (
            f"; {FAILS} where more of its cells failed than of the reference: those that finished may be the lucky ones"
        )
    marks = []
    if (summary["flags"] != "").any():
        marks.append(f"{FLAGGED} more than the pooling differs")
    if summary["below_image_se"].fillna(False).any():
        marks.append(f"{SMALL} the difference is below the test set's own standard error")
    return text + "." + (f" {'; '.join(marks)}." if marks else "")


SCOPE = (
    "A verdict holds for these settings and this training set, with other seeds and other test examples of the same "
    "kind. Another training set can change the result as much as other seeds, unless `resample=train` draws one for "
    "each seed. Examples that belong together, such as those of one patient, count as independent unless the data "
    "names the groups. With five seeds, a failure of one seed in ten is missed more often than not (59 %)."
)


def _further(summary: pd.DataFrame) -> list[str]:
    """Say what more seeds would bring, and how far a difference found with few of them is to be believed."""
    lines = []
    if (summary["verdict"] == UNDECIDED).any():
        lines.append(
            "Undecided does not mean equal. The chance that a new run decides assumes that its number of seeds is "
            "fixed before it starts: adding seeds until something is decided finds differences where there are none."
        )
    clear = summary.loc[summary["verdict"].isin((BETTER, WORSE)), "n_paired"]
    if len(clear) and clear.min() <= FEW_SEEDS:
        said = "A difference found with few seeds is likely too large: it was found because it came out large."
        if all(written_row(row).score.is_fraction for row in rows_by_arm(summary).values()):
            said += (
                " With 3 seeds, variants that are truly better by one point and are called better showed 1.1 to 4.7 "
                "points in simulations (docs/statistics.md)."
            )
        lines.append(said)
    return lines
