"""The paired difference and its two variances: by hand, against published examples, against libraries."""

import math

import numpy as np
import pytest
from scipy import stats

from poolbench.report.statistics.paired import OnImages, half_width, over_sets, paired, two_sided

# Student 1908, The probable error of a mean, Biometrika 6:1–25: hours of sleep that ten patients gained by two drugs.
DEXTRO = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
LAEVO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_patients() -> None:
    found = paired(np.array(LAEVO) - np.array(DEXTRO))
    # Student's own table: mean 1.58, standard deviation 1.17 with n below the root.
    assert round(found.mean, 2) == 1.58
    assert round(found.std * math.sqrt(9 / 10), 2) == 1.17
    # The figures printed with this example in the documentation of R's t.test.
    assert round(found.p, 6) == 0.002833
    assert [round(end, 7) for end in found.interval(0.95)] == [0.7001142, 2.4598858]


def mean_squares(d: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of rows, columns and rest of a two-way table, from their definitions."""
    seeds, images = d.shape
    rows, columns, all_ = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True), d.mean()
    return (
        images * ((rows - all_) ** 2).sum() / (seeds - 1),
        seeds * ((columns - all_) ** 2).sum() / (images - 1),
        ((d - rows - columns + all_) ** 2).sum() / ((seeds - 1) * (images - 1)),
    )


@pytest.mark.parametrize("shape", [(2, 3), (3, 50), (7, 400)])
def test_variances_are_those_of_the_two_way_table(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(shape[0])
    images = (draw.normal(size=shape[1]) > 0.4).astype(np.int8)
    d = images - (draw.random(shape) > 0.6).astype(np.int8)
    found = paired(d.mean(axis=1), d)
    of_seeds, of_images, rest = mean_squares(d.astype(float))
    assert found.mean == pytest.approx(d.mean())
    assert found.seed_variance == pytest.approx(of_seeds / d.size)
    assert found.seed_variance == pytest.approx(d.mean(axis=1).var(ddof=1) / len(d))
    assert found.image_variance == pytest.approx(max((of_images - rest) / d.size, 2 / (shape[1] + 2) ** 2))
    assert found.se == pytest.approx(math.sqrt(found.seed_variance + found.image_variance))


def test_images_that_differ_less_than_chance_add_the_least_that_there_is() -> None:
    d = np.array([[1, 0], [0, 1]], dtype=np.int8)
    # Bonett and Price 2012 with no image that differs: 2/(N + 2)².
    assert paired(d.mean(axis=1), d).image_variance == pytest.approx(2 / 16)
    # What is no outcome of 0 or 1 has no such least.
    assert paired(d.mean(axis=1), d, binary=False).image_variance == 0.0


class TestGroups:
    def test_a_group_an_image_is_no_group(self) -> None:
        draw = np.random.default_rng(3)
        d = np.sign(draw.normal(0.2, 1, 60).round() + (draw.random((4, 60)) > 0.8)).astype(np.int8)
        alone, grouped = paired(d.mean(axis=1), d), paired(d.mean(axis=1), d, groups=np.arange(60)[::-1])
        assert grouped.image_variance == pytest.approx(alone.image_variance)
        assert grouped.parts[1][1] == alone.parts[1][1] == 59

    def test_of_equal_size_they_are_their_means(self) -> None:
        draw = np.random.default_rng(4)
        of_groups = draw.integers(-1, 2, (3, 40)).astype(np.int8)
        d = of_groups.repeat(5, axis=1)
        grouped = paired(d.mean(axis=1), d, groups=np.arange(200) // 5, binary=False)
        means = paired(of_groups.mean(axis=1), of_groups, binary=False)
        assert grouped.image_variance == pytest.approx(means.image_variance)
        assert grouped.parts[1][1] == 39

    def test_the_least_variance_counts_images_and_a_tie_groups(self) -> None:
        d = np.zeros((3, 1000), dtype=np.int8)
        d[:, 0], d[:, 500] = 1, -1
        found = paired(d.mean(axis=1), d, groups=np.arange(1000) // 50)
        assert found.image_variance == pytest.approx(2 / 1002**2, rel=0.2)
        assert found.sets[0].variance_at(0.005) == pytest.approx(0.005 * 0.995 / 20)

    def test_unequal_sizes_by_hand(self) -> None:
        # Two seeds alike, groups of 1 and 3 images: sums less their share of the mean ½ are −½ and ½. Effects of groups
        # with variance σ² give the sums' squares 2.25·σ² together, and the mean a variance of (1² + 3²)/4²·σ².
        d = np.array([[0, 0, 1, 1]] * 2, dtype=np.int8)
        found = paired(d.mean(axis=1), d, groups=np.array([7, 2, 2, 2]), binary=False)
        assert found.image_variance == pytest.approx(0.5 / 2.25 * 10 / 16)

    def test_unequal_sizes_count_as_fewer(self) -> None:
        d = np.array([[0, 0, 1, 1, -1, 0]] * 2, dtype=np.int8)
        found = paired(d.mean(axis=1), d, groups=np.array([0, 0, 0, 1, 2, 3]))
        assert found.parts[1][1] == pytest.approx(36 / 12 - 1)
        assert found.sets[0].variance_at(0.1) == pytest.approx(0.09 / 3)

    def test_of_two_groups_the_smaller_counts_still(self) -> None:
        d = np.array([[0] * 9 + [1], [0] * 8 + [1, 1]], dtype=np.int8)
        found = paired(d.mean(axis=1), d, groups=np.array([0] * 9 + [1]))
        assert found.parts[1][1] == 1.0
        assert all(map(math.isfinite, found.interval(0.99)))

    def test_intervals_cover_where_images_come_in_fives(self) -> None:
        """Alone they are taken for more than they are: 69 % of 95 % intervals cover in the long run."""
        draw = np.random.default_rng(5)
        covered = {False: 0, True: 0}
        groups = np.arange(300) // 5
        for _ in range(300):
            hard = draw.standard_normal((2, 60)).repeat(5, axis=1)
            right = [(hard[arm] + 0.4 * draw.standard_normal((5, 300)) > -1).astype(np.int8) for arm in range(2)]
            d = right[1] - right[0]
            for known in covered:
                low, high = paired(d.mean(axis=1), d, groups=groups if known else None).interval(0.95)
                covered[known] += low <= 0 <= high
        assert covered[False] / 300 < 0.80
        assert covered[True] / 300 > 0.92


class TestSets:
    def test_one_set_of_one_block_is_the_block(self) -> None:
        d = np.random.default_rng(0).integers(-1, 2, (3, 50)).astype(np.int8)
        assert over_sets(d.mean(axis=1), [OnImages(d)]) == paired(d.mean(axis=1), d)

    def test_independent_images_add_their_variances(self) -> None:
        draw = np.random.default_rng(1)
        first, second = (draw.integers(-1, 2, (3, n)).astype(np.int8) for n in (400, 300))
        mean = (first.mean(axis=1) + second.mean(axis=1)) / 2
        found = over_sets(mean, [OnImages(first), OnImages(second)], binary=False)
        alone = [paired(d.mean(axis=1), d, binary=False).image_variance for d in (first, second)]
        assert found.image_variance == pytest.approx(sum(alone) / 4)
        assert found.parts[1][1] == 399 + 299
        assert found.images == 700

    def test_shared_images_are_carried_over_by_image(self) -> None:
        d = np.random.default_rng(2).integers(-1, 2, (3, 400)).astype(np.int8)
        # Twice the same block is the block; an opposite one takes its images' noise away.
        assert over_sets(d.mean(axis=1), [OnImages(d * 2, blocks=2)]).image_variance == pytest.approx(
            paired(d.mean(axis=1), d).image_variance
        )
        opposite = over_sets(np.zeros(3), [OnImages(d - d, blocks=2)])
        assert opposite.equal


class TestTies:
    @pytest.mark.parametrize(("images", "half"), [(100, 0.029513), (600, 0.004980), (1000, 0.002991)])
    def test_no_difference_at_all_by_hand(self, images: int, half: float) -> None:
        # 1 − 0.05^(1/N): with a larger share of differing images one would have been seen in 95 of 100 test sets.
        found = paired(np.zeros(3), np.zeros((3, images), dtype=np.int8))
        assert found.tie_interval(0.05, 0.005) == pytest.approx((-half, half), abs=1e-6)
        assert found.interval(0.90) == found.tie_interval(0.05, 0.005)

    def test_the_margin_sets_the_least_variance(self) -> None:
        # One image of 1,000 differs: at the margin of half a point five would.
        d = np.zeros((3, 1000), dtype=np.int8)
        d[:, 0] = 1
        d[0, 1] = 1
        found = paired(d.mean(axis=1), d)
        low, high = found.tie_interval(0.05, 0.005)
        least = 0.005 * 0.995 / 1000
        assert found.image_variance < least
        expected = half_width([(found.seed_variance, 2), (least, 999)], 0.90)
        assert (high - low) / 2 == pytest.approx(expected)

    def test_where_images_differ_enough_it_is_the_interval_of_two_one_sided_tests(self) -> None:
        d = np.random.default_rng(6).integers(-1, 2, (4, 500)).astype(np.int8)
        found = paired(d.mean(axis=1), d)
        assert found.tie_interval(0.05, 0.005) == found.interval(0.90)

    def test_what_is_no_outcome_of_0_or_1_has_no_least(self) -> None:
        found = paired(np.zeros(3), np.zeros((3, 100), dtype=np.int8), binary=False)
        assert found.tie_interval(0.05, 0.005) == (0.0, 0.0)


def test_without_outcomes_it_is_the_paired_t_of_scipy() -> None:
    own, other = [0.91, 0.93, 0.90, 0.95], [0.90, 0.90, 0.91, 0.92]
    found = paired(np.subtract(own, other))
    theirs = stats.ttest_rel(own, other)
    assert found.images is None
    assert math.isnan(found.image_variance)
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.p_seeds == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.99)
    assert found.interval(0.99) == pytest.approx((interval.low, interval.high))


def test_both_variances_widen_the_interval_and_seeds_alone_stay() -> None:
    draw = np.random.default_rng(0)
    d = np.sign(draw.normal(0.3, 1, 200).round() + (draw.random((5, 200)) > 0.9)).astype(np.int8)
    found, alone = paired(d.mean(axis=1), d), paired(d.mean(axis=1))
    assert found.image_variance > 0
    assert found.p >= alone.p
    assert found.p_seeds == pytest.approx(alone.p)
    for level in (0.5, 0.95, 0.999999):
        assert found.interval(level)[0] <= alone.interval(level)[0]
    assert found.interval(0.95)[0] < alone.interval(0.95)[0]


def test_the_critical_value_is_weighted_by_the_variances() -> None:
    # Cochran and Cox by hand: (3·t(4) + 1·t(100)) / 4 at 95 %, t(4) = 2.776445, t(100) = 1.983972.
    assert half_width([(3.0, 4), (1.0, 100)], 0.95) == pytest.approx((3 * 2.776445 + 1.983972) / 4 * 2, rel=1e-6)


@pytest.mark.parametrize("mean", [0.0, 0.3, -2.0, 9.0, 40.0])
@pytest.mark.parametrize("parts", [[(1.0, 4)], [(1.0, 4), (0.5, 999)], [(1e-9, 2), (1.0, 50)], [(1.0, 2), (0.0, 50)]])
def test_p_is_where_the_interval_ends_at_zero(mean: float, parts: list[tuple[float, float]]) -> None:
    p = two_sided(mean, parts)
    if p > 1e-12:  # beyond, 1 − p is 1
        assert half_width(parts, 1 - p) == pytest.approx(abs(mean), rel=1e-3, abs=1e-9)
    assert 0 <= p <= 1


def test_an_unheard_of_difference_has_the_seeds_p() -> None:
    assert two_sided(1e9, [(1.0, 4), (1.0, 9999)]) == pytest.approx(2 * stats.t.sf(1e9, 4))


class TestWithoutASpread:
    def test_one_seed(self) -> None:
        found = paired(np.array([0.01]), np.array([[1, 0, 0]], dtype=np.int8))
        assert found.n == 1
        assert math.isnan(found.p)
        assert all(map(math.isnan, found.interval(0.95)))

    def test_no_seed(self) -> None:
        found = paired(np.array([]))
        assert found.n == 0
        assert math.isnan(found.mean)
        assert math.isnan(found.p)

    def test_equal_outcomes_are_equal(self) -> None:
        d = np.zeros((3, 10), dtype=np.int8)
        found = paired(d.mean(axis=1), d)
        assert found.p == 1.0
        # Of 10 images none differed: 1 − 0.005^(1/10).
        assert found.interval(0.99) == pytest.approx((-0.411296, 0.411296), abs=1e-6)
        assert paired(d.mean(axis=1), d, binary=False).interval(0.99) == (0.0, 0.0)

    @pytest.mark.parametrize("difference", [0.0, 0.01])
    def test_equal_differences_do_not_say_how_sure(self, difference: float) -> None:
        found = paired(np.array([difference] * 3))
        assert math.isnan(found.p)
        assert all(map(math.isnan, found.interval(0.95)))

    @pytest.mark.parametrize("images", [[1, -1, 0, 0], [1, 1, 0, 0]])
    def test_nor_do_images_alone(self, images: list[int]) -> None:
        d = np.array([images] * 3, dtype=np.int8)
        found = paired(d.mean(axis=1), d)
        assert found.image_variance > 0
        assert not found.equal
        assert math.isnan(found.p)
