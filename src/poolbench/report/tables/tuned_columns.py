"""The columns of `tuned.csv` beside the names of an arm, its digest and its task."""

from poolbench.report.tables.column import Column

OF_TUNED = (
    Column("n_points", "count", "points", "points of the recipe at which the arm was trained, one seed each"),
    Column("n_points_finished", "count", "points", "those whose training finished"),
    Column("val_accuracy_low", "number", "fraction of 1", "the worst validation accuracy over these points"),
    Column("val_accuracy_median", "number", "fraction of 1", "the median"),
    Column("val_accuracy_high", "number", "fraction of 1", "the best one; the point was chosen by it"),
    Column("best_point", "text", "", "the settings of the best point, joined by `; `"),
    *(
        column
        for side, words in (("shared", "at the shared recipe"), ("tuned", "each arm at its best point"))
        for column in (
            Column(f"{side}_n_seeds", "count", "seeds", f"finished cells {words}"),
            Column(f"{side}_test_accuracy_mean", "number", "fraction of 1", f"mean test accuracy, {words}"),
            Column(f"{side}_verdict", "text", "", f"as `verdict` in accuracy.csv, {words}"),
            Column(f"{side}_difference_mean", "number", "of the score", f"difference to the reference, {words}"),
            Column(
                f"{side}_difference_holm_low",
                "number",
                "of the score",
                "lower end of the interval at the level of Holm's procedure; a tie has a narrower one",
            ),
            Column(f"{side}_difference_holm_high", "number", "of the score", "upper end of that interval"),
        )
    ),
    Column("gain", "number", "of the score", "mean test score when tuned minus that at the shared recipe"),
    Column("trials_s", "number", "s", "duration of all trials of the arm"),
)
# Of classifications the same as the columns that say `accuracy`, which other tasks leave empty.
SCORES_OF_TUNED = (
    Column("val_score_low", "number", "of the score", "the worst validation score over the points"),
    Column("val_score_median", "number", "of the score", "the median"),
    Column("val_score_high", "number", "of the score", "the best one; the point was chosen by it"),
    Column("shared_score_mean", "number", "of the score", "mean test score, at the shared recipe"),
    Column("tuned_score_mean", "number", "of the score", "mean test score, each arm at its best point"),
    Column("shared_n_failed", "count", "cells", "cells that failed or diverged, at the shared recipe"),
    Column("tuned_n_failed", "count", "cells", "cells that failed or diverged, each arm at its best point"),
)
