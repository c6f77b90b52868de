"""What operators say of their work, against two counts: of their slow references, and of what they do by torch."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from pooling.cases import (
    CHANNELS,
    SEQUENCES,
    SPECS,
    YAMLS,
    Case,
    as_configured,
    each,
    flat,
    geometries_of,
    one_dimensional,
)
from pooling.counting import counted
from pooling.references.folder import reference_for
from torch import Tensor, nn

from poolbench.pooling import (
    AdaptivePolyphasePool2d,
    AvgPool2d,
    BlurPool2d,
    BlurringPool2d,
    ClassMaps,
    ConvMaxPool2d,
    GlobalAvgPool2d,
    HeadPool2d,
    MaxBlurPool2d,
    MaxPool1d,
    MaxPool2d,
    SoftPool2d,
    StridedConv2d,
    TapPool2d,
    WindowPool2d,
)
from poolbench.pooling.bases.work import Work
from poolbench.spec import build, locate

# A module that is not ours has no work.
HEADS: dict[str, dict[str, Any]] = {
    name: y["head"] for name, y in YAMLS.items() if y.get("head") and hasattr(locate(y["head"]["_target_"]), "work")
}
# Other arguments with other formulas.
MORE_HEADS = {
    "attention": {"heads": 2},
    "bilinear": {"signed_sqrt": False, "l2": False},
    "gamp": {"k": 3},
    "second_order": {"iterations": 0},
    "simpool": {"gamma": None, "heads": 2},
    "spatial_pyramid": {"levels": [3, 1], "mode": "avg"},
}
MORE_WINDOWS = {
    "aps": [{"norm": 1.0, "maximum": False}, {"norm": 3.0}, {"norm": float("inf")}],
    "blurred_strided_conv": [{"activation": None, "blur_size": 2}],
    "conv_max": [{"activation": None}],
    "fractional_max": [{"overlapping": False}],
    "lps": [{"maximum": False, "hidden": 5}],
    "max_blur": [{"blur_size": 4}],
    "strided_conv": [{"activation": None}],
    "wavelet": [{"wavelet": "db3"}],
}
CONTEXT = {"channels": 4, "num_classes": 3}
HEAD_MAP = (4, 8, 8)

GUARDED = "divides by the largest value, or takes it off, so that nothing overflows; the reference does not"
BALANCED = "brings the largest and the least numbers near 1 by a power of two, and the result back"
TWICE = "the reference divides every weight by their sum, the operator the weighted sum"
GATES = "keeps what a gate's exponential gets within bounds, 2 more a gate; the reference has a product and 1 − s more"
BORDER = "counts windows at the border as whole ones, the reference only the values that they have"
# What the operator's count is of the reference's, in windows of 2 x 2 and of 3 x 3, or over the map, and why they
# differ; the others are equal.
APART: dict[str, tuple[tuple[float, ...], str]] = {
    "adapool": ((1.106, 1.047), f"{GUARDED}; {BALANCED}; {TWICE}"),
    "aps": ((1.137, 1.081), GUARDED),
    "asap": ((0.2418, 0.2384), "multiplies with matrices; the reference transforms, weights and crops complex numbers"),
    "attention": ((1.053,), GUARDED),
    "autopool": ((1.172, 1.145), f"{GUARDED}; takes α's sign off first; {TWICE}"),
    "comb": ((0.9474, 0.9844), "multiplies nothing by the measure of all values, which is 1"),
    "compact_bilinear": ((0.000999,), "the reference transforms every place, as the source does"),
    "dpp": ((1.535, 1.49), f"takes powers by logarithms, 3 instead of 1; {GUARDED}"),
    "dpp_asymmetric": ((1.489, 1.449), f"takes powers by logarithms, 3 instead of 1; {GUARDED}"),
    "fractional_max": ((1.219, 1.0), "counts every region as the largest, as it is computed"),
    "fuzzy": ((0.859, 0.8539), "has each value's distance from the middle once, the reference anew for each set"),
    "gaussian": ((1.434, 1.5), GUARDED),
    "gated": ((1.091, 1.048), "keeps what its gate's exponential gets within bounds, 2 comparisons more"),
    "global_autopool": ((1.832,), GUARDED),
    "global_gem": ((1.663,), GUARDED),
    "global_log_sum_exp": ((1.99,), GUARDED),
    "hwd": ((0.6279,), "filters the map with bands and mixture at once, the reference makes the bands first"),
    "lehmer": ((2.368, 2.273), f"takes powers by logarithms, 3 instead of 1; {GUARDED}; {BALANCED}"),
    "lip": (
        (1.033, 0.9861),
        f"{GUARDED}; {BORDER}; the reference takes an exponential for each value of each window, twice",
    ),
    "lip_bottleneck": ((1.183, 1.16), BORDER),
    "log_sum_exp": (
        (1.045, 1.021),
        "has no product with β = 1, no separate subtraction of log n; bounds each difference",
    ),
    "lp": ((2.294, 2.135), f"{GUARDED}; {BALANCED}, and has the mean ready for windows of zeros"),
    "lps": (
        (0.6211, 0.635),
        "has one convolution with the mean of the second one's filters in the place of all of them",
    ),
    "median": ((1.0, 0.7895), "finds the upper half of the ranks only"),
    "pasa": ((1.057, 1.031), "takes the largest off in its softmax; the reference does not"),
    "pasa_all": ((1.062, 1.032), "takes the largest off in its softmax; the reference does not"),
    "power_mean": ((3.385, 3.179), f"takes powers by logarithms, 3 instead of 1; {GUARDED}, and against ∞; {BALANCED}"),
    "rank_weighted": ((0.9231, 0.7925), "sorts by a network; the reference counts a comparison for each pair"),
    "regularized": ((0.487, 0.3378), "has the nearest place in a table; the reference measures how far each is"),
    "s3pool": ((1.062, 1.057), BORDER),
    "second_order": ((1.246,), "steps matrices, the reference eigenvalues"),
    "simpool": ((0.9822,), "normalises by a reciprocal and scales the query instead of the scores"),
    "softpool": ((0.7586, 0.7536), TWICE),
    "spectral": (
        (0.2751, 0.2721),
        "multiplies with matrices; the reference transforms, and crops complex numbers by shares",
    ),
    "attentive_statistics": ((1.023,), GUARDED),
    "statistics": ((1.345,), GUARDED),
    "stochastic": ((1.889, 1.605), f"{GUARDED}; {BALANCED}"),
    "tips": (
        (0.7368, 0.7363),
        "the reference adds a product of each of the filter's numbers to a bias and to nothing first",
    ),
    "tree2": ((1.034, 1.017), GATES),
    "tree3": ((1.041, 1.021), GATES),
    "wavelet": ((0.6667,), "filters rows and columns at once, the reference one after the other"),
    "wavelet_db2": ((1.333,), "filters rows and columns at once, the reference one after the other"),
}
# What torch needs to ask whether a number is finite; a check is no operation.
FINITE = {"global_gem": 1, "global_log_sum_exp": 5}

each_head = pytest.mark.parametrize("name", HEADS)


def head_for(spec: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    head: nn.Module = build(spec, CONTEXT, where="head")
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) / 4)
    return head.eval()


def head_map() -> Tensor:
    return torch.rand(1, *HEAD_MAP, generator=torch.Generator().manual_seed(0)) + 0.1


def without_overhang(kind: Any) -> dict[tuple[int, ...], dict[str, Any]]:
    """Return geometries whose windows cover a map and nothing beyond it, by the size of that map."""
    asked = {
        (8, 8): {"kernel_size": 2, "stride": 2, "padding": 0},
        (9, 9): {"kernel_size": 3, "stride": 2, "padding": 0},
    }
    served = None if kind.geometries is None else [{"padding": 0} | dict(geometry) for geometry in kind.geometries]
    return {size: geometry for size, geometry in asked.items() if served is None or geometry in served}


def by_torch(case: Case, **own: Any) -> Case:
    return Case(case.name, case.spec | {"implementation": "torch"} | own, "torch")


def check_ratios(name: str, counts: Sequence[tuple[int, int]]) -> None:
    if name not in APART:
        assert all(work == reference for work, reference in counts)
        return
    ratios, why = APART[name]
    found = tuple(float(f"{work / reference:.4g}") for work, reference in counts)
    assert found == ratios, f"{counts} are not as expected, where it {why}"


# ---- operations ----


@pytest.mark.quick(4)
@each(as_configured)
def test_operations_are_those_of_the_reference(case: Case) -> None:
    counts = []
    for size, geometry in without_overhang(case.kind).items():
        operator, reference = case.operator(**geometry), reference_for(case.operator(**geometry))
        x = case.images(1, CHANNELS, *size)
        work = operator.work((CHANNELS, *size)).operations
        counts.append((work, counted(lambda x, o=operator, r=reference: r(o, x), x)))  # type: ignore[misc]
    check_ratios(case.name, counts)


@each_head
def test_operations_of_a_head_are_those_of_the_reference(name: str) -> None:
    head = head_for(HEADS[name])
    counts = head.work(HEAD_MAP).operations, counted(lambda x: reference_for(head)(head, x), head_map())
    check_ratios(name, [counts])


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2)], ids=str)
@pytest.mark.parametrize("name", ["adaptive", "adaptive_max"])
def test_operations_of_a_grid_finer_than_the_map(name: str, size: tuple[int, int]) -> None:
    for grid in (2, (3, 4), (7, 2)):
        head = head_for(HEADS[name] | {"output_size": grid})
        x = torch.rand(1, 4, *size, generator=torch.Generator().manual_seed(0))
        work = head.work((4, *size))
        assert work.operations == counted(lambda x, h=head: reference_for(h)(h, x), x)  # type: ignore[misc]
        assert work.operations == counted(head, x)
        assert work.bytes_written == 4 * head(x).numel()


def test_every_reason_is_of_an_operator_and_needed() -> None:
    assert YAMLS.keys() >= APART.keys() | MORE_HEADS.keys() | MORE_WINDOWS.keys() | FINITE.keys()


def written_by_hand(case: Case) -> bool:
    return as_configured(case) and not issubclass(case.kind, TapPool2d)


def check_by_torch(operator: Any, x: Tensor) -> None:
    work = operator.work(x.shape[1:])
    # A blur has a traced formula, with one addition less than products; by torch it is a convolution, with as many.
    additions = work.bytes_written // 4 if isinstance(operator, BlurringPool2d) else 0
    assert work.operations + additions == counted(operator, x)


@pytest.mark.quick(5)
@each(written_by_hand)
def test_operations_without_a_traced_formula_are_those_that_torch_does(case: Case) -> None:
    for own in [{}, *MORE_WINDOWS.get(case.name, [])]:
        for geometry in geometries_of(case.kind)[:3]:
            check_by_torch(by_torch(case, **own).operator(**geometry), case.images(1, CHANNELS, 9, 8))


@each(written_by_hand, specs=SEQUENCES)
def test_operations_of_sequences_are_those_that_torch_does(case: Case) -> None:
    for geometry in geometries_of(case.kind)[:3]:
        check_by_torch(by_torch(case).operator(**geometry), case.images(1, CHANNELS, 9))


@each_head
def test_operations_of_a_head_are_those_that_torch_does(name: str) -> None:
    for own in ({}, MORE_HEADS.get(name, {})):
        head = head_for(HEADS[name] | own)
        assert head.work(HEAD_MAP).operations + FINITE.get(name, 0) * HEAD_MAP[0] == counted(head, head_map())


@pytest.mark.quick(4)
@each(as_configured)
def test_windows_of_more_than_one_value_are_work(case: Case) -> None:
    for geometry in geometries_of(case.kind):
        operator = case.operator(**geometry)
        rows, columns = operator.output_shape(9, 8)
        assert operator.work((CHANNELS, 9, 8)).operations >= CHANNELS * rows * columns


@pytest.mark.quick(5)
@each(as_configured)
def test_work_is_that_of_evaluation(case: Case) -> None:
    operator = case.operator()
    assert operator.train().work((CHANNELS, 9, 8)) == operator.eval().work((CHANNELS, 9, 8))


@pytest.mark.parametrize("operator", [MaxPool2d(1, 2), AvgPool2d(1, 2), BlurPool2d(1, 2, blur_size=1)])
def test_taking_every_second_value_is_no_operation(operator: WindowPool2d) -> None:
    assert operator.work((3, 8, 8)) == Work(operations=0, bytes_read=768, bytes_written=192)


@pytest.mark.parametrize(
    ("operator", "operations"),
    [
        (MaxPool2d(2), 4 * 3),
        (AvgPool2d(2), 4 * 4),
        # 3 comparisons, 4 differences, 4 exponentials, 4 products, twice 3 additions, 1 division.
        (SoftPool2d(2), 4 * 22),
        # 9 products and 8 additions.
        (BlurPool2d(2), 4 * 17),
        # Maxima at 3x3 places.
        (MaxBlurPool2d(2), 9 * 3 + 4 * 17),
        # 4 products and additions, a bias, ReLU.
        (StridedConv2d(2, channels=1), 4 * 10),
        # The same at every place, and 3 comparisons.
        (ConvMaxPool2d(2, channels=1), 16 * 10 + 4 * 3),
        # 16 values: looked at twice for the largest, divided, squared, added up; 4 components.
        (AdaptivePolyphasePool2d(2, maximum=False), 16 * 5 + 4 * 3 + 1),
    ],
)
def test_operations_counted_by_hand(operator: WindowPool2d, operations: int) -> None:
    assert operator.work((1, 4, 4)).operations == operations


# ---- bytes ----


def check_bytes(operator: Any, x: Tensor) -> None:
    learned = sum(parameter.numel() for parameter in operator.parameters())
    with torch.no_grad():
        results = operator(x).numel()
    for itemsize in (4, 2):
        work = operator.work(x.shape[1:], itemsize)
        assert (work.bytes_read, work.bytes_written) == ((x.numel() + learned) * itemsize, results * itemsize)
    assert operator.work(x.shape[1:]) == operator.work(x.shape[1:], itemsize=4)


@pytest.mark.quick(4)
@each(as_configured)
def test_bytes_are_those_of_map_parameters_and_result(case: Case) -> None:
    for geometry in geometries_of(case.kind):
        check_bytes(case.operator(**geometry), case.images(1, CHANNELS, 9, 8))


@each_head
def test_bytes_of_a_head_are_those_of_map_parameters_and_features(name: str) -> None:
    check_bytes(head_for(HEADS[name]), head_map())


# ---- one dimension ----


# Their filters, or what they smooth over, are square in two dimensions, a line in one.
LINES = {
    "blur",
    "blurred_strided_conv",
    "lip",
    "lip_bottleneck",
    "lps",
    "max_blur",
    "regularized",
    "space_to_depth",
    "tips",
}


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if one_dimensional(spec)])
def test_sequences_are_maps_of_one_row(name: str) -> None:
    spec = one_dimensional(SPECS[name])
    assert spec is not None
    line, plane = Case(name, spec, "fast"), Case(name, SPECS[name], "fast")
    for geometry in geometries_of(line.kind)[:3]:
        around = {key: ((0 if key == "padding" else 1), v) if type(v) is int else v for key, v in geometry.items()}
        assert flat(around) == geometry
        sequence = line.operator(**geometry).work((CHANNELS, 9))
        row = plane.operator(**around).work((CHANNELS, 1, 9))
        assert sequence.operations <= row.operations if name in LINES else sequence == row


# ---- what is not there, and what is refused ----


def test_what_is_no_operator_of_ours_has_no_work() -> None:
    assert not hasattr(nn.MaxPool2d(2), "work")
    assert not hasattr(nn.Flatten(), "work")


@pytest.mark.parametrize("operator", [WindowPool2d(2), HeadPool2d()])
def test_an_operator_without_a_formula_says_what_is_missing(operator: Any) -> None:
    with pytest.raises(NotImplementedError, match="must define `operations_on` to have `work`"):
        operator.work((3, 4, 4))


def test_class_maps_need_the_work_of_what_pools_them() -> None:
    assert ClassMaps(4, 3, GlobalAvgPool2d()).work((4, 2, 2)).operations == 3 * 4 * 9 + 3 * 4
    with pytest.raises(ValueError, match="`pool` must have `work` for this head to have it, got Flatten"):
        ClassMaps(4, 3, nn.Flatten()).work((4, 1, 1))


@pytest.mark.parametrize(
    ("operator", "shape", "said"),
    [
        (MaxPool2d(2), (1, 3, 8, 8), r"`input_shape` must be \(C, H, W\), whole numbers of at least 1, got \(1, 3,"),
        (GlobalAvgPool2d(), (3, 8), r"`input_shape` must be \(C, H, W\)"),
        (GlobalAvgPool2d(), (3, 0, 8), r"`input_shape` must be \(C, H, W\)"),
        (MaxPool1d(2), (3, 8, 8), r"`input_shape` must be \(C, L\)"),
        (MaxPool2d(2), (3, 1, 8), "the map must be at least as large as the window"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(operator: Any, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        operator.work(shape)


@pytest.mark.parametrize("itemsize", [0, 2.0, True])
def test_an_itemsize_that_cannot_be_is_refused(itemsize: Any) -> None:
    with pytest.raises(ValueError, match="`itemsize` must be a whole number of at least 1, got"):
        MaxPool2d(2).work((3, 8, 8), itemsize)


# ---- the count itself ----


@pytest.mark.parametrize(
    ("function", "operations"),
    [
        (lambda x: x + 1, 6),
        (lambda x: x.sum(-1), 4),
        (lambda x: x @ torch.ones(3, 5), 2 * 3 * 10),
        (lambda x: x.softmax(-1), 2 * 13),
        (lambda x: x.sort(-1).values, 2 * 3),
        (lambda x: torch.where(x > 0, x, 0.0), 6),
        (lambda x: x[:, 1:].flatten(), 0),
        # Not of the map.
        (lambda x: x * torch.ones(3).exp().sum(), 6),
    ],
)
def test_a_count(function: Callable[[Tensor], Tensor], operations: int) -> None:
    assert counted(function, torch.rand(2, 3)) == operations


def test_what_is_written_into_depends_on_what_was_written() -> None:
    def function(x: Tensor) -> Tensor:
        result = torch.zeros(3)
        result[1] = x[0]
        return result * 2

    assert counted(function, torch.rand(3)) == 3


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (torch.erf, "what is aten.erf made of"),
        (lambda x: torch.tensor(x[0].item()), "a number leaves torch"),
        (lambda x: torch.tensor(x.tolist()), "numbers that left torch"),
    ],
)
def test_nothing_is_left_out_in_silence(function: Callable[[Tensor], Tensor], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        counted(function, torch.rand(3))
