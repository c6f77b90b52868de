"""Which maps operators take: dimensions, numbers, and torch.fx's stand-ins for a map."""

from typing import Any

import pytest
import torch
from pooling.cases import CASES, CHANNELS, OTHERS, SEQUENCES, Case, as_configured, each, geometries_of, layouts
from pooling.head_cases import SPECS, head_for
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor

from poolbench.pooling import (
    AdaptiveMaxPool2dFlatten,
    AdaptivePolyphasePool2d,
    AvgPool2d,
    AvgTopKPool2d,
    FractionalMaxPool2d,
    GAMPPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    MaxPool2d,
    MedianPool2d,
    MinPool2d,
    RegularizedPool2d,
    SpatialPyramidPool2d,
)

WHOLE = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
UNSIGNED = [torch.uint16, torch.uint32]
COMPUTES = "the map must be of floating point for .*, which computes with its values, got torch.uint8: .*x.float"
# Of their YAML's arguments.
CHOOSE = {"max", "min", "aps", "fractional_max", "regularized"}
CHOOSING = {
    "max": MaxPool2d(3, 2, 1),
    "max, ceil_mode": MaxPool2d(2, ceil_mode=True),
    "max, dilation": MaxPool2d(2, dilation=2),
    "max, one value": MaxPool2d(1, 2),
    "max by torch": MaxPool2d(3, 2, 1, implementation="torch"),
    "min": MinPool2d(3, 2, 1),
    "min by torch": MinPool2d(2, ceil_mode=True, implementation="torch"),
    "median": MedianPool2d(3),
    "median of columns": MedianPool2d((1, 5), (2, 1)),
    "avg_topk": AvgTopKPool2d(3, 2, 1, k=1),
    "fractional_max": FractionalMaxPool2d(2),
    "fractional_max, evaluation": FractionalMaxPool2d(3, 2, 1).eval(),
    "regularized": RegularizedPool2d(3, 2, 1),
    "regularized, even": RegularizedPool2d(2),
    "aps": AdaptivePolyphasePool2d(2),
    "aps, replicate": AdaptivePolyphasePool2d(3, 2, 1, padding_mode="replicate"),
    "gmp": GlobalMaxPool2d(),
    "adaptive_max": AdaptiveMaxPool2dFlatten((2, 4)),
    "spatial_pyramid": SpatialPyramidPool2d((1, 2, 4)),
    "gamp": GAMPPool2d(1),
}
each_choosing = pytest.mark.parametrize("operator", CHOOSING.values(), ids=CHOOSING)
each_head = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def whole_numbers(dtype: torch.dtype, *size: int) -> Tensor:
    """Make a map of numbers from the least to the largest of a dtype; of int64 those that float64 has."""
    generator = torch.Generator().manual_seed(1)
    if dtype is torch.bool:
        return torch.randint(2, size, generator=generator).bool()
    limits, step = torch.iinfo(dtype), 2048 if dtype.itemsize == 8 else 1
    least, most = max(limits.min, -(2**62)) // step, min(limits.max, 2**62) // step
    return (torch.randint(least, most + 1, size, generator=generator) * step).to(dtype)


def redrawn(operator: nn.Module, x: Tensor) -> Tensor:
    """Pool with the same draws each time."""
    if hasattr(operator, "draws"):
        operator.draws.reseed(3)  # type: ignore[operator]
    y: Tensor = operator(x)
    return y


# ---- numbers ----


@pytest.mark.quick(17)
@each_choosing
@layouts
@pytest.mark.parametrize("dtype", WHOLE + UNSIGNED, ids=str)
def test_what_chooses_takes_whole_numbers_as_they_are(
    operator: nn.Module, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    x = whole_numbers(dtype, 2, 3, 9, 8).contiguous(memory_format=layout)
    y = redrawn(operator, x)
    assert y.dtype == dtype
    assert torch.equal(y.to(torch.float64), redrawn(operator, x.to(torch.float64)))


@each_choosing
def test_the_largest_and_the_least_of_int64_do_not_wrap(operator: nn.Module) -> None:
    limits = torch.iinfo(torch.int64)
    x = torch.tensor([limits.min, limits.min + 1, limits.max - 1, limits.max])
    x = x[torch.randint(4, (2, 3, 9, 8), generator=torch.Generator().manual_seed(2))]
    # The same order, of numbers that every dtype has: what is chosen is at the same place.
    small = torch.where(x < 0, x - limits.min - 2, x - limits.max + 1)
    y, expected = redrawn(operator, x), redrawn(operator, small)
    if not isinstance(operator, AdaptivePolyphasePool2d):  # which chooses by the sizes
        assert torch.equal(torch.where(y < 0, y - limits.min - 2, y - limits.max + 1), expected)
    assert torch.isin(y, x).all()


def test_max_pooling_of_whole_numbers_is_torchs_own() -> None:
    for dtype in WHOLE[1:]:
        x = whole_numbers(dtype, 2, 3, 9, 8)
        assert torch.equal(MaxPool2d(3, 2, 1)(x), nn.MaxPool2d(3, 2, 1)(x))


@pytest.mark.quick(7)
@each()
def test_what_computes_with_its_values_refuses_whole_numbers(case: Case) -> None:
    check_whole_numbers(case)


@pytest.mark.slow
@each(specs=OTHERS | SEQUENCES)
def test_with_other_arguments_and_for_sequences_whole_numbers_are_refused(case: Case) -> None:
    check_whole_numbers(case)


def check_whole_numbers(case: Case) -> None:
    size = (9, 8)[: case.kind.spatial]
    for geometry in geometries_of(case.kind):
        operator, x = case.operator(**geometry), torch.randint(256, (2, CHANNELS, *size), dtype=torch.uint8)
        if operator.selects(*(1, *size)[-2:]):
            assert torch.equal(operator(x).double(), operator(x.double()))
            continue
        assert case.name not in CHOOSE
        for training in (False, True):
            with pytest.raises(ValueError, match=COMPUTES):
                operator.train(training)(x)


@pytest.mark.quick(7)
@each_head
def test_heads_that_compute_refuse_whole_numbers(spec: dict[str, Any]) -> None:
    head, x = head_for(spec), torch.randint(256, (2, 4, 6, 5), dtype=torch.uint8)
    if isinstance(head, nn.Flatten) or head.selects(6, 5):  # type: ignore[operator]
        assert torch.equal(head(x).double(), head(x.double()))
        return
    with pytest.raises(ValueError, match=COMPUTES):
        head(x)


def test_a_median_needs_windows_of_an_odd_number_of_values() -> None:
    x = torch.tensor([[[[1, 7, 2], [3, 250, 4], [9, 8, 251]]]], dtype=torch.uint8)
    assert MedianPool2d(3)(x).item() == 7
    for operator in (MedianPool2d(2), MedianPool2d(3, 2, 1), MedianPool2d(3, 2, ceil_mode=True)):
        with pytest.raises(ValueError, match=COMPUTES):
            operator(torch.zeros(1, 1, 6, 6, dtype=torch.uint8))


def test_where_a_sort_takes_the_formulas_place_whole_numbers_are_refused() -> None:
    for operator in (MedianPool2d(29), AvgTopKPool2d(28, k=300)):
        with pytest.raises(ValueError, match=COMPUTES):
            operator(torch.zeros(1, 1, 30, 30, dtype=torch.uint8))


@each(as_configured)
def test_complex_maps_are_refused(case: Case) -> None:
    x = torch.zeros(1, CHANNELS, *(8, 8)[: case.kind.spatial], dtype=torch.complex64)
    with pytest.raises(ValueError, match=r"the map must be of real numbers for .*, got torch.complex64: pool its real"):
        case.operator()(x)


@each_head
def test_heads_refuse_complex_maps(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    if not isinstance(head, nn.Flatten):
        with pytest.raises(ValueError, match=r"the map must be of real numbers for .*, got torch.complex64"):
            head(torch.zeros(1, 4, 6, 6, dtype=torch.complex64))


@pytest.mark.parametrize("operator", [MaxPool2d(2), AvgPool2d(2), GlobalAvgPool2d()], ids=str)
def test_what_torch_hardly_computes_with_is_refused(operator: nn.Module) -> None:
    for dtype in (torch.float8_e5m2, torch.uint64):
        x = torch.zeros(1, 1, 4, 4).to(dtype)
        with pytest.raises(ValueError, match=rf"must be float16, bfloat16, float32 or float64 .*, got {dtype}"):
            operator(x)


# ---- dimensions ----


@pytest.mark.quick(3)
@each_head
def test_heads_take_one_map_without_its_batch(spec: dict[str, Any]) -> None:
    head, x = head_for(spec), torch.rand(2, 4, 6, 5) + 0.1
    if not isinstance(head, nn.Flatten):
        torch.testing.assert_close(head(x[0]), head(x)[0])


@pytest.mark.quick(12)
@each_head
@pytest.mark.parametrize("shape", [(4,), (4, 6), (1, 2, 4, 6, 5)], ids=str)
def test_heads_refuse_other_dimensions(spec: dict[str, Any], shape: tuple[int, ...]) -> None:
    head = head_for(spec)
    if not isinstance(head, nn.Flatten):
        with pytest.raises(ValueError, match=r"the map must be \(B, C, H, W\) or \(C, H, W\) for .*, got \("):
            head(torch.rand(shape))


@pytest.mark.quick(6)
@each(as_configured, specs=CASES | SEQUENCES)
def test_windows_take_one_map_without_its_batch_and_refuse_other_dimensions(case: Case) -> None:
    operator, x = case.operator(), case.images(2, CHANNELS, *(8, 8)[: case.kind.spatial])
    torch.testing.assert_close(operator(x[0]), operator(x[:1])[0])
    for wrong in (x[0, 0], x[None]):
        with pytest.raises(ValueError, match=r"the map must be \(B, C, .*\) or \(C, .*\) for .*, got \("):
            operator(wrong)


# ---- torch.fx, torch.jit.script ----


def network(operator: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), operator, nn.ReLU()).eval()


def check_leaf(operator: nn.Module, x: Tensor) -> None:
    whole = network(operator)
    traced = fx.symbolic_trace(whole)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1", "2"]
    assert torch.equal(traced(x), whole(x))
    found = create_feature_extractor(whole, {"1": "pooled"})(x)["pooled"]
    assert torch.equal(found, whole[1](whole[0](x)))  # type: ignore[index]


@pytest.mark.quick(7)
@each(as_configured)
def test_torch_fx_takes_an_operator_for_a_leaf(case: Case) -> None:
    check_leaf(case.operator(), case.images(2, CHANNELS, 8, 8))


@pytest.mark.quick(4)
@each_head
def test_torch_fx_takes_a_head_for_a_leaf(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    whole = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sigmoid(), head).eval()
    x = torch.rand(2, 4, 6, 5)
    traced = fx.symbolic_trace(whole)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1", "2"]
    assert torch.equal(traced(x), whole(x))
    assert torch.equal(create_feature_extractor(whole, ["2"])(x)["2"], whole(x))


@pytest.mark.parametrize("operator", [AvgPool2d(2), GlobalAvgPool2d()], ids=str)
def test_torch_fx_cannot_look_into_an_operator(operator: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"torch.fx cannot look into .*: trace a module that has it"):
        fx.symbolic_trace(operator)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
@pytest.mark.parametrize("operator", [AvgPool2d(2), GlobalAvgPool2d()], ids=str)
def test_torch_jit_script_says_what_to_use_instead(operator: nn.Module) -> None:
    for module in (operator, nn.Sequential(nn.ReLU(), nn.Sequential(operator))):
        with pytest.raises(RuntimeError, match=r"torch.jit.script cannot compile .*: use torch.jit.trace"):
            torch.jit.script(module)
