"""The columns of what was reached: accuracy, any score, its differences and verdict, further metrics."""

from poolbench.report.statistics.prospects import SEEDS
from poolbench.report.tables.column import Column
from poolbench.report.tables.key_columns import ARM_ID, KEYS, SCORE_KEYS


def _statistics(name: str, unit: str, subject: str) -> tuple[Column, ...]:
    """Return the four columns that describe the values of one quantity, one value a seed."""
    return (
        Column(f"{name}_mean", "number", unit, f"{subject}: mean m over the seeds"),
        Column(f"{name}_std", "number", unit, "sample standard deviation s over the seeds (n − 1); empty for one seed"),
        Column(f"{name}_ci95_low", "number", unit, "m − t·s/√n, t the 0.975 quantile of Student's t, n − 1 degrees"),
        Column(f"{name}_ci95_high", "number", unit, "m + t·s/√n; not truncated at 0 or 1"),
    )


# What decides a tie, and what more runs would bring.
PROSPECTS = (
    Column(
        "tie_low",
        "number",
        "fraction of 1",
        "lower end of the interval of two one-sided tests at α (0.05, of a declared look its own); they show a tie "
        "exactly if it lies within ± margin",
    ),
    Column("tie_high", "number", "fraction of 1", "upper end of that interval"),
    *(
        Column(
            f"chance_{n}_seeds",
            "number",
            "fraction of 1",
            f"probability that a new run of {n} seeds on these test examples decides an undecided arm; flat priors",
        )
        for n in SEEDS
    ),
    Column(
        "chance_any_seeds",
        "number",
        "fraction of 1",
        "the same with unlimited seeds; if it is low, more test examples are needed",
    ),
)

ACCURACY = (
    *KEYS,
    Column("n_seeds", "count", "seeds", "finished cells (status `ok`) with a test accuracy: the n of its statistics"),
    *_statistics("test_accuracy", "fraction of 1", "top-1 accuracy on the test set"),
    *_statistics(
        "val_accuracy", "fraction of 1", "top-1 accuracy on the validation set, by which weights are selected"
    ),
    *_statistics("test_loss", "nats per example", "cross-entropy on the test set"),
    *_statistics("ece", "fraction of 1", "expected calibration error on the test set"),
    Column(
        "n_paired", "count", "seeds", "seeds that both this arm and its reference finished; empty for the reference"
    ),
    Column(
        "difference_mean",
        "number",
        "fraction of 1",
        "mean over the paired seeds of test_accuracy minus the reference's",
    ),
    Column(
        "difference_std", "number", "fraction of 1", "sample standard deviation of these differences (n_paired − 1)"
    ),
    Column(
        "difference_noise",
        "text",
        "",
        "the noise that the interval covers: `seeds and images`, or `seeds` if examples' outcomes are missing",
    ),
    Column(
        "difference_seed_variance",
        "number",
        "fraction of 1, squared",
        "variance of difference_mean due to the seeds: s²/n",
    ),
    Column(
        "difference_image_variance",
        "number",
        "fraction of 1, squared",
        "variance of difference_mean due to the test examples, common to all seeds; empty if not estimated",
    ),
    Column(
        "difference_se",
        "number",
        "fraction of 1",
        "standard error of difference_mean: square root of the sum of the two",
    ),
    Column("difference_ci95_low", "number", "fraction of 1", "lower end of its 95 % interval, uncorrected"),
    Column("difference_ci95_high", "number", "fraction of 1", "upper end of its 95 % interval, uncorrected"),
    Column("difference_p", "number", "1", "two-sided p-value of difference_mean = 0, uncorrected"),
    Column(
        "difference_p_seeds",
        "number",
        "1",
        "p-value of the paired t-test over the seeds alone, for these test examples",
    ),
    Column(
        "difference_p_holm",
        "number",
        "1",
        "difference_p after Holm's correction for the arms of the block; at a declared look for those not yet better "
        "or worse",
    ),
    Column(
        "difference_holm_level",
        "number",
        "1",
        "confidence level at which Holm's procedure decides this arm: 1 − α/j, α = 0.05 or that of the declared look",
    ),
    Column(
        "difference_holm_low",
        "number",
        "fraction of 1",
        "lower end of the interval at that level; it excludes 0 exactly if difference_p_holm is below α",
    ),
    Column("difference_holm_high", "number", "fraction of 1", "upper end of that interval"),
    Column(
        "margin",
        "number",
        "fraction of 1",
        "differences up to this are a tie: `margin=` when the cells ran; the smallest one if records differ (a record "
        "without one counts as 0.005)",
    ),
    Column(
        "verdict",
        "text",
        "",
        "`reference`, `identical`, `too few runs`, `fails more often`, `tie`, `better`, `worse`, `undecided`, over "
        "blocks also `mixed`; empty if there is nothing to compare with; see docs/statistics.md",
    ),
    Column(
        "seeds_to_decide",
        "count",
        "seeds",
        "additional seeds that would decide an undecided arm if everything else stayed as observed; empty: over 1,000",
    ),
    Column(
        "look_seeds",
        "count",
        "seeds",
        "seeds of the declared look at which the verdict was reached; empty if none was declared",
    ),
    Column("look_alpha", "number", "1", "the level of that look, before Holm's correction"),
    Column("next_look_seeds", "count", "seeds", "seeds of the next look for an undecided arm; empty if there is none"),
    Column(
        "below_image_se",
        "flag",
        "",
        "whether the difference is smaller than the test set's own standard error, test_accuracy_image_se",
    ),
    Column(
        "flags",
        "text",
        "",
        "differences between this arm and its reference beside the pooling, joined by `; `: geometry, head, recipe, "
        "failed cells, seeds, code revision, uncommitted changes",
    ),
    Column(
        "correlation_with_reference",
        "number",
        "1",
        "Pearson correlation of the two arms' test_accuracy over the paired seeds; "
        "empty with fewer than 3, or if one of them does not vary",
    ),
    Column("identical_to", "text", "", "variants of the block with the same network and recipe, joined by `; `"),
    Column(
        "geometry",
        "text",
        "",
        "`equal`: the same kernel, stride, padding and ceil_mode as the reference at every site (without a reference: "
        "as the network's own); `own`: different",
    ),
    Column("n_failed", "count", "cells", "cells that ended in an error"),
    Column("n_diverged", "count", "cells", "cells whose loss became NaN or infinite"),
    Column("n_unsupported", "count", "cells", "cells that cannot be built: their parts do not fit together"),
    Column("n_interrupted", "count", "cells", "cells that were stopped before the end"),
    Column("test_images", "count", "examples", "size n of the test set"),
    Column(
        "test_accuracy_image_se",
        "number",
        "fraction of 1",
        "standard error due to the finite test set: mean over the seeds of √(p(1−p)/n), p the test accuracy",
    ),
    Column("reference", "text", "", "the variant that the arm is compared with"),
    ARM_ID,
    *PROSPECTS,
    Column(
        "train_accuracy_mean",
        "number",
        "fraction of 1",
        "top-1 accuracy on the training examples, mean over the seeds; with the selected weights, without augmentation "
        "(records of earlier versions: the running accuracy of the selected epoch)",
    ),
    Column(
        "train_test_gap_mean", "number", "fraction of 1", "mean over the seeds of train_accuracy minus test_accuracy"
    ),
    Column(
        "train_test_gap_difference_mean",
        "number",
        "fraction of 1",
        "mean over the paired seeds of this gap minus the reference's; below 0: it overfits less",
    ),
    Column(
        "train_test_gap_difference_ci95_low",
        "number",
        "fraction of 1",
        "lower end of its 95 % interval, Student's t over the paired seeds; uncorrected, for these examples",
    ),
    Column("train_test_gap_difference_ci95_high", "number", "fraction of 1", "upper end of that interval"),
)

# Accuracies are fractions; other scores have units of their own, and the same columns.
OF_SCORE = {"fraction of 1": "of the score", "fraction of 1, squared": "of the score, squared"}


def of_any_score(column: Column) -> Column:
    """Return a column of comparison as it is of any score."""
    meaning = column.meaning.replace("two arms' test_accuracy", "two arms' test scores")
    meaning = meaning.replace("of test_accuracy minus", "of the test score minus")
    if column.name == "margin":
        meaning = (
            "differences up to this are a tie: `margin=` when the cells ran, in hundredths of the score's unit or in "
            "per cent of the reference's mean, as the score says"
        )
    unit = column.unit if column.name.startswith("chance_") else OF_SCORE.get(column.unit, column.unit)
    return Column(column.name, column.kind, unit, meaning)


COMPARISON = tuple(
    column
    for column in ACCURACY
    if column.name.startswith("difference_")
    or column.name in ("n_paired", "margin", "verdict", "seeds_to_decide", "flags")
    or "look_" in column.name
)

SCORES = (
    *KEYS,
    *SCORE_KEYS,
    Column("n_seeds", "count", "seeds", "finished cells (status `ok`) with a test score: the n of its statistics"),
    *_statistics("score", "of the score", "primary score on the test set"),
    *map(of_any_score, COMPARISON),
    Column("test_examples", "count", "examples", "size of the test set"),
    Column("reference", "text", "", "the variant that the arm is compared with"),
    ARM_ID,
    *map(of_any_score, PROSPECTS),
)

NETWORKS = tuple(
    Column("reference", "text", "", "the network that the arm is compared with") if c.name == "reference" else c
    for c in SCORES
)
METRICS = (
    *KEYS,
    Column("task", "text", "", "kind of target"),
    Column("metric", "text", "", "a metric of the test set other than the score, by its name in the records"),
    Column("n_seeds", "count", "seeds", "finished cells that have it"),
    *_statistics("value", "of the metric", "the metric"),
    ARM_ID,
)

STRATA = (
    *KEYS,
    *SCORE_KEYS,
    Column("stratum", "text", "", "a stratum of the test set, such as a speaker or a motif's position"),
    Column("test_examples", "count", "examples", "test examples in it"),
    Column("n_seeds", "count", "seeds", "finished cells whose outcomes are known"),
    *_statistics("score", "of the score", "mean score of these examples"),
    ARM_ID,
)
