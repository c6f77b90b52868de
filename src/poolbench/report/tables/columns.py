"""The columns of every table: name, kind, unit and meaning, in the order in which they are written.

This is the one definition: the tables are built in this order, `docs/tables.md` shows it, and a test holds the two
together.
"""

from poolbench.report.statistics.prospects import SEEDS
from poolbench.report.tables.across_columns import ACROSS, PAIRS
from poolbench.report.tables.column import Column
from poolbench.report.tables.tuned_columns import OF_TUNED


def _statistics(name: str, unit: str, subject: str) -> tuple[Column, ...]:
    """Return the four columns that describe the values of one quantity, one value a seed."""
    return (
        Column(f"{name}_mean", "number", unit, f"{subject}: mean m over the seeds"),
        Column(f"{name}_std", "number", unit, "sample standard deviation s over the seeds (n − 1); empty for one seed"),
        Column(f"{name}_ci95_low", "number", unit, "m − t·s/√n, t the 0.975 quantile of Student's t, n − 1 degrees"),
        Column(f"{name}_ci95_high", "number", unit, "m + t·s/√n; not cut at 0 or 1"),
    )


def _speed(name: str, ratio: str, unit: str, subject: str, better: str) -> tuple[Column, ...]:
    """Return the six columns of one measured speed: the figure of this machine, and the ratio to the reference."""
    return (
        Column(name, "number", unit, f"{subject}: median of the repeats on this machine"),
        Column(f"{name}_ci95_low", "number", unit, "lower end of the 95 % interval of the median"),
        Column(f"{name}_ci95_high", "number", unit, "upper end of the 95 % interval of the median"),
        Column(ratio, "number", "1", f"arm / reference, measured in turns in one process; {better}"),
        Column(f"{ratio}_ci95_low", "number", "1", "lower end of the 95 % interval of the ratio; empty: the reference"),
        Column(f"{ratio}_ci95_high", "number", "1", "upper end of the 95 % interval of the ratio"),
    )


KEYS = (
    Column("backbone", "text", "", "the network; with the settings that differ where two blocks share the name"),
    Column("dataset", "text", "", "the data; with the settings that differ where two blocks share the name"),
    Column(
        "variant", "text", "", "the pooling; with the settings that differ where two arms of a block share the name"
    ),
)
ARM_ID = Column("arm_id", "text", "", "digest of all that determines the result but the seed; joins tables and records")

# What decides a tie, and what more runs would bring.
PROSPECTS = (
    Column(
        "tie_low",
        "number",
        "fraction of 1",
        "lower end of the interval of two one-sided tests at α: within ± margin exactly where they show a tie",
    ),
    Column("tie_high", "number", "fraction of 1", "upper end of that interval"),
    *(
        Column(
            f"chance_{n}_seeds",
            "number",
            "fraction of 1",
            f"that a fresh run of {n} seeds on these test images decides an undecided arm; predictive, flat priors",
        )
        for n in SEEDS
    ),
    Column(
        "chance_any_seeds",
        "number",
        "fraction of 1",
        "the same with any number of seeds: what is left is for more test images to decide",
    ),
)

ACCURACY = (
    *KEYS,
    Column("n_seeds", "count", "seeds", "finished cells (status `ok`) with a test accuracy: the n of its statistics"),
    *_statistics("test_accuracy", "fraction of 1", "top-1 accuracy on the test set"),
    *_statistics("val_accuracy", "fraction of 1", "top-1 accuracy on the validation part, by which weights are chosen"),
    *_statistics("test_loss", "nats an image", "cross-entropy on the test set"),
    *_statistics("ece", "fraction of 1", "expected calibration error on the test set"),
    Column(
        "n_paired", "count", "seeds", "seeds that both this arm and its reference finished; empty for the reference"
    ),
    Column(
        "difference_mean", "number", "fraction of 1", "mean over the paired seeds of test_accuracy − the reference's"
    ),
    Column(
        "difference_std", "number", "fraction of 1", "sample standard deviation of these differences (n_paired − 1)"
    ),
    Column(
        "difference_noise",
        "text",
        "",
        "what the interval counts as noise: `seeds and images`, or `seeds` alone where images' outcomes are missing",
    ),
    Column("difference_seed_variance", "number", "fraction of 1, squared", "of difference_mean, from the seeds: s²/n"),
    Column(
        "difference_image_variance",
        "number",
        "fraction of 1, squared",
        "of difference_mean, from the test images that all seeds share; empty where they do not count",
    ),
    Column("difference_se", "number", "fraction of 1", "standard error of difference_mean: root of the two together"),
    Column("difference_ci95_low", "number", "fraction of 1", "lower end of its 95 % interval, this arm by itself"),
    Column("difference_ci95_high", "number", "fraction of 1", "upper end of its 95 % interval, this arm by itself"),
    Column("difference_p", "number", "1", "two-sided p of difference_mean = 0, this arm by itself"),
    Column("difference_p_seeds", "number", "1", "the same of the paired t over the seeds alone, for these test images"),
    Column("difference_p_holm", "number", "1", "difference_p after Holm's correction for the arms of the block"),
    Column(
        "difference_holm_level", "number", "1", "confidence level at which Holm's procedure decides this arm: 1 − α/j"
    ),
    Column(
        "difference_holm_low",
        "number",
        "fraction of 1",
        "lower end of the interval at that level; it excludes 0 exactly where difference_p_holm is below 0.05",
    ),
    Column("difference_holm_high", "number", "fraction of 1", "upper end of that interval"),
    Column(
        "margin",
        "number",
        "fraction of 1",
        "differences up to this are a tie, as `margin=` said when the cells ran; the smallest where records differ, "
        "one that names none counting as 0.005",
    ),
    Column(
        "verdict",
        "text",
        "",
        "`reference`, `identical`, `too few runs`, `fails more often`, `tie`, `better`, `worse`, `undecided`, over "
        "blocks also `mixed`; empty: nothing to compare with; see docs/statistics.md",
    ),
    Column(
        "seeds_to_decide",
        "count",
        "seeds",
        "further seeds that would decide an undecided arm, were all else as observed; empty: not even 1,000",
    ),
    Column(
        "look_seeds", "count", "seeds", "seeds of the declared look that the verdict is of; empty: none was declared"
    ),
    Column("look_alpha", "number", "1", "the level of that look, before Holm's correction"),
    Column(
        "next_look_seeds", "count", "seeds", "seeds of the next look that an undecided arm waits for; empty: no further"
    ),
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
        "what is unequal between this arm and its reference, joined by `; `: geometry, head, recipe, failed cells, "
        "seeds, code revision, uncommitted changes",
    ),
    Column(
        "correlation_with_reference",
        "number",
        "1",
        "Pearson correlation of the two arms' test_accuracy over the paired seeds; "
        "empty with fewer than 3 or where one of them never varies",
    ),
    Column("identical_to", "text", "", "variants of the block, joined by `; `, that are the same network and recipe"),
    Column("geometry", "text", "", "`equal`: the reference's kernel, stride and padding at every site; `own`: not"),
    Column("n_failed", "count", "cells", "cells that ended in an error"),
    Column("n_diverged", "count", "cells", "cells whose training left the finite numbers"),
    Column("n_unsupported", "count", "cells", "cells that cannot be: the parts do not fit together"),
    Column("n_interrupted", "count", "cells", "cells that were stopped before their end"),
    Column("test_images", "count", "images", "size n of the test set"),
    Column(
        "test_accuracy_image_se",
        "number",
        "fraction of 1",
        "standard error from the finite test set: mean over the seeds of √(p(1−p)/n), p the test accuracy",
    ),
    Column("reference", "text", "", "the variant that the differences are taken to"),
    ARM_ID,
    *PROSPECTS,
    Column(
        "train_accuracy_mean",
        "number",
        "fraction of 1",
        "top-1 accuracy on the training images, mean over the seeds: of the selected weights without augmentation; "
        "records of earlier versions have the selected epoch's running one",
    ),
    Column("train_test_gap_mean", "number", "fraction of 1", "mean over the seeds of train_accuracy − test_accuracy"),
    Column(
        "train_test_gap_difference_mean",
        "number",
        "fraction of 1",
        "mean over the paired seeds of this gap − the reference's; below 0: it overfits less",
    ),
    Column(
        "train_test_gap_difference_ci95_low",
        "number",
        "fraction of 1",
        "lower end of its 95 % interval, Student's t over the paired seeds; this arm by itself, these images",
    ),
    Column("train_test_gap_difference_ci95_high", "number", "fraction of 1", "upper end of that interval"),
)

SCORE_KEYS = (
    Column("task", "text", "", "what a target is: `classification`, `segmentation`, `regression`, or a custom task"),
    Column("score", "text", "", "what examples are judged by: the primary score is the mean of their own"),
    Column("unit", "text", "", "of the score: `fraction of 1`, or what an error is measured in"),
    Column("better", "text", "", "`higher` or `lower`: which score is the better one"),
)
# Accuracies are fractions; other scores have units of their own, and the same columns.
OF_SCORE = {"fraction of 1": "of the score", "fraction of 1, squared": "of the score, squared"}
SCORED = ("n_paired", "margin", "verdict", "seeds_to_decide", "below_image_se", "flags", "reference")


def _of_score(column: Column) -> Column:
    """Return a column of comparison as it is of any score."""
    meaning = column.meaning.replace("test_accuracy", "the test score")
    if column.name == "margin":
        meaning = (
            "differences up to this are a tie, as `margin=` said when the cells ran: hundredths of the score where it "
            "is a fraction of 1, per cent of the reference's mean where it is an error"
        )
    return Column(column.name, column.kind, OF_SCORE.get(column.unit, column.unit), meaning)


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
    *map(_of_score, COMPARISON),
    Column("test_examples", "count", "examples", "size of the test set"),
    Column("reference", "text", "", "the variant that the differences are taken to"),
    ARM_ID,
    *map(_of_score, PROSPECTS),
)
NETWORKS = tuple(
    Column("reference", "text", "", "the network that the differences are taken to") if c.name == "reference" else c
    for c in SCORES
)
METRICS = (
    *KEYS,
    Column("task", "text", "", "what a target is"),
    Column("metric", "text", "", "a figure of the test set beside the score, by its name in the records"),
    Column("n_seeds", "count", "seeds", "finished cells that have it"),
    *_statistics("value", "of the metric", "the metric"),
    ARM_ID,
)

PARAMETERS = (
    *KEYS,
    Column("parameters", "count", "parameters", "all parameters of the network"),
    Column("parameters_trainable", "count", "parameters", "those that training changes"),
    Column("parameters_pooling", "count", "parameters", "those of the pooling operators and of the head's pooling"),
    Column("multiply_adds", "count", "operations", "multiply-adds of one image's forward pass"),
    Column("pooling_operations", "count", "operations", "the poolings' own, for one image; see docs/operators.md"),
    Column("pooling_bytes_read", "count", "bytes", "what they must read for one image, in float32"),
    Column("pooling_bytes_written", "count", "bytes", "what they must write, likewise"),
    Column("kept_bytes", "count", "bytes", "what autograd keeps of a batch for the backward pass, in float32"),
    Column(
        "peak_bytes",
        "count",
        "bytes",
        "the most that is alive in a batch's forward and backward pass: parameters, gradients, activations",
    ),
    Column("memory_batch_size", "count", "images", "images of that batch"),
    Column(
        "memory_method",
        "text",
        "",
        "`fake`: counted without computing; `run`: counted in a run; `allocator`: as the GPU's allocator says",
    ),
    Column(
        "starting_weights",
        "text",
        "",
        "the trained weights that were loaded, and the share of these parameters that the surgery kept",
    ),
    Column("matched", "text", "", "`params` or `macs` where the arm was made as large as the reference"),
    Column("width", "number", "times its own", "width of the network's layers: 1 unless matched"),
    Column("head_operator", "text", "", "what turns the last map into the classifier's input, with its arguments"),
    Column("head_features", "count", "features", "width that the head's pooling gives"),
    Column("downsample_operators", "text", "", "operators at the sites, with arguments and how many times each"),
    Column("sites", "count", "sites", "places where the network reduces its resolution"),
    ARM_ID,
)

THROUGHPUT = (
    *KEYS,
    Column("device", "text", "", "kind of device: `cpu`, `cuda`"),
    Column("device_name", "text", "", "the device's own name"),
    Column("threads", "count", "threads", "CPU threads of the measurement"),
    Column("memory_format", "text", "", "layout of the images in memory"),
    Column("precision", "text", "", "number format of the computation"),
    Column("batch_size", "count", "images", "images in a batch, for training and inference; latency has one"),
    *_speed("training_images_per_s", "training_ratio", "images/s", "training steps", "above 1: faster than it"),
    *_speed(
        "forward_backward_images_per_s",
        "forward_backward_ratio",
        "images/s",
        "training steps without the optimiser's part",
        "above 1: faster than it",
    ),
    *_speed("inference_images_per_s", "inference_ratio", "images/s", "forward passes", "above 1: faster than it"),
    *_speed("latency_ms", "latency_ratio", "ms", "forward pass of one image", "below 1: faster than it"),
    Column("compiled", "flag", "", "whether both ran through `torch.compile`; empty: not, in older records"),
    Column(
        "clock", "text", "", "time that the ratios are of: `processor`, `wall` (all that passed) or the GPU's `events`"
    ),
    Column("allocator", "text", "", "`keep`: freed memory is kept for reuse; `system`: as the system has it"),
    Column("machine_id", "text", "", "digest of what the machine is; rows with the same one are of one machine"),
    Column("training_settled", "flag", "", "whether the repeats made the interval narrow enough, in training"),
    Column("forward_backward_settled", "flag", "", "the same, in forward and backward passes"),
    Column("inference_settled", "flag", "", "the same, in inference"),
    Column("latency_settled", "flag", "", "the same, in latency"),
    Column("speed_reference", "text", "", "the variant that the ratios are taken to"),
    Column(
        "implementation",
        "text",
        "",
        "what computed the poolings: `fast` (compiled kernels), `triton` (those of a GPU), `torch`, `fast + torch`",
    ),
    Column(
        "reference_implementation", "text", "", "the same of the reference; where they differ, so may the ratio for it"
    ),
    Column("measured", "text", "ISO 8601", "when it was measured"),
    ARM_ID,
)


def _without_arm(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(column for column in columns if column not in (*KEYS, ARM_ID))


SUMMARY = (
    *KEYS,
    *_without_arm(ACCURACY),
    *_without_arm(PARAMETERS),
    *_without_arm(THROUGHPUT),
    ARM_ID,
)

PUBLISHED = (
    *KEYS,
    Column("published_test_accuracy", "number", "fraction of 1", "top-1 accuracy on the test set, as published"),
    Column("published_test_accuracy_std", "number", "fraction of 1", "its standard deviation over runs, as published"),
    Column("published_difference", "number", "fraction of 1", "published in its place: accuracy less the reference's"),
    Column("published_n_runs", "count", "runs", "the runs behind it, as published"),
    Column("n_seeds", "count", "seeds", "finished cells of the arm of these names here; empty: there is none"),
    Column("test_accuracy_mean", "number", "fraction of 1", "their mean test accuracy"),
    Column("test_accuracy_ci95_low", "number", "fraction of 1", "lower end of its 95 % interval, as in accuracy.csv"),
    Column("test_accuracy_ci95_high", "number", "fraction of 1", "upper end of its 95 % interval"),
    Column("difference_mean", "number", "fraction of 1", "the difference to the reference here, as in accuracy.csv"),
    Column("difference_ci95_low", "number", "fraction of 1", "lower end of its 95 % interval"),
    Column("difference_ci95_high", "number", "fraction of 1", "upper end of its 95 % interval"),
    Column(
        "gap",
        "number",
        "fraction of 1",
        "the figure here less the published one, of accuracies or of differences; no test is made of it",
    ),
    Column("recipe", "text", "", "how the training behind the published figure differs"),
    Column("source", "text", "", "where it was published"),
)

BEST_TEST_EPOCH = (
    *KEYS,
    Column("n_seeds", "count", "seeds", "finished cells whose history holds the test accuracy of each epoch"),
    Column("test_accuracy_mean", "number", "fraction of 1", "their mean test accuracy, the epoch chosen on validation"),
    Column(
        "best_test_epoch_accuracy_mean",
        "number",
        "fraction of 1",
        "mean of each cell's highest test accuracy over its epochs: chosen on the test set, too high by construction",
    ),
    Column("best_test_epoch_accuracy_std", "number", "fraction of 1", "its sample standard deviation over the seeds"),
    Column("gain", "number", "fraction of 1", "what that choice adds: the one mean less the other"),
    Column("n_paired", "count", "seeds", "of these, seeds that the reference has, too"),
    Column("difference_mean", "number", "fraction of 1", "mean difference to the reference over these seeds"),
    Column("best_test_epoch_difference_mean", "number", "fraction of 1", "the same of the best test epochs"),
    Column("reference", "text", "", "the variant that the differences are taken to"),
    ARM_ID,
)


def _both(name: str, kind: str, unit: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_a", kind, unit, f"{meaning}, in the first folder"),
        Column(f"{name}_b", kind, unit, f"{meaning}, in the second folder"),
    )


OVER_BLOCKS = (
    Column("variant", "text", "", "the pooling, by the name that it has in the blocks"),
    Column("n_blocks", "count", "blocks", "blocks that the difference is averaged over: it holds for their mean alone"),
    Column("n_seeds", "count", "seeds", "seeds that the arm and its reference finished in all of these blocks"),
    *(column for column in COMPARISON if column.name != "n_paired"),
    *PROSPECTS,
    Column("blocks", "text", "", "each block with its difference in points and its verdict, joined by `; `"),
    Column(
        "reference", "text", "", "the variant that the differences are taken to, joined by `; ` where blocks differ"
    ),
    Column("score", "text", "", "what these blocks are judged by: only scores of one name and unit are averaged"),
)
STRATA = (
    *KEYS,
    *SCORE_KEYS,
    Column("stratum", "text", "", "a stratum of the test set, such as a speaker or a motif's place"),
    Column("test_examples", "count", "examples", "test examples in it"),
    Column("n_seeds", "count", "seeds", "finished cells whose outcomes are known"),
    *_statistics("score", "of the score", "mean score of these examples"),
    ARM_ID,
)

TUNED = (*KEYS, *OF_TUNED, ARM_ID)

VERSUS = (
    *KEYS,
    *_both("n_seeds", "count", "seeds", "finished cells"),
    *_both("test_accuracy_mean", "number", "fraction of 1", "mean test accuracy"),
    *_both("test_accuracy_ci95_low", "number", "fraction of 1", "lower end of its 95 % interval"),
    *_both("test_accuracy_ci95_high", "number", "fraction of 1", "upper end of its 95 % interval"),
    *(column for column in COMPARISON if "look_" not in column.name),
    *_both("parameters", "count", "parameters", "all parameters of the network"),
    *_both("multiply_adds", "count", "operations", "multiply-adds of one image's forward pass"),
    *_both("kept_bytes", "count", "bytes", "what autograd keeps of a batch for the backward pass"),
    *_both("training_images_per_s", "number", "images/s", "training steps"),
    *_both("training_ratio", "number", "1", "arm / its own reference, measured in turns"),
    *_both("latency_ms", "number", "ms", "forward pass of one image"),
    *_both("machine_id", "text", "", "digest of the machine that the speed was measured on"),
    Column("training_speed_ratio", "number", "1", "second / first in images/s; empty unless measured on one machine"),
    Column("latency_ratio", "number", "1", "second / first in ms; likewise"),
    *_both("arm_id", "text", "", "digest of all that determines the result but the seed"),
    *PROSPECTS,
    *SCORE_KEYS,
    *_both("score_mean", "number", "of the score", "mean primary score on the test set"),
    *_both("score_ci95_low", "number", "of the score", "lower end of its 95 % interval"),
    *_both("score_ci95_high", "number", "of the score", "upper end of its 95 % interval"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "accuracy": ACCURACY,
    "scores": SCORES,
    "beside": SCORES,
    "networks": NETWORKS,
    "metrics": METRICS,
    "parameters": PARAMETERS,
    "throughput": THROUGHPUT,
    "summary": SUMMARY,
    "published": PUBLISHED,
    "best_test_epoch": BEST_TEST_EPOCH,
    "over_blocks": OVER_BLOCKS,
    "across": ACROSS,
    "pairs": PAIRS,
    "strata": STRATA,
    "tuned": TUNED,
    "versus": VERSUS,
}


def names(table: str) -> list[str]:
    """Return the names of a table's columns in order.

    >>> names("parameters")[:4]
    ['backbone', 'dataset', 'variant', 'parameters']
    """
    return [column.name for column in TABLES[table]]


def described(table: str) -> str:
    """Return the Markdown table that `docs/tables.md` shows for one of the tables."""
    lines = ["| column | kind | unit | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{c.name}` | {c.kind} | {c.unit} | {c.meaning} |" for c in TABLES[table]]
    return "\n".join(lines)
