"""Against Demšar's published example, published tables of exact p, figures worked out by hand, and other libraries."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.text import Text

from poolbench.report.figures import critical_difference, profile
from poolbench.report.figures.style import applied, encoded
from poolbench.report.reading.arms import Block, group
from poolbench.report.statistics.across import Across, across
from poolbench.report.statistics.improvement import improvement
from poolbench.report.statistics.profiles import gaps, share_within
from poolbench.report.statistics.ranks import cliques, friedman, nemenyi, ranks, smallest_p, wilcoxon
from poolbench.report.statistics.ranks import critical_difference as nemenyi_difference
from poolbench.report.tables.across_columns import ACROSS, PAIRS
from poolbench.report.tables.across_frames import across_tables
from poolbench.report.text.across import across_words

NAN = math.nan

# Demšar 2006, table 6: AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf. In the last but one row the paper ranks the two that
# it prints as 0.975 second and third; 0.9752 stands for the digits that it does not print.
DEMSAR = {
    "adult": (0.763, 0.768, 0.771, 0.798),
    "breast cancer": (0.599, 0.591, 0.590, 0.569),
    "breast cancer wisconsin": (0.954, 0.971, 0.968, 0.967),
    "cmc": (0.628, 0.661, 0.654, 0.657),
    "ionosphere": (0.882, 0.888, 0.886, 0.898),
    "iris": (0.936, 0.931, 0.916, 0.931),
    "liver disorders": (0.661, 0.668, 0.609, 0.685),
    "lung cancer": (0.583, 0.583, 0.563, 0.625),
    "lymphography": (0.775, 0.838, 0.866, 0.875),
    "mushroom": (1.000, 1.000, 1.000, 1.000),
    "primary tumor": (0.940, 0.962, 0.965, 0.962),
    "rheum": (0.619, 0.666, 0.614, 0.669),
    "voting": (0.972, 0.981, 0.9752, 0.975),
    "wine": (0.957, 0.978, 0.946, 0.970),
}
AUC = np.array(list(DEMSAR.values()))
VARIANTS = ("c45", "c45+m", "c45+cf", "c45+m+cf")

# (variant, dataset, backbone) to accuracies, one a seed; None: the cell failed.
Cells = Mapping[tuple[str, str, str], Sequence[float | None]]
Make = Callable[[Cells], list[Block]]


@pytest.fixture
def make(results: Any) -> Make:
    def blocks(cells: Cells) -> list[Block]:
        records = []
        for (variant, dataset, backbone), accuracies in cells.items():
            for seed, accuracy in enumerate(accuracies):
                status = "failed" if accuracy is None else "ok"
                records.append(results.add(variant, seed, accuracy, dataset=dataset, backbone=backbone, status=status))
        return group(records)[0]

    return blocks


def grid(rows: Mapping[str, Sequence[float]], variants: Sequence[str] = ("max", "avg", "gap")) -> Cells:
    """Return one backbone and one seed for each figure: a row a data set, a column a variant."""
    return {(v, d, "slides"): [x] for d, row in rows.items() for v, x in zip(variants, row, strict=True)}


class TestDemsar:
    def test_average_ranks(self) -> None:
        assert ranks(AUC).mean(axis=0).round(3).tolist() == [3.143, 2.000, 2.893, 1.964]
        assert ranks(AUC)[9].tolist() == [2.5] * 4
        assert ranks(AUC)[10].tolist() == [4, 2.5, 1, 2.5]

    def test_friedman_and_iman_davenport(self) -> None:
        found = friedman(AUC)
        assert round(found.chi2, 2) == 9.28
        assert round(found.f, 2) == 3.69
        assert found.df == (3, 39)
        # The paper's critical value of F(3, 39) at 0.05 is 2.85.
        assert scipy.stats.f.ppf(0.95, *found.df) == pytest.approx(2.85, abs=0.005)
        assert found.rejects
        assert not found.exact

    def test_critical_differences(self) -> None:
        assert round(nemenyi_difference(4, 14), 2) == 1.25
        assert round(nemenyi_difference(4, 14, alpha=0.10), 2) == 1.12

    @pytest.mark.parametrize(
        ("alpha", "values"),
        [
            (0.05, (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)),
            (0.10, (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920)),
        ],
    )
    def test_table_5a(self, alpha: float, values: Sequence[float]) -> None:
        for k, q in enumerate(values, start=2):
            assert nemenyi_difference(k, 6, alpha) / math.sqrt(k * (k + 1) / 36) == pytest.approx(q, abs=0.0011)

    def test_post_hoc_at_both_levels(self) -> None:
        # Section 3.2.2: at 0.05 the test is not powerful enough; at 0.10 the best differ from C4.5 alone.
        mean = ranks(AUC).mean(axis=0)
        assert cliques(mean, nemenyi_difference(4, 14)) == ((3, 1, 2, 0),)
        assert cliques(mean, nemenyi_difference(4, 14, alpha=0.10)) == ((3, 1, 2), (2, 0))

    def test_wilcoxon(self) -> None:
        # Table 2: R+ = 93, R− = 12; the critical value for 14 data sets at 0.05 is 21.
        found = wilcoxon(AUC[:, 1] - AUC[:, 0])
        assert (found.positive, found.negative, found.statistic) == (93, 12, 12)
        # Two zeros and ties among 14: by the normal approximation, z = (12 − 52.5) / √(14·15·29/24 − ties).
        assert not found.exact
        assert found.p == pytest.approx(0.011, abs=0.0005)

    def test_through_records(self, make: Make) -> None:
        found = across(make(grid(DEMSAR, VARIANTS)))
        assert found.variants == ("c45+m+cf", "c45+m", "c45+cf", "c45")
        assert found.average_ranks.round(3).tolist() == [1.964, 2.000, 2.893, 3.143]
        assert found.friedman is not None
        assert round(found.friedman.chi2, 2) == 9.28
        assert found.cliques == ((0, 1, 2, 3),)
        assert round(found.critical_difference, 2) == 1.25
        table = across_tables(found)["pairs"].set_index(["variant", "other"])
        assert table.loc[("c45+m", "c45"), ["wins", "ties", "losses"]].tolist() == [10, 2, 2]
        words = " ".join(across_words(found))
        assert "χ² = 9.28" in words
        assert "F = 3.69 with 3 and 39 degrees of freedom" in words
        assert "at least 1.25 apart: none are" in words


class TestFriedman:
    # Friedman's table of exact probabilities (Siegel 1956, table N): the upper tails of χ² without ties.
    @pytest.mark.parametrize(
        ("rows", "chi2", "p"),
        [
            ([(1, 2, 3)] * 3, 6.0, 0.028),
            ([(1, 2, 3)] * 3 + [(2, 1, 3)], 6.5, 0.042),
            ([(1, 2, 3)] * 4, 8.0, 0.0046),
            ([(1, 2, 3, 4)] * 2, 6.0, 0.042),
            ([(1, 2, 3, 4)] * 3, 9.0, 0.0017),
            ([(1, 2, 3, 4), (1, 2, 3, 4), (2, 1, 4, 3)], 7.4, 0.033),
        ],
    )
    def test_published_exact_p(self, rows: list[tuple[int, ...]], chi2: float, p: float) -> None:
        found = friedman(-np.array(rows, dtype=float))
        assert found.chi2 == pytest.approx(chi2)
        assert found.exact
        assert found.p == pytest.approx(p, abs=0.0005)

    def test_nine_arms_on_two_data_sets(self) -> None:
        # R's friedman.test and scmamp's imanDavenportTest of these ranks, as printed in a question on Cross Validated.
        rows = [[1, 8, 6, 4, 7, 2, 5, 3, 9], [1, 6, 3, 9, 7, 2, 8, 4, 5]]
        found = friedman(-np.array(rows, dtype=float))
        assert (round(found.chi2, 3), round(found.p_chi2, 4)) == (11.733, 0.1635)
        assert (round(found.f, 2), round(found.p_f, 5), found.df) == (2.75, 0.08697, (8, 8))

    @given(arrays(float, st.tuples(st.integers(3, 8), st.integers(3, 6)), elements=st.floats(0, 1), unique=True))
    def test_as_scipy_without_ties(self, accuracy: np.ndarray) -> None:
        rounded = np.round(accuracy, 12)
        if any(len(set(row)) < len(row) for row in rounded):
            return
        other = scipy.stats.friedmanchisquare(*rounded.T)
        assert friedman(accuracy).chi2 == pytest.approx(other.statistic, abs=1e-9)
        assert friedman(accuracy).p_chi2 == pytest.approx(other.pvalue, abs=1e-9)

    def test_all_tied_tells_nothing(self) -> None:
        found = friedman(np.full((5, 3), 0.9))
        assert (found.chi2, found.f, found.p) == (0.0, 0.0, 1.0)

    def test_random_arrangements_agree_with_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        accuracy = np.random.default_rng(3).random((5, 3)) + np.array([0, 0.2, 0.4])
        every = friedman(accuracy)
        monkeypatch.setattr("poolbench.report.statistics.ranks.MOST_ARRANGEMENTS", 0)
        some = friedman(accuracy)
        assert (every.exact, some.exact) == (True, False)
        # Four standard errors of a share of 9,999 draws.
        assert some.p == pytest.approx(every.p, abs=4 * math.sqrt(every.p * (1 - every.p) / 9_999))
        assert friedman(accuracy) == some

    def test_all_alike_gives_an_infinite_f_and_a_finite_p(self) -> None:
        found = friedman(np.array([[0.9, 0.8, 0.7]] * 3))
        assert (found.f, found.p_f) == (math.inf, 0.0)
        assert found.p == pytest.approx(1 / 36)

    def test_too_few(self) -> None:
        with pytest.raises(ValueError, match="at least 2 rows and 3 columns, got 4 × 2"):
            friedman(np.ones((4, 2)))


class TestPairs:
    def test_nemenyi_as_scikit_posthocs(self) -> None:
        import scikit_posthocs

        for accuracy in (AUC, np.random.default_rng(0).random((7, 6))):
            other = scikit_posthocs.posthoc_nemenyi_friedman(np.round(accuracy, 12)).to_numpy()
            assert nemenyi(ranks(accuracy).mean(axis=0), len(accuracy)) == pytest.approx(other, abs=1e-9)

    def test_nemenyi_and_the_critical_difference_agree(self) -> None:
        n, k = 10, 5
        difference = nemenyi_difference(k, n)
        p = nemenyi(np.array([1.0, 1.0 + difference, 1.0, 1.0, 1.0]), n)
        assert p[0, 1] == pytest.approx(0.05, abs=1e-6)

    def test_cliques(self) -> None:
        assert cliques(np.array([1.0, 2.0, 3.0]), 0.5) == ()
        assert cliques(np.array([1.0, 2.0, 3.0]), 1.5) == ((0, 1), (1, 2))
        assert cliques(np.array([3.0, 1.0, 1.0, 2.0]), 5) == ((1, 2, 3, 0),)
        # A difference of just the critical one counts.
        assert cliques(np.array([1.0, 2.0]), 1.0) == ()

    @pytest.mark.parametrize("n", range(6, 14))
    def test_wilcoxon_exact_by_all_signs(self, n: int) -> None:
        # Ties and a zero, against every choice of signs written out.
        d = np.array([0.0, *([0.01, -0.01] * n)[: n - 3], 0.02, 0.03])
        size = scipy.stats.rankdata(np.abs(d))
        signed = [
            sum(sign * r for sign, r in zip(signs, size[1:], strict=True))
            for signs in itertools.product((-1, 1), repeat=n - 1)
        ]
        observed = abs((np.sign(d) * size).sum())
        found = wilcoxon(d)
        assert found.exact
        assert found.p == pytest.approx(np.mean(np.abs(signed) >= observed - 1e-9))
        assert found.positive + found.negative == n * (n + 1) / 2

    def test_wilcoxon_without_ties_is_scipy_s(self) -> None:
        d = np.random.default_rng(1).normal(size=20)
        assert wilcoxon(d).p == pytest.approx(scipy.stats.wilcoxon(d, method="exact").pvalue)
        assert wilcoxon(d).exact

    def test_wilcoxon_published_critical_value(self) -> None:
        # Two-sided 0.05, N = 8: T = 3 counts as different and T = 4 does not (Wilcoxon's table).
        d = np.arange(1.0, 9.0)
        assert wilcoxon(np.where(d == 3, -d, d)).p == pytest.approx(0.0390625)
        assert wilcoxon(np.where(d == 4, -d, d)).p == pytest.approx(0.0546875)

    def test_equal_arms(self) -> None:
        found = wilcoxon(np.zeros(7))
        assert (found.p, found.statistic) == (1.0, 14.0)

    def test_what_rounding_leaves_behind_is_a_tie(self) -> None:
        # 0.3 − 0.1 and 0.5 − 0.3 differ in the last bit.
        found = wilcoxon(np.array([0.3 - 0.1, 0.5 - 0.3, -(0.3 - 0.1), 0.1 + 0.2 - 0.3, 0.4, 0.5]))
        assert (found.positive, found.negative) == (3 + 3 + 5 + 6 + 0.5, 3 + 0.5)

    def test_smallest_p(self) -> None:
        n, d = 7, np.arange(1.0, 8.0)
        assert smallest_p(n, 1) == wilcoxon(d).p == 2 / 2**7
        assert smallest_p(3, 6) == 1.0


class TestImprovement:
    def test_by_hand(self) -> None:
        # Pairs of unequal seeds: 0.9 > 0.8 yes, 0.9 > 0.7 yes, 0.8 > 0.8 tie, 0.8 > 0.7 yes, 0.6 > 0.8 twice no.
        arm, reference = {0: 0.9, 1: 0.8, 2: 0.6}, {0: 0.8, 1: 0.8, 2: 0.7}
        assert improvement([[(arm, reference)]]).probability == pytest.approx(3.5 / 6)

    def test_backbones_first_then_data_sets(self) -> None:
        win = ({0: 0.9, 1: 0.9}, {0: 0.1, 1: 0.1})
        loss = win[::-1]
        # ((1 + 0 + 0)/3 + 1)/2
        assert improvement([[win, loss, loss], [win]]).probability == pytest.approx(2 / 3)

    def test_unequal_seeds_are_all_pairs(self) -> None:
        arm, reference = {0: 0.9, 1: 0.5}, {2: 0.6, 3: 0.4, 4: 0.5}
        u = scipy.stats.mannwhitneyu(list(arm.values()), list(reference.values())).statistic
        assert improvement([[(arm, reference)]]).probability == pytest.approx(u / 6)

    def test_one_seed_says_nothing(self) -> None:
        assert math.isnan(improvement([[({0: 0.9}, {0: 0.8})]]).probability)
        assert math.isnan(improvement([]).probability)

    @pytest.mark.parametrize("n", [2, 3, 9])
    def test_few_seeds_have_no_interval(self, n: int) -> None:
        found = improvement([[({s: (0.7, 0.9)[s % 2] for s in range(n)}, dict.fromkeys(range(n), 0.8))]])
        assert 0 < found.probability < 1
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    def test_interval_holds_the_share_and_repeats(self) -> None:
        rng = np.random.default_rng(5)
        cells = [
            [({s: rng.normal(0.3) for s in range(10)}, {s: rng.normal() for s in range(10)}) for _ in range(2)]
            for _ in range(3)
        ]
        found = improvement(cells)
        assert 0 < found.low < found.probability < found.high < 1
        assert improvement(cells) == found

    def test_seeds_are_drawn_for_all_backbones_together(self) -> None:
        # The second backbone wins exactly where the first loses: with common seeds the mean is ½ in every draw.
        arm = {s: 0.5 + 0.01 * s * (-1) ** s for s in range(10)}
        reference = {s: 0.5 + 0.013 * s * (-1) ** (s // 2) for s in range(10)}
        found = improvement(
            [[(arm, reference), ({s: -x for s, x in arm.items()}, {s: -x for s, x in reference.items()})]]
        )
        assert (found.low, found.probability, found.high) == pytest.approx((0.5, 0.5, 0.5))

    @pytest.mark.slow
    def test_coverage_with_shared_seeds(self) -> None:
        # Three data sets, correlation 0.7, a true share of Φ(1/√2) = 0.760.
        n, rng = 10, np.random.default_rng(9)
        hits, shares = 0, []
        for _ in range(300):
            luck, own, other = rng.normal(size=(3, 3, n))
            x, y = math.sqrt(0.7) * luck + math.sqrt(0.3) * own + 1, math.sqrt(0.7) * luck + math.sqrt(0.3) * other
            found = improvement([[(dict(enumerate(a)), dict(enumerate(b)))] for a, b in zip(x, y, strict=True)])
            hits += found.low <= 0.7602 <= found.high
            shares.append(found.probability)
        assert 0.88 < hits / 300 < 0.98
        assert np.mean(shares) == pytest.approx(0.7602, abs=4 * np.std(shares) / math.sqrt(300))

    def test_always_better_has_no_width(self) -> None:
        found = improvement([[({s: 0.9 - s / 50 for s in range(10)}, {s: s / 50 for s in range(10)})]])
        assert (found.probability, found.low, found.high) == (1.0, 1.0, 1.0)


class TestProfiles:
    def test_area_above_a_profile_is_the_mean_gap(self) -> None:
        accuracy = np.random.default_rng(2).random((6, 4))
        found = gaps(accuracy)
        tau = np.linspace(0, 1, 200_001)
        share = (found[:, :, None] <= tau).mean(axis=0)
        assert (1 - share).mean(axis=1) == pytest.approx(found.mean(axis=0), abs=1e-4)

    def test_share_within(self) -> None:
        found = gaps(np.array([[0.9, 0.89, 0.7], [0.5, 0.6, 0.6]]))
        # 0.9 − 0.89 is a little more than 0.01 in binary.
        assert share_within(found, 0.01).tolist() == [0.5, 1.0, 0.5]


class TestAcross:
    def test_backbones_are_averaged_before_ranking(self, make: Make) -> None:
        cells = {
            ("max", "a", "slides"): [0.5, 0.7],
            ("avg", "a", "slides"): [0.61],
            ("max", "a", "resnet18"): [0.9],
            ("avg", "a", "resnet18"): [0.8],
            ("max", "b", "slides"): [0.2],
            ("avg", "b", "slides"): [0.3],
        }
        found = across(make(cells))
        # On a: max (0.6 + 0.9)/2 = 0.75, avg (0.61 + 0.8)/2 = 0.705.
        assert (found.datasets, found.n_blocks) == (("a", "b"), 3)
        assert found.variants == ("avg", "max")
        assert found.accuracy.round(6).tolist() == [[0.705, 0.75], [0.3, 0.2]]
        assert found.average_ranks.tolist() == [1.5, 1.5]

    def test_by_hand(self, make: Make) -> None:
        rows = {"a": (0.90, 0.88, 0.80), "b": (0.70, 0.70, 0.60), "c": (0.50, 0.495, 0.45)}
        found = across(make(grid(rows)))
        table = across_tables(found)["across"].set_index("variant")
        assert table.index.tolist() == ["max", "avg", "gap"]
        # On b two share the places 1 and 2.
        assert table["average_rank"].tolist() == pytest.approx([3.5 / 3, 5.5 / 3, 3])
        assert table["best_on"].tolist() == [3, 1, 0]
        assert table["gap_mean"].tolist() == pytest.approx([0, 0.025 / 3, 0.25 / 3])
        assert table["gap_max"].tolist() == pytest.approx([0, 0.02, 0.1])
        assert table["within_1_point"].tolist() == pytest.approx([1, 2 / 3, 0])
        assert (table["n_datasets"].tolist(), table["reference"].tolist()) == ([3] * 3, ["max"] * 3)
        assert table["improvement_probability"].isna().all()
        pairs = across_tables(found)["pairs"]
        assert pairs[["variant", "other", "wins", "ties", "losses"]].to_numpy().tolist() == [
            ["max", "avg", 2, 1, 0],
            ["max", "gap", 3, 0, 0],
            ["avg", "gap", 3, 0, 0],
        ]
        assert pairs["p_wilcoxon"].isna().all()
        # One seed, three data sets.
        assert [sentence.partition(":")[0] for sentence in found.left_out] == [
            "Wilcoxon's test of pairs is left out",
            "The probability of improvement is left out for avg, gap",
        ]

    def test_improvement_through_records(self, make: Make) -> None:
        cells = {
            (variant, dataset, "slides"): accuracies
            for dataset in "ab"
            for variant, accuracies in (("max", [0.8, 0.8, 0.7]), ("avg", [0.9, 0.8, 0.6]))
        }
        found = across(make(cells))
        assert list(found.improvement) == ["avg"]
        assert found.improvement["avg"].probability == pytest.approx(3.5 / 6)
        assert "better than a run of max with another seed: avg 58 %." in " ".join(across_words(found))

    def test_of_one_data_set_nothing_is_said(self, make: Make) -> None:
        found = across(make(grid({"a": (0.9, 0.8, 0.7)})))
        assert found.left_out == ()
        assert across_words(found) == []
        for name, columns in (("across", ACROSS), ("pairs", PAIRS)):
            assert across_tables(found)[name].columns.tolist() == [column.name for column in columns]
            assert len(across_tables(found)[name]) == 0

    def test_nothing_at_all(self, make: Make) -> None:
        assert across([]).left_out == ("Nothing is compared over data sets: there is none with a result.",)
        failed = across(make({("max", "a", "slides"): [None], ("max", "b", "slides"): [0.9]}))
        assert failed.left_out == (
            "Over data sets slides on a is left out: no cell of it has a test score.",
            "Nothing is compared over data sets: there is one, b.",
        )
        assert across_words(Across()) == []

    def test_one_arm(self, make: Make) -> None:
        found = across(make(grid({"a": (0.9,), "b": (0.8,)}, ["max"])))
        assert found.left_out == ("Nothing is compared over data sets: one variant, max, has a result in every block.",)

    def test_two_arms_have_wilcoxon_alone(self, make: Make) -> None:
        rows = {f"d{i}": (0.9, 0.8 - 0.01 * i) for i in range(6)}
        found = across(make(grid(rows, ["max", "avg"])))
        assert found.friedman is None
        assert "they need 3 variants with a result in every block, and there are 2" in found.left_out[0]
        assert found.pairs[0].p_holm == 2 / 2**6
        assert "for 1 pair finds differences: max above avg." in " ".join(across_words(found))

    def test_an_incomplete_arm_is_left_out_by_name(self, make: Make) -> None:
        cells = dict(grid({"a": (0.9, 0.8, 0.7), "b": (0.6, 0.5, 0.4), "c": (0.3, 0.2, 0.1)}))
        cells["gap", "b", "slides"] = [None]
        cells["strided_conv", "c", "slides"] = [0.5]
        found = across(make(cells))
        assert found.variants == ("max", "avg")
        assert "Over data sets gap is left out: no result for slides on b." in found.left_out
        assert "Over data sets strided_conv is left out: no result for slides on a, slides on b." in found.left_out
        assert found.accuracy.tolist() == [[0.9, 0.8], [0.6, 0.5], [0.3, 0.2]]

    def test_a_result_without_accuracy_is_none(self, make: Make) -> None:
        cells = dict(grid({"a": (0.9, 0.8, 0.7), "b": (0.6, 0.5, 0.4)}))
        cells["gap", "b", "slides"] = [NAN]
        cells["max", "a", "slides"] = [0.9, NAN, None]
        found = across(make(cells))
        assert found.variants == ("max", "avg")
        assert found.accuracy[0, 0] == 0.9

    def test_a_missing_reference_takes_the_improvement_with_it(self, make: Make) -> None:
        cells = {(v, d, "slides"): [0.9, 0.8, 0.7] for v in ("avg", "gap") for d in "ab"}
        cells["max", "a", "slides"] = [0.5, 0.5, 0.5]
        found = across(make(cells))
        assert found.improvement == {}
        assert any("left out for avg, gap: it needs in every block a reference" in text for text in found.left_out)

    def test_few_data_sets_for_many_pairs(self, make: Make) -> None:
        variants = ["max", *(f"op{i}" for i in range(6))]
        rows = {f"d{n}": [0.9 - 0.01 * i for i in range(7)] for n in range(8)}
        found = across(make(grid(rows, variants)))
        # 21 pairs · 2/2⁸ = 0.164
        assert any("8 data sets and 21 pairs its smallest possible p is 0.164" in text for text in found.left_out)
        assert not any(found.apart_wilcoxon(pair) for pair in found.pairs)
        assert found.friedman is not None
        assert found.friedman.rejects

    def test_holm_as_statsmodels(self, make: Make) -> None:
        from statsmodels.stats.multitest import multipletests

        rng = np.random.default_rng(4)
        rows = {f"d{n}": (rng.random(4) + np.array([0, 0.3, 0.4, 0.9])).tolist() for n in range(10)}
        pairs = across_tables(across(make(grid(rows, ["max", "avg", "gap", "lp"]))))["pairs"]
        assert pairs["p_wilcoxon_holm"].to_numpy() == pytest.approx(
            multipletests(pairs["p_wilcoxon"], method="holm")[1]
        )
        assert (pairs["apart_wilcoxon"] == (pairs["p_wilcoxon_holm"] < 0.05)).all()

    def test_a_pair_that_goes_against_the_ranks_is_named_as_it_is(self, make: Make) -> None:
        # avg loses narrowly to all on 3 data sets and wins by far on 11, where max is second: R = 1 + 2 + 3 against 99.
        rows = {f"d{n}": (0.5001 + 0.0001 * n, 0.5, *[0.50005] * 4) for n in range(3)}
        rows |= {f"e{n}": (0.5, 0.6 + 0.01 * n, *[0.1] * 4) for n in range(11)}
        found = across(make(grid(rows, ["max", "avg", *"abcd"])))
        assert found.variants[:2] == ("max", "avg")
        assert found.pairs[0].signed_rank is not None
        assert (found.pairs[0].signed_rank.positive, found.pairs[0].signed_rank.negative) == (6, 99)
        told = next(text for text in across_words(found) if text.startswith("Wilcoxon"))
        assert "avg above max" in told
        assert "max above avg" not in told

    def test_order_does_not_matter(self, make: Make) -> None:
        rng = np.random.default_rng(6)
        cells = {
            (v, d, b): rng.random(4).round(3).tolist()
            for v in ("max", "avg", "gap")
            for d in "abcdefg"
            for b in ("slides", "resnet18")
        }
        blocks = make(cells)
        one = across(blocks)
        for block in blocks:
            block.arms.reverse()
        other = across(blocks[::-1])
        assert across_words(one) == across_words(other)
        assert one.left_out == other.left_out
        for name, table in across_tables(one).items():
            assert table.equals(across_tables(other)[name])
            assert table.equals(across_tables(across(blocks))[name])

    def test_columns_and_kinds(self, make: Make) -> None:
        kinds = {"text": "object", "count": "Int64", "number": "float64", "flag": "boolean"}
        tables = across_tables(across(make(grid(DEMSAR, VARIANTS))))
        for name, columns in (("across", ACROSS), ("pairs", PAIRS)):
            assert {c.name: kinds[c.kind] for c in columns} == {n: str(t) for n, t in tables[name].dtypes.items()}
            assert all(c.meaning for c in columns)


class TestFigures:
    def test_nothing_to_draw(self, make: Make) -> None:
        assert critical_difference.draw(Across()) is None
        assert profile.draw(Across(), {}) is None
        two = across(make(grid({"a": (0.9, 0.8), "b": (0.6, 0.5)}, ["max", "avg"])))
        assert critical_difference.draw(two) is None
        assert profile.draw(two, {}) is not None

    @pytest.mark.parametrize("draw", [critical_difference.draw, lambda found: profile.draw(found, {})])
    def test_every_arm_is_named_once_and_equal_figures_give_equal_bytes(self, make: Make, draw: Any) -> None:
        found = across(make(grid(DEMSAR, VARIANTS)))
        with applied():
            files = []
            for _ in range(2):
                figure = draw(found)
                assert figure is not None
                texts = [text.get_text() for text in figure.findobj(Text)]
                for name in found.variants:
                    assert sum(text.partition("  ")[0] == name for text in texts) == 1
                files.append(encoded("x", figure))
        assert files[0] == files[1]

    def test_names_do_not_overlap(self, make: Make) -> None:
        variants = ["max", *(f"avg_topk[k={k},protocol.optimizer.lr=0.01]" for k in range(15))]
        rng = np.random.default_rng(8)
        rows = {f"d{n}": rng.random(16).tolist() for n in range(5)}
        with applied():
            figure = critical_difference.draw(across(make(grid(rows, variants))))
            assert figure is not None
            encoded("x", figure)
            renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
            boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        width, height = figure.canvas.get_width_height()
        assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)

    def test_bars_in_one_row_do_not_touch(self) -> None:
        groups = [(0, 1, 2), (1, 2, 3), (2, 3), (3, 4), (4, 5)]
        levels = critical_difference._levels(groups)
        for (a, one), (b, other) in itertools.combinations(zip(levels, groups, strict=True), 2):
            assert a != b or not set(one) & set(other)
