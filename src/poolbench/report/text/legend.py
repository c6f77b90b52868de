"""How to read the tables: what n, the intervals, a verdict and its marks are, and what they leave out."""

import pandas as pd

from poolbench.report.statistics.verdicts import BETTER, FAILS, UNDECIDED, WORSE
from poolbench.report.text.units import written_row
from poolbench.report.text.values import FLAGGED, SMALL, given, margin_text
from poolbench.report.text.views import UNLIKE, rows_by_arm, unlike_arms
from poolbench.score import ACCURACY, LOWER

# With so few, what is called better is likely to be overstated.
FEW_SEEDS = 5


def head_lines(summary: pd.DataFrame) -> list[str]:
    """Return how to read the tables: what n, the interval and the differences are, and what they leave out."""
    seeds = summary.loc[summary["n_seeds"] > 0, "n_seeds"]
    low, high = (int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0)
    few = f"{low}" if low == high else f"{low} to {high}"
    names = dict.fromkeys(written_row(row).score.words for row in rows_by_arm(summary).values())
    words = " or ".join(names) or ACCURACY.words
    lines = [
        f"Test {words}: mean over the n = {few} seed{'s' * (high != 1)} of each variant"
        + (
            " ± half the width of its 95 % interval (Student's t over the seeds)."
            if high > 1
            else "; one seed has no interval."
        )
    ]
    if summary["difference_mean"].notna().any():
        noise = _noise(summary)
        interval = (
            f", ± half the width of the interval that decides the verdict: {noise}, and Holm's procedure corrects "
            "better and worse for the number of variants in the block. Too few runs have their own 95 % interval, one "
            "seed has none."
        )
        lines.append(
            "Δ: mean of the differences to the reference, seed by seed (equal seeds share split, order, augmentation "
            "and starting weights)" + (interval if noise else "; one seed has no interval.")
        )
        lines.append(_verdicts(summary))
        lines += _further(summary)
        lines.append(SCOPE)
    errors = summary["test_accuracy_image_se"].dropna()
    if len(errors):
        lines.append(
            "Not in the accuracies' own intervals: the test set is itself a sample, with a standard error of "
            f"√(p(1−p)/images): here up to {errors.max() * 100:.2f} points on each."
        )
    if "better" in summary and (summary["better"] == LOWER).any():
        lines.append(
            "Where a lower score is better, such as an error, a difference below 0 is the better one; its margin is a "
            "share of the reference's mean."
        )
    if unlike_arms(rows_by_arm(summary).values()):
        lines.append(
            f"{UNLIKE}: only one of the two ran by compiled kernels, or more of it, so the ratio tells the "
            "implementations apart as well as the operators: not a reason to call one faster. "
            "`pooling.downsample.implementation=torch` on both, of heads `pooling.head.implementation=torch`, sets "
            "them equal."
        )
    if any(given(value) for value in summary["training_ratio"]):
        unsettled = any(
            given(value) and not value for key in ("training", "latency") for value in summary[f"{key}_settled"]
        )
        lines.append(
            "Speed: train × (above 1: faster) and latency × of one image (below 1: faster) are medians of ratios to "
            "the reference, the two measured in turns; images/s was measured at another time, so ratios of it say less."
            + (" ~: the repeats ended before the interval was narrow." if unsettled else "")
        )
    return lines


def _noise(summary: pd.DataFrame) -> str:
    """Say what the intervals of differences count as noise, empty where there is no interval."""
    found = set(summary["difference_noise"]) - {""}
    if not found:
        return ""
    if found == {"seeds and images"}:
        return "seeds and test images both count as noise"
    if found == {"seeds"}:
        return "the seeds alone count as noise, since images' outcomes are not known"
    return "seeds count as noise, and test images where their outcomes are known"


def _verdicts(summary: pd.DataFrame) -> str:
    """Say how a verdict comes about, and what its marks mean."""
    rows = [row for row in rows_by_arm(summary).values() if given(row["margin"])]
    margin = " or ".join(dict.fromkeys(margin_text(row) for row in sorted(rows, key=lambda row: row["margin"])))
    text = (
        f"Verdict: tie where the arm is shown to lie within the margin of {margin or '0 points'} that was set "
        "beforehand (two one-sided tests, each at 5 %); better or worse where the interval excludes zero; else "
        "undecided"
    )
    if (summary["verdict"] == FAILS).any():
        text += f"; {FAILS} where more of an arm's cells failed than of its reference's: what finished was lucky"
    marks = []
    if (summary["flags"] != "").any():
        marks.append(f"{FLAGGED} more than the pooling differs")
    if summary["below_image_se"].fillna(False).any():
        marks.append(f"{SMALL} the difference is below the test set's own standard error")
    return text + "." + (f" {'; '.join(marks)}." if marks else "")


SCOPE = (
    "A verdict is about these settings on this training set: other seeds, and other test images like these. Another "
    "training set can matter as much as the seeds, unless `resample=train` draws one for each; images that come in "
    "groups count as independent unless the data names the groups; and a failure of one seed in ten stays unseen in "
    "five seeds more often than not (59 %)."
)


def _further(summary: pd.DataFrame) -> list[str]:
    """Say what more seeds would bring, and how far a difference found with few of them is to be believed."""
    lines = []
    if (summary["verdict"] == UNDECIDED).any():
        lines.append(
            "Undecided does not mean equal. The chance that a new run decides is for a number of seeds that is fixed "
            "before it starts: adding seeds until something is decided finds differences where there are none."
        )
    clear = summary.loc[summary["verdict"].isin((BETTER, WORSE)), "n_paired"]
    if len(clear) and clear.min() <= FEW_SEEDS:
        lines.append(
            "A difference that few seeds find is likely too large: it was found because it came out large. With 3 "
            "seeds arms that truly differ by a point and are called better showed 1.4 to 2 points."
        )
    return lines
