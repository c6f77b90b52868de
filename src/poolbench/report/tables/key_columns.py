"""The columns that say which arm a row is of, and of which task."""

from poolbench.report.tables.column import Column

KEYS = (
    Column("backbone", "text", "", "the network; with the settings that differ if two blocks have the same name"),
    Column("dataset", "text", "", "the data; with the settings that differ if two blocks have the same name"),
    Column(
        "variant", "text", "", "the pooling; with the settings that differ if two arms of a block have the same name"
    ),
)

ARM_ID = Column(
    "arm_id", "text", "", "digest of everything that determines the result except the seed; joins tables and records"
)

SCORE_KEYS = (
    Column("task", "text", "", "kind of target: `classification`, `segmentation`, `regression`, or a custom task"),
    Column("score", "text", "", "name of the score; the primary score is the mean over the examples"),
    Column("unit", "text", "", "unit of the score: `fraction of 1`, or the unit of an error"),
    Column("better", "text", "", "`higher` or `lower`: which score is the better one"),
)
