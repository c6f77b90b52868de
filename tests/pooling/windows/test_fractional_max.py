"""What fractional max pooling promises beyond the conformance suite."""

import itertools
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from pooling.references.fractional_max import fractional_max
from torch import Tensor, nn

from poolbench.pooling.bases.window import output_size
from poolbench.pooling.windows.fractional_max import FractionalMaxPool1d, FractionalMaxPool2d

KINDS = [
    {"sequence": sequence, "overlapping": overlapping}
    for sequence in ("random", "pseudorandom")
    for overlapping in (False, True)
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def images(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def seeded(**arguments: object) -> FractionalMaxPool1d:
    torch.manual_seed(5)
    return FractionalMaxPool1d(2, 2, **arguments)  # type: ignore[arg-type]


def regions(operator: nn.Module, size: int) -> list[tuple[int, ...]]:
    """Return which values each result sees, one value raised at a time; nothing may be drawn anew meanwhile."""
    lines = torch.eye(size).view(size, 1, size)
    pooled = operator(lines)[:, 0]
    return [tuple(pooled[:, result].nonzero().flatten().tolist()) for result in range(pooled.shape[1])]


# ---- regions ----


@each_kind
@pytest.mark.parametrize("training", [True, False])
def test_regions_cover_the_map_in_order(kind: dict[str, object], training: bool) -> None:
    operator = seeded(**kind, ceil_mode=True).train(training)
    for size in (2, 3, 5, 8, 9, 21):
        for _ in range(20):
            found = regions(operator, size)
            assert sorted(set(itertools.chain(*found))) == list(range(size))
            assert all(list(region) == list(range(region[0], region[-1] + 1)) for region in found)
            shared = [len(set(a) & set(b)) for a, b in itertools.pairwise(found)]
            assert set(shared) <= ({1} if kind["overlapping"] else {0})
            lengths = {len(region) for region in found}
            assert max(lengths) - min(lengths) <= 1


def test_random_steps_come_in_every_order_equally_often() -> None:
    operator, count = seeded(overlapping=False, ceil_mode=True), 2000
    # 7 values in 4 regions: three of two, one of one.
    found = Counter(tuple(len(region) for region in regions(operator, 7)) for _ in range(count))
    assert set(found) == set(itertools.permutations((2, 2, 2, 1)))
    assert all(abs(number / count - 1 / 4) < 5 * (3 / 16 / count) ** 0.5 for number in found.values())


def test_pseudorandom_phases_are_equally_likely() -> None:
    torch.manual_seed(5)
    operator, count = FractionalMaxPool1d(3, 3, sequence="pseudorandom", overlapping=False), 2000
    # 11 values in 3 regions: steps of 3⅔ with one of three phases.
    found = Counter(tuple(len(region) for region in regions(operator, 11)) for _ in range(count))
    assert set(found) == {(3, 4, 4), (4, 3, 4), (4, 4, 3)}
    assert all(abs(number / count - 1 / 3) < 5 * (2 / 9 / count) ** 0.5 for number in found.values())


def test_pseudorandom_is_a_formula_of_one_number() -> None:
    """⌈α(i + u)⌉ takes the same forms as ours, one for each phase."""
    torch.manual_seed(5)
    operator = FractionalMaxPool1d(2, 2, ceil_mode=True, sequence="pseudorandom", overlapping=False)
    ours = {tuple(len(region) for region in regions(operator, 13)) for _ in range(300)}
    theirs = set()
    for u in torch.linspace(0.001, 0.999, 997, dtype=torch.float64):
        edges = (13 / 7 * (torch.arange(8, dtype=torch.float64) + u)).ceil()
        theirs.add(tuple(int(step) for step in edges.diff()))
    assert ours == theirs


def test_with_a_stride_of_two_one_overlapping_region_is_smaller() -> None:
    operator = seeded()
    places = set()
    for _ in range(100):
        lengths = [len(region) for region in regions(operator, 8)]
        assert sorted(lengths) == [2, 3, 3, 3]
        places.add(lengths.index(2))
    assert places == {0, 1, 2, 3}


def test_with_a_whole_ratio_disjoint_regions_are_max_pooling_and_torchs_own() -> None:
    x = images(2, 3, 8, 12)
    for ratio, sequence in itertools.product((2, 4), ("random", "pseudorandom")):
        expected = F.max_pool2d(x, ratio)
        operator = FractionalMaxPool2d(ratio, sequence=sequence, overlapping=False)
        assert torch.equal(operator(x), expected)
        assert torch.equal(operator.eval()(x), expected)
        size = (x.shape[2] // ratio, x.shape[3] // ratio)
        assert torch.equal(nn.FractionalMaxPool2d(ratio, output_size=size)(x), expected)


def test_images_and_channels_share_their_regions_rows_and_columns_do_not() -> None:
    torch.manual_seed(5)
    operator = FractionalMaxPool2d(2, ceil_mode=True)
    x = torch.arange(81.0).view(9, 9).expand(3, 2, 9, 9)
    found = set()
    for _ in range(40):
        pooled = operator(x)
        assert all(torch.equal(pooled[0, 0], plane) for plane in pooled.flatten(0, 1))
        found.add((tuple((pooled[0, 0, :, 0] // 9).tolist()), tuple((pooled[0, 0, 0] % 9).tolist())))
    assert len({rows for rows, _ in found}) > 2
    assert any(rows != columns for rows, columns in found)


@pytest.mark.slow
def test_every_size_is_served_but_one_value_with_a_wide_padding() -> None:
    for size, kernel, stride in itertools.product(range(1, 12), range(1, 6), range(2, 5)):
        for padding, ceil_mode in itertools.product(range(kernel // 2 + 1), (False, True)):
            count = output_size(size, kernel, stride, padding, ceil_mode)
            pool = FractionalMaxPool1d(kernel, stride, padding, ceil_mode)
            if 1 <= count <= size:
                assert pool(torch.zeros(1, 1, size)).shape == (1, 1, count)
            elif count > size:
                assert (size, stride, padding, ceil_mode) == (1, 2, 2, True)
                with pytest.raises(ValueError, match="the map must be at least 1x2, as many results, got 1x1"):
                    pool(torch.zeros(1, 1, size))


# ---- evaluation and gradient ----


def test_evaluation_rounds_the_edges() -> None:
    operator = seeded(ceil_mode=True).eval()
    # α = 4/3: edges at 0, 1.33, 2.67 and 4.
    assert regions(operator, 5) == [(0, 1), (1, 2, 3), (3, 4)]
    disjoint = seeded(ceil_mode=True, overlapping=False).eval()
    # α = 5/3: edges at 0, 1.67, 3.33 and 5.
    assert regions(disjoint, 5) == [(0, 1), (2,), (3, 4)]


@each_kind
def test_evaluation_equals_its_formula(kind: dict[str, object]) -> None:
    for size in ((8, 8), (7, 5), (9, 12), (3, 2)):
        operator = FractionalMaxPool2d((3, 2), 2, (1, 0), True, **kind).eval()  # type: ignore[arg-type]
        x = images(2, 3, *size)
        assert torch.equal(operator(x), fractional_max(operator, x))


@each_kind
def test_both_sequences_evaluate_alike(kind: dict[str, object]) -> None:
    x = images(2, 3, 9, 7)
    other = kind | {"sequence": "random"}
    pools = [FractionalMaxPool2d(2, ceil_mode=True, **which).eval() for which in (kind, other)]  # type: ignore[arg-type]
    assert torch.equal(pools[0](x), pools[1](x))


@each_kind
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_of_equal_values_the_first_in_reading_has_the_gradient(
    kind: dict[str, object], layout: torch.memory_format
) -> None:
    x = torch.zeros(1, 2, 6, 6).contiguous(memory_format=layout).requires_grad_()
    operator = FractionalMaxPool2d(3, **kind).eval()  # type: ignore[arg-type]
    operator(x).sum().backward()
    assert x.grad is not None
    expected = torch.zeros(6, 6)
    starts = [0, 3]
    if kind["overlapping"]:
        starts = [region[0] for region in regions(FractionalMaxPool1d(3).eval(), 6)]
    for row, column in itertools.product(starts, starts):
        expected[row, column] += 1
    assert torch.equal(x.grad, expected.expand(1, 2, 6, 6))


# ---- the stream ----


def test_repeats_by_seed() -> None:
    first, second = seeded(), seeded()
    draws = [regions(first, 40) for _ in range(3)]
    assert draws == [regions(second, 40) for _ in range(3)]
    assert draws[0] != draws[1]
    first.draws.reseed(7)
    again = regions(first, 40)
    first.draws.reseed(7)
    assert regions(first, 40) == again


# ---- arguments ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 1}, "`stride` must be at least 2 where kernel_size=2 is larger than 1, got 1"),
        ({"sequence": "sorted"}, "`sequence` must be 'random' or 'pseudorandom', got 'sorted'"),
        ({"overlapping": 1}, "`overlapping` must be true or false, got 1"),
    ],
    ids=str,
)
def test_arguments_have_rules(arguments: dict[str, object], message: str) -> None:
    for kind in (FractionalMaxPool2d, FractionalMaxPool1d):
        with pytest.raises(ValueError, match=message):
            kind(2, **arguments)  # type: ignore[arg-type]


def test_shows_how_it_draws() -> None:
    assert "sequence='random', overlapping=True" in repr(FractionalMaxPool2d(2))


@pytest.mark.parametrize("ratio", [0.5**0.5, 0.8, (0.6, 0.9)])
def test_a_ratio_between_one_and_two_has_regions_of_one_and_two_steps(ratio: float | tuple[float, float]) -> None:
    pool = FractionalMaxPool2d(2, output_ratio=ratio, overlapping=False)
    high, wide = ratio if isinstance(ratio, tuple) else (ratio, ratio)
    x = torch.rand(2, 3, 25, 36)
    rows, columns = pool.output_shape(25, 36)
    assert (rows, columns) == (int(25 * high), int(36 * wide))
    assert pool(x).shape == pool.eval()(x).shape == (2, 3, rows, columns)
    pool.train()
    seen = torch.stack([torch.as_tensor(pool._edges(36, columns, x.device)).diff() for _ in range(20)])
    assert set(seen.unique().tolist()) == {1, 2}
    assert (seen.sum(1) == 36).all()
    assert len(seen.unique(dim=0)) > 1
    assert pool(x).amax() == x.amax()  # every value belongs to a region


def test_a_ratio_in_one_dimension() -> None:
    x = torch.arange(10.0).view(1, 1, 10)
    assert FractionalMaxPool1d(2, output_ratio=0.7).eval()(x).tolist() == [[[1.0, 3.0, 4.0, 5.0, 6.0, 8.0, 9.0]]]


@pytest.mark.parametrize("ratio", [0, 1, 1.5, -0.5, True, (0.5,), (0.5, 0.5, 0.5), "half", float("nan")])
def test_a_ratio_has_bounds(ratio: object) -> None:
    with pytest.raises(ValueError, match="`output_ratio` must be above 0 and below 1, one number or two, got"):
        FractionalMaxPool2d(2, output_ratio=ratio)  # type: ignore[arg-type]


def test_a_ratio_that_leaves_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"must have a result by output_ratio=\(0.2, 0.2\), got 4x9"):
        FractionalMaxPool2d(2, output_ratio=0.2)(torch.zeros(1, 1, 4, 9))
