"""The columns of every table: name, kind, unit and meaning, in the order in which they are written.

This is the one definition: the tables are built in this order, `docs/tables.md` shows it, and a test holds the two
together.
"""

from poolbench.report.tables.across_columns import ACROSS, PAIRS
from poolbench.report.tables.column import Column
from poolbench.report.tables.cost_columns import PARAMETERS, THROUGHPUT
from poolbench.report.tables.key_columns import ARM_ID, KEYS, SCORE_KEYS
from poolbench.report.tables.score_columns import (
    ACCURACY,
    COMPARISON,
    METRICS,
    NETWORKS,
    PROSPECTS,
    SCORES,
    STRATA,
    of_any_score,
)
from poolbench.report.tables.tuned_columns import OF_TUNED, SCORES_OF_TUNED


def _without_arm(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(column for column in columns if column not in (*KEYS, ARM_ID))


# In a table with arms of several tasks these are of each arm's own score.
OF_ANY_SCORE = {column.name for column in (*COMPARISON, *PROSPECTS)} | {"correlation_with_reference"}

SUMMARY = (
    *KEYS,
    *(of_any_score(c) if c.name in OF_ANY_SCORE else c for c in _without_arm(ACCURACY)),
    *_without_arm(PARAMETERS),
    *_without_arm(THROUGHPUT),
    ARM_ID,
)

PUBLISHED = (
    *KEYS,
    Column("published_test_accuracy", "number", "fraction of 1", "top-1 accuracy on the test set, as published"),
    Column("published_test_accuracy_std", "number", "fraction of 1", "its standard deviation over runs, as published"),
    Column(
        "published_difference",
        "number",
        "fraction of 1",
        "published instead of the accuracy: accuracy minus the reference's",
    ),
    Column("published_n_runs", "count", "runs", "number of runs, as published"),
    Column("n_seeds", "count", "seeds", "finished cells of the arm with these names here; empty if there is none"),
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
        "the figure here minus the published one (accuracies or differences); not tested",
    ),
    Column("recipe", "text", "", "how the training behind the published figure differs"),
    Column("source", "text", "", "where it was published"),
)

BEST_TEST_EPOCH = (
    *KEYS,
    Column("n_seeds", "count", "seeds", "finished cells with a test score for each epoch in their history"),
    Column(
        "test_accuracy_mean", "number", "fraction of 1", "their mean test accuracy, with the epoch chosen on validation"
    ),
    Column(
        "best_test_epoch_accuracy_mean",
        "number",
        "fraction of 1",
        "mean of each cell's highest test accuracy over its epochs: chosen on the test set, hence biased upwards",
    ),
    Column("best_test_epoch_accuracy_std", "number", "fraction of 1", "its sample standard deviation over the seeds"),
    Column("gain", "number", "of the score", "bias of that choice: the second mean minus the first"),
    Column("n_paired", "count", "seeds", "those seeds that the reference also has"),
    Column("difference_mean", "number", "of the score", "mean difference to the reference over these seeds"),
    Column("best_test_epoch_difference_mean", "number", "of the score", "the same for the best test epochs"),
    Column("reference", "text", "", "the variant that the arm is compared with"),
    ARM_ID,
    *SCORE_KEYS,
    Column("score_mean", "number", "of the score", "mean test score, with the epoch chosen on validation"),
    Column(
        "best_test_epoch_score_mean", "number", "of the score", "mean of each cell's best test score over its epochs"
    ),
    Column("best_test_epoch_score_std", "number", "of the score", "its sample standard deviation over the seeds"),
)


def _both(name: str, kind: str, unit: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_a", kind, unit, f"{meaning}, in the first folder"),
        Column(f"{name}_b", kind, unit, f"{meaning}, in the second folder"),
    )


OVER_BLOCKS = (
    Column("variant", "text", "", "the pooling, by the name that it has in the blocks"),
    Column(
        "n_blocks",
        "count",
        "blocks",
        "blocks over which the difference is averaged; the verdict holds for their mean only",
    ),
    Column("n_seeds", "count", "seeds", "seeds that the arm and its reference finished in all of these blocks"),
    *(of_any_score(column) for column in COMPARISON if column.name != "n_paired"),
    *map(of_any_score, PROSPECTS),
    Column(
        "blocks",
        "text",
        "",
        "each block with its difference, in points or in the score's unit, and its verdict, joined by `; `",
    ),
    Column("reference", "text", "", "the variant that the arm is compared with, joined by `; ` if blocks differ"),
    Column("score", "text", "", "score of these blocks; only scores with the same name and unit are averaged"),
)

TUNED = (*KEYS, *OF_TUNED, ARM_ID, *SCORE_KEYS, *SCORES_OF_TUNED)

VERSUS = (
    *KEYS,
    *_both("n_seeds", "count", "seeds", "finished cells"),
    *_both("test_accuracy_mean", "number", "fraction of 1", "mean test accuracy"),
    *_both("test_accuracy_ci95_low", "number", "fraction of 1", "lower end of its 95 % interval"),
    *_both("test_accuracy_ci95_high", "number", "fraction of 1", "upper end of its 95 % interval"),
    *(of_any_score(column) for column in COMPARISON if "look_" not in column.name),
    *_both("parameters", "count", "parameters", "all parameters of the network"),
    *_both("multiply_adds", "count", "operations", "multiply-adds of one example's forward pass"),
    *_both("kept_bytes", "count", "bytes", "memory that autograd saves for the backward pass of a batch"),
    *_both("training_images_per_s", "number", "examples/s", "training steps"),
    *_both("training_ratio", "number", "1", "arm / its own reference, measured alternately"),
    *_both("latency_ms", "number", "ms", "forward pass of one example"),
    *_both("machine_id", "text", "", "digest of the machine that the speed was measured on"),
    Column(
        "training_speed_ratio", "number", "1", "second / first in examples/s; empty unless measured on the same machine"
    ),
    Column("latency_ratio", "number", "1", "second / first in ms; likewise"),
    *_both("arm_id", "text", "", "digest of everything that determines the result except the seed"),
    *map(of_any_score, PROSPECTS),
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
