"""The columns of the tables over data sets, in the style of `poolbench.report.tables.columns`."""

from poolbench.report.tables.column import Column

ACROSS = (
    Column("variant", "text", "", "the pooling, by the name that it has in every block; best average rank first"),
    Column("n_datasets", "count", "data sets", "data sets that the row is over"),
    Column("n_blocks", "count", "blocks", "blocks that it is over; the backbones of a data set are averaged first"),
    Column(
        "test_accuracy_mean",
        "number",
        "fraction of 1",
        "mean over data sets of the mean over backbones and seeds; empty unless accuracy is their score",
    ),
    Column("average_rank", "number", "1", "mean over data sets of the rank; 1 is best, ties get their average rank"),
    Column(
        "cliques",
        "text",
        "",
        "numbers of the groups of arms that Friedman's and Nemenyi's tests do not distinguish, joined by `; `: arms "
        "with a common number are not distinguished; `alone`: different from all others; empty: not tested",
    ),
    Column("best_on", "count", "data sets", "data sets on which it is the best, or equal to the best"),
    Column(
        "gap_mean",
        "number",
        "of the score",
        "mean over data sets of the best arm minus this one: the area above its profile",
    ),
    Column("gap_max", "number", "of the score", "the largest of these gaps"),
    Column("within_1_point", "number", "fraction of 1", "fraction of the data sets with a gap of at most 0.01"),
    Column(
        "improvement_probability",
        "number",
        "fraction of 1",
        "probability that a run is better than a run of the reference with another seed, ties counting half; mean over "
        "backbones, then over data sets; empty for the reference",
    ),
    Column(
        "improvement_ci95_low",
        "number",
        "fraction of 1",
        "2.5 % quantile of its bootstrap over the seeds of each data set",
    ),
    Column(
        "improvement_ci95_high",
        "number",
        "fraction of 1",
        "97.5 % quantile; empty if any block has fewer than 10 seeds",
    ),
    Column("reference", "text", "", "the reference of this probability, joined by `; ` where blocks differ"),
    Column("score", "text", "", "the score of all data sets; empty if they differ in its name or unit"),
    Column("score_mean", "number", "of the score", "mean over data sets of the mean over backbones and seeds"),
)

PAIRS = (
    Column("variant", "text", "", "an arm"),
    Column("other", "text", "", "another arm, whose average rank is not better"),
    Column("n_datasets", "count", "data sets", "data sets that the row is over"),
    Column("wins", "count", "data sets", "data sets on which variant is better than other"),
    Column("ties", "count", "data sets", "data sets on which they are equal"),
    Column("losses", "count", "data sets", "data sets on which variant is worse than other"),
    Column(
        "difference_mean",
        "number",
        "of the score",
        "mean over data sets of variant minus other; empty if scores differ",
    ),
    Column("rank_difference", "number", "1", "average rank of other minus that of variant; at least 0"),
    Column("critical_difference", "number", "1", "Nemenyi's for α = 0.05; empty: not tested"),
    Column(
        "p_nemenyi", "number", "1", "p-value of rank_difference, corrected for the number of arms; empty: not tested"
    ),
    Column(
        "apart_nemenyi",
        "flag",
        "",
        "whether they are distinguished: Friedman's test says that the arms differ, and p_nemenyi is below 0.05",
    ),
    Column("wilcoxon_statistic", "number", "1", "smaller sum of signed ranks, zeros halved; empty: not tested"),
    Column("wilcoxon_exact", "flag", "", "whether p_wilcoxon is exact; otherwise the normal approximation"),
    Column("p_wilcoxon", "number", "1", "two-sided p-value of Wilcoxon's signed-rank test over the data sets"),
    Column("p_wilcoxon_holm", "number", "1", "p_wilcoxon after Holm's correction for all pairs of the table"),
    Column("apart_wilcoxon", "flag", "", "whether p_wilcoxon_holm is below 0.05"),
)
