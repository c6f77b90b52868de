"""The columns that say which arm a row is of, and of which task."""

from poolbench.report.tables.column import Column

KEYS = (
    Column("backbone", "text", "", "the network; with the settings that differ where two blocks share the name"),
    Column("dataset", "text", "", "the data; with the settings that differ where two blocks share the name"),
    Column(
        "variant", "text", "", "the pooling; with the settings that differ where two arms of a block share the name"
    ),
)

ARM_ID = Column("arm_id", "text", "", "digest of all that determines the result but the seed; joins tables and records")

SCORE_KEYS = (
    Column("task", "text", "", "what a target is: `classification`, `segmentation`, `regression`, or a custom task"),
    Column("score", "text", "", "what examples are judged by: the primary score is the mean of their own"),
    Column("unit", "text", "", "of the score: `fraction of 1`, or what an error is measured in"),
    Column("better", "text", "", "`higher` or `lower`: which score is the better one"),
)
