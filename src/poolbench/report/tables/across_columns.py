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
    Column("average_rank", "number", "1", "mean over data sets of the rank; 1 is best, equal arms share their places"),
    Column(
        "cliques",
        "text",
        "",
        "groups of arms that Friedman's and Nemenyi's tests do not distinguish, by number, joined by `; `: arms "
        "that have a number in common are not distinguished; `alone`: different from all; empty: not tested",
    ),
    Column("best_on", "count", "data sets", "data sets on which it is the best, or equal to the best"),
    Column("gap_mean", "number", "of the score", "mean over data sets of best − this arm: area above its profile"),
    Column("gap_max", "number", "of the score", "the same on the data set where it is largest"),
    Column("within_1_point", "number", "fraction of 1", "share of the data sets with a gap of at most 0.01"),
    Column(
        "improvement_probability",
        "number",
        "fraction of 1",
        "that a run is better than a run of the reference with another seed, half of the ties; mean over backbones, "
        "then over data sets; empty for the reference",
    ),
    Column("improvement_ci95_low", "number", "fraction of 1", "2.5 % of its bootstrap over the seeds of each data set"),
    Column("improvement_ci95_high", "number", "fraction of 1", "97.5 %; empty with fewer than 10 seeds somewhere"),
    Column("reference", "text", "", "the variant that this probability is about, joined by `; ` where blocks differ"),
    Column("score", "text", "", "what all data sets are judged by; empty where they differ in name or unit"),
    Column("score_mean", "number", "of the score", "mean over data sets of the mean over backbones and seeds"),
)

PAIRS = (
    Column("variant", "text", "", "an arm"),
    Column("other", "text", "", "another, of no better average rank"),
    Column("n_datasets", "count", "data sets", "data sets that the row is over"),
    Column("wins", "count", "data sets", "data sets on which variant is better than other"),
    Column("ties", "count", "data sets", "data sets on which they are equal"),
    Column("losses", "count", "data sets", "data sets on which variant is worse than other"),
    Column(
        "difference_mean", "number", "of the score", "mean over data sets of variant − other; empty where scores differ"
    ),
    Column("rank_difference", "number", "1", "average rank of other − variant's; 0 or above"),
    Column("critical_difference", "number", "1", "Nemenyi's for α = 0.05; empty: not tested"),
    Column("p_nemenyi", "number", "1", "p of rank_difference, corrected for the number of arms; empty: not tested"),
    Column(
        "apart_nemenyi",
        "flag",
        "",
        "whether they are distinguished: Friedman's test says that the arms differ, and p_nemenyi is below 0.05",
    ),
    Column("wilcoxon_statistic", "number", "1", "smaller sum of signed ranks, zeros halved; empty: not tested"),
    Column("wilcoxon_exact", "flag", "", "whether p_wilcoxon is exact; else by the normal approximation"),
    Column("p_wilcoxon", "number", "1", "two-sided p of Wilcoxon's signed-rank test over the data sets"),
    Column("p_wilcoxon_holm", "number", "1", "p_wilcoxon after Holm's correction for all pairs of the table"),
    Column("apart_wilcoxon", "flag", "", "whether p_wilcoxon_holm is below 0.05"),
)
