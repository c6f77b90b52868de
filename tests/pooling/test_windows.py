"""Conformance of every window operator that a YAML of conf/pooling names: the folder is the list.

Claims, randomness, implementations, and what torch compiles and exports have suites of their own beside this one.
"""

import copy
import inspect
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pooling.cases import (
    CASES,
    CHANNELS,
    OTHERS,
    SEQUENCES,
    SPECS,
    YAMLS,
    Case,
    as_configured,
    each,
    each_geometry,
    few,
    geometries_of,
    halves,
    halves_in_layouts,
    images,
    layouts,
    many,
    maximum,
    places,
    tied,
)
from pooling.references.folder import reference_for
from torch import Tensor, nn

import poolbench.pooling
from poolbench.pooling import TMaxAvgPool2d
from poolbench.spec import bind, locate

each_sequence = each(specs=SEQUENCES)
# With arguments that no YAML has.
each_other = each(specs=OTHERS)


def by_torch(case: Case) -> bool:
    """Whether no kernel is to be compiled: for what is the formula's own, which kernels and torch share."""
    return case.implementation == "torch"


# Which window operators have no form for sequences, and why.
MAPS_ALONE: dict[str, str] = {}


# ---- configuration ----


def test_the_folder_is_seen() -> None:
    assert {"max", "avg_topk"} <= SPECS.keys()
    assert len(SEQUENCES) > len(SPECS)


@pytest.mark.parametrize("name", YAMLS)
def test_a_variant_is_complete(name: str) -> None:
    variant = YAMLS[name]
    assert set(variant) == {"name", "downsample", "head"}
    assert variant["name"] == name
    assert bool(variant["downsample"]) != bool(variant["head"])


@pytest.mark.parametrize("name", SPECS)
def test_a_variant_says_every_argument_that_its_place_does_not(name: str) -> None:
    context = {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False, "dilation": 1, "channels": CHANNELS}
    target, _ = bind(SPECS[name], context, where="pooling.downsample")
    assert target.kind == "window"
    assert inspect.signature(target).parameters.keys() - context.keys() == SPECS[name].keys() - {"_target_"}


@pytest.mark.parametrize("name", SPECS)
def test_its_form_for_sequences_can_be_imported_from_the_same_place(name: str) -> None:
    target: Any = locate(SPECS[name]["_target_"])
    sequences = target.__name__.removesuffix("2d") + "1d"
    if name in MAPS_ALONE:
        assert not hasattr(sys.modules[target.__module__], sequences), f"take {name} out of MAPS_ALONE"
        return
    assert sequences in poolbench.pooling.__all__, f"add {sequences}, or say in MAPS_ALONE why there is none"
    bases = getattr(poolbench.pooling, sequences).__mro__
    assert target in bases
    assert poolbench.pooling.WindowPool1d in bases


# ---- values ----


def check_formula(case: Case, data: st.DataObject) -> None:
    geometry, size = data.draw(places(case.kind))
    x = case.kinds_of_images(2, CHANNELS, *size, dtype=torch.float64)[data.draw(st.sampled_from(case.kinds))]
    check_formula_at(case, geometry, x)


def check_formula_at(case: Case, geometry: dict[str, Any], x: Tensor) -> None:
    operator = case.operator(**geometry).double()
    with torch.no_grad():
        pooled = operator(x)
        assert pooled.shape == maximum(x, **geometry).shape
        reference = reference_for(operator)
        expected = reference(operator, x) if case.kind.spatial == 2 else reference(operator, x[..., None, :])
    torch.testing.assert_close(pooled, expected.view(pooled.shape))


@pytest.mark.quick(4)
@each(lambda case: case.kind.geometries is None)
def test_equals_its_formula_on_a_map_smaller_than_the_window(case: Case) -> None:
    """With `ceil_mode` and a stride longer than the window there may be windows all the same."""
    geometry = {"kernel_size": 3, "stride": (5, 2), "padding": 0, "ceil_mode": True}
    check_formula_at(case, geometry, case.images(2, CHANNELS, 1, 4, dtype=torch.float64))


@pytest.mark.quick(14)
@each()
@few
@given(data=st.data())
def test_equals_its_formula_in_the_shape_of_max_pooling(case: Case, data: st.DataObject) -> None:
    check_formula(case, data)


@pytest.mark.quick(3)
@each(by_torch, specs=SEQUENCES)
@few
@given(data=st.data())
def test_a_sequence_equals_its_formula_in_the_shape_of_max_pooling(case: Case, data: st.DataObject) -> None:
    check_formula(case, data)


@pytest.mark.quick(4)
@each(by_torch, specs=OTHERS)
def test_with_other_arguments_it_equals_its_formula(case: Case) -> None:
    for geometry in geometries_of(case.kind)[-3:]:
        for x in case.kinds_of_images(1, CHANNELS, 6, 5, dtype=torch.float64).values():
            check_formula_at(case, geometry, x)


@pytest.mark.quick(2)
@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize("rule", ["max", "all"])
@pytest.mark.parametrize("kernel", [{"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "padding": 1}])
def test_of_a_window_with_fewer_than_k_values_these_decide(
    kernel: dict[str, Any], rule: str, implementation: str
) -> None:
    """At a corner there are 4 values of 9, or 1 of 4: with all of them above the threshold it is reached."""
    k = kernel["kernel_size"] ** 2 - 1
    operator = TMaxAvgPool2d(**kernel, k=k, threshold=0.5, rule=rule, implementation=implementation)
    x = images(2, CHANNELS, 6, 6)
    for y in (x, x.abs() + 0.6):
        torch.testing.assert_close(operator(y), reference_for(operator)(operator, y))
    above = x.abs() + 0.6
    torch.testing.assert_close(operator(above), maximum(above, **kernel))


@pytest.mark.slow
@each_other
@many
@given(data=st.data())
def test_with_other_arguments_it_equals_its_formula_in_many_geometries(case: Case, data: st.DataObject) -> None:
    check_formula(case, data)


@pytest.mark.slow
@each()
@many
@given(data=st.data())
def test_equals_its_formula_in_many_geometries(case: Case, data: st.DataObject) -> None:
    check_formula(case, data)


@pytest.mark.slow
@each_sequence
@many
@given(data=st.data())
def test_a_sequence_equals_its_formula_in_many_geometries(case: Case, data: st.DataObject) -> None:
    check_formula(case, data)


@pytest.mark.quick(6)
@each()
def test_a_map_without_a_batch_is_a_batch_of_one(case: Case) -> None:
    operator, x = case.operator(), case.images(CHANNELS, 7, 8)
    torch.testing.assert_close(operator(x), operator(x[None])[0], rtol=0, atol=0)


@pytest.mark.quick(4)
@each_sequence
def test_a_sequence_without_a_batch_is_a_batch_of_one(case: Case) -> None:
    operator, x = case.operator(), case.images(CHANNELS, 9)
    torch.testing.assert_close(operator(x), operator(x[None])[0], rtol=0, atol=0)


@pytest.mark.quick(8)
@each(as_configured)
@pytest.mark.parametrize("size", [(8, 8), (1, 1, 3, 8, 8)], ids=str)
def test_a_map_has_three_dimensions_or_four(case: Case, size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"the map must be \(B, C, H, W\) or \(C, H, W\) for .*, got \("):
        case.operator()(torch.zeros(size))


@pytest.mark.quick(3)
@each()
def test_images_do_not_see_each_other(case: Case) -> None:
    operator, x = case.operator(), case.images(3, CHANNELS, 7, 8)
    torch.testing.assert_close(operator(x), torch.cat([operator(image[None]) for image in x]))


# ---- gradients ----


def as_function(operator: nn.Module) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """Return an operator as a function of the map and its parameters, and these; its draws are always the same."""
    learned = {name: value for name, value in operator.named_parameters() if value.requires_grad}

    def function(x: Tensor, *values: Tensor) -> Tensor:
        same = copy.deepcopy(operator) if operator.is_random and operator.training else operator
        return torch.func.functional_call(same, dict(zip(learned, values, strict=True)), (x,))

    return function, [parameter.detach().clone().requires_grad_() for parameter in learned.values()]


def check_gradient(operator: nn.Module, x: Tensor, *, fast_mode: bool) -> None:
    function, parameters = as_function(operator)
    inputs = (x.requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(function, inputs, fast_mode=fast_mode)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=fast_mode)


@pytest.mark.quick(2)
@each_geometry()
def test_gradient(case: Case, geometry: dict[str, Any]) -> None:
    operator = case.operator(**geometry).double()
    check_gradient(operator, case.images(2, CHANNELS, 6, 5, dtype=torch.float64), fast_mode=True)


@pytest.mark.slow
@each(by_torch, specs=OTHERS)
def test_gradient_with_other_arguments(case: Case) -> None:
    operator = case.operator().double()
    check_gradient(operator, case.images(2, CHANNELS, 6, 5, dtype=torch.float64), fast_mode=True)


@pytest.mark.quick(4)
@each(by_torch, specs=SEQUENCES)
def test_gradient_of_sequences(case: Case) -> None:
    operator = case.operator().double()
    check_gradient(operator, case.images(2, CHANNELS, 9, dtype=torch.float64), fast_mode=True)


@pytest.mark.quick(4)
@each(lambda case: case.kind.is_random and by_torch(case), specs=CASES | OTHERS | SEQUENCES)
def test_gradient_of_what_was_drawn(case: Case) -> None:
    operator = case.operator().double().train()
    size = (6, 5)[-case.kind.spatial :]
    check_gradient(operator, case.images(2, CHANNELS, *size, dtype=torch.float64), fast_mode=True)


@pytest.mark.slow
@each_geometry()
def test_gradient_number_by_number(case: Case, geometry: dict[str, Any]) -> None:
    operator = case.operator(**geometry).double().requires_grad_(False)
    check_gradient(operator, case.images(1, CHANNELS, 5, 4, dtype=torch.float64), fast_mode=False)


@pytest.mark.quick(4)
@each_geometry()
def test_with_equal_values_the_gradient_is_still_whole(case: Case, geometry: dict[str, Any]) -> None:
    """Raising all values at once leaves equal ones equal, so there the result has a derivative whatever the ties are.

    It is the total of the gradient.
    """
    operator = case.operator(**geometry).double()
    for x in (tied(2, CHANNELS, 7, 6), torch.full((2, CHANNELS, 7, 6), 1.17, dtype=torch.float64)):
        pooled = operator(x.requires_grad_())
        above = images(*pooled.shape)
        (gradient,) = torch.autograd.grad(pooled, x, above)
        with torch.no_grad():
            slope = (operator(x + 1e-6) - operator(x - 1e-6)) / 2e-6
        torch.testing.assert_close(gradient.sum(), (above * slope).sum(), rtol=1e-6, atol=1e-6)


def gradient_and_its_formulas(case: Case, geometry: dict[str, Any], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return also torch's derivative of the reference, which takes equal values in the order of reading."""
    operator = case.operator(**geometry).double()
    x = x.requires_grad_()
    pooled, expected = operator(x), reference_for(operator)(operator, x)
    above = images(*pooled.shape)
    return torch.autograd.grad(pooled, x, above)[0], torch.autograd.grad(expected, x, above)[0]


@pytest.mark.quick(4)
@each_geometry()
def test_of_equal_values_the_first_gets_the_gradient_where_the_formula_chooses(
    case: Case, geometry: dict[str, Any]
) -> None:
    torch.testing.assert_close(*gradient_and_its_formulas(case, geometry, tied(2, CHANNELS, 7, 6)))


@pytest.mark.quick(5)
@each(by_torch, specs=OTHERS)
def test_with_other_arguments_equal_values_get_the_gradient_of_the_formula(case: Case) -> None:
    torch.testing.assert_close(*gradient_and_its_formulas(case, case.usual, tied(2, CHANNELS, 7, 6)))


@pytest.mark.quick(4)
@each(lambda case: "zeros" in case.kinds)
def test_beside_zeros_the_gradient_is_that_of_the_formula(case: Case) -> None:
    """Save of windows that have zeros alone, where a formula may have no derivative."""
    x = case.kinds_of_images(2, CHANNELS, 7, 6, dtype=torch.float64)["zeros"]
    found, expected = gradient_and_its_formulas(case, case.usual, x)
    there = ~expected.isnan()
    assert there.float().mean() > 0.5
    torch.testing.assert_close(found[there], expected[there])


def minus_infinity_is_a_value(case: Case, geometry: dict[str, Any], *size: int) -> bool:
    """Whether −∞ gives what the formula says and gets what a number below all others would get in its place."""
    operator = case.operator(**geometry).double()
    low = torch.rand(2, CHANNELS, *size, generator=torch.Generator().manual_seed(2)) < 0.7
    gradients = []
    for lowest in (-10.0, -math.inf):
        x = case.images(2, CHANNELS, *size, dtype=torch.float64).masked_fill(low, lowest).requires_grad_()
        pooled = operator(x)
        gradients += torch.autograd.grad(pooled, x, images(*pooled.shape))
    if pooled.isnan().any() or not torch.allclose(*gradients):
        return False
    return torch.allclose(pooled, reference_for(operator)(operator, x))


def wholly_inside(case: Case) -> dict[str, Any]:
    return {"kernel_size": 2, "stride": 2, "padding": 0} if case.kind.geometries is None else case.usual


def check_minus_infinity(case: Case, geometry: dict[str, Any]) -> None:
    """What takes −∞ for a value like others inside the map does so in windows that hang over the border, too."""
    inside = minus_infinity_is_a_value(case, wholly_inside(case), 6, 6)
    assert minus_infinity_is_a_value(case, geometry, 7, 6) or not inside


def chooses_in_the_window(case: Case) -> bool:
    """Whether it is not by the whole map, where −∞ may make it another choice."""
    return bool(case.kind.is_equivariant)


@pytest.mark.quick(4)
@each_geometry(chooses_in_the_window)
def test_minus_infinity_is_told_from_padding(case: Case, geometry: dict[str, Any]) -> None:
    check_minus_infinity(case, geometry)


@pytest.mark.slow
@each_geometry(chooses_in_the_window, specs=OTHERS)
def test_minus_infinity_is_told_from_padding_with_other_arguments(case: Case, geometry: dict[str, Any]) -> None:
    check_minus_infinity(case, geometry)


@pytest.mark.slow
def test_operators_that_choose_take_minus_infinity_for_a_value() -> None:
    chosen = {case.name for case in CASES.values() if minus_infinity_is_a_value(case, wholly_inside(case), 6, 6)}
    assert {"max", "avg_topk", "t_max_avg", "median", "mixed", "ordinal", "rank_stochastic", "rank_weighted"} <= chosen


@pytest.mark.quick(7)
@each(lambda case: case.kind.keeps_constants and case.kind.domain != "positive")
def test_a_map_of_zeros_keeps_the_whole_gradient(case: Case) -> None:
    """What a ReLU leaves, where roots and quotients have no derivative."""
    x = torch.zeros(2, CHANNELS, 6, 8, dtype=torch.float64, requires_grad=True)
    pooled = case.operator().double()(x)
    assert pooled.count_nonzero() == 0
    above = images(*pooled.shape)
    (gradient,) = torch.autograd.grad(pooled, x, above)
    torch.testing.assert_close(gradient.sum((2, 3)), above.sum((2, 3)))


# ---- memory layouts ----


@pytest.mark.quick(2)
@each_geometry()
def test_channels_last_stays_and_changes_nothing(case: Case, geometry: dict[str, Any]) -> None:
    operator = case.operator(**geometry)
    for x in case.kinds_of_images(2, CHANNELS, 8, 6).values():
        found = []
        for layout in (torch.contiguous_format, torch.channels_last):
            leaf = x.contiguous(memory_format=layout).requires_grad_()
            pooled = operator(leaf)
            assert pooled.is_contiguous(memory_format=layout)
            (gradient,) = torch.autograd.grad(pooled.square().sum(), leaf)
            assert gradient.is_contiguous(memory_format=layout)
            found.append((pooled, gradient))
        for one, other in zip(*found, strict=True):
            # Convolutions in another layout round otherwise, by processor: 1e-5, of gradients above 2.5 in proportion.
            torch.testing.assert_close(one, other, rtol=1.3e-6, atol=max(1e-5, 4e-6 * other.abs().max().item()))


@pytest.mark.quick(3)
@each()
def test_a_view_of_a_larger_map_pools_as_its_copy(case: Case) -> None:
    operator, whole = case.operator(), case.images(2, CHANNELS, 9, 12)
    for view in (whole[..., 1:, ::2], whole[:1, :, :, 2:].expand(3, -1, -1, -1), whole.transpose(2, 3)):
        copied = view.contiguous().requires_grad_()
        found = [operator(view.requires_grad_()), operator(copied)]
        torch.testing.assert_close(*found)
        gradients = [torch.autograd.grad(y.square().sum(), x) for y, x in zip(found, (view, copied), strict=True)]
        torch.testing.assert_close(*gradients)


# ---- half precision ----


@pytest.mark.quick(3)
@each()
@halves_in_layouts
def test_half_precision_is_close_and_stays(case: Case, dtype: torch.dtype, layout: torch.memory_format) -> None:
    check_half_precision(case, case.kinds_of_images(2, CHANNELS, 8, 9, dtype=dtype), layout)


@pytest.mark.slow
@each(by_torch, specs=SEQUENCES)
@halves
def test_half_precision_of_sequences_is_close_and_stays(case: Case, dtype: torch.dtype) -> None:
    check_half_precision(case, case.kinds_of_images(2, CHANNELS, 17, dtype=dtype), torch.contiguous_format)


def check_half_precision(case: Case, maps: dict[str, Tensor], layout: torch.memory_format) -> None:
    dtype = maps["random"].dtype
    operator = case.operator().to(dtype)
    exactly = copy.deepcopy(operator).double()
    eps = torch.finfo(dtype).eps
    for name, x in maps.items():
        if name == "equal" and not case.kind.is_equivariant:
            continue  # who chooses by the whole map may choose another of two that are equal
        x = x.contiguous(memory_format=layout).requires_grad_()
        exact = x.detach().double().requires_grad_()
        pooled, expected = operator(x), exactly(exact)
        assert pooled.dtype == dtype
        # Computed in float32 and rounded once, by eps / 2: sums made in half precision would be further off.
        torch.testing.assert_close(pooled.double(), expected, rtol=0.6 * eps, atol=0.1 * eps)
        above = images(*pooled.shape, dtype=dtype)
        (gradient,) = torch.autograd.grad(pooled, x, above)
        assert gradient.dtype == dtype
        (expected_gradient,) = torch.autograd.grad(expected, exact, above.double())
        torch.testing.assert_close(gradient.double(), expected_gradient, rtol=16 * eps, atol=16 * eps)


@pytest.mark.quick(3)
@each()
@halves
def test_half_precision_at_its_extremes_is_what_float64_has(case: Case, dtype: torch.dtype) -> None:
    # bfloat16 has the range of float32, in which sums are made: a window of its largest numbers has no sum there.
    largest = torch.finfo(dtype).max / (1 if dtype == torch.float16 else 64)
    operator = case.operator().to(dtype)
    exactly = copy.deepcopy(operator).double()
    signs = images(2, CHANNELS, 6, 8).sign() if case.kind.domain == "real" else torch.ones(2, CHANNELS, 6, 8)
    mixed = signs * images(2, CHANNELS, 6, 8).abs().clamp(max=1)
    for x in (signs, signs.abs(), mixed):
        x = (x * largest).to(dtype).requires_grad_()
        pooled = operator(x)
        expected = exactly(x.detach().double())
        assert expected.isfinite().all()
        there = expected.abs() < 0.99 * torch.finfo(dtype).max
        eps = torch.finfo(dtype).eps
        assert pooled[there].isfinite().all()
        torch.testing.assert_close(pooled[there].double(), expected[there], rtol=8 * eps, atol=8 * eps * largest)
        if there.all():
            (gradient,) = torch.autograd.grad(pooled.sum(), x)
            assert gradient.isfinite().all()


@pytest.mark.quick(8)
@each()
@layouts
def test_nan_spreads_as_in_max_pooling(case: Case, layout: torch.memory_format) -> None:
    """To windows that have one, and where a value has a part in other results as well (a convolution's), to those.

    An operator with windows of its own has it wherever the value has a part, and one that chooses by the whole map
    somewhere in the channel.
    """
    operator, geometry = case.operator(), case.usual
    x = case.images(3, CHANNELS, 9, 8).contiguous(memory_format=layout)
    spoilt = torch.zeros_like(x, dtype=torch.bool)
    spoilt[0, 0, 4, 3] = spoilt[1, 2, 0, 0] = spoilt[1, 1, 8, 7] = True
    spoilt_windows = maximum(spoilt.float(), **geometry) > 0
    changed = torch.zeros_like(spoilt_windows)
    for other in (1e3, -1e3 if case.kind.domain == "real" else 1e-3):
        changed |= (operator(x.masked_fill(spoilt, other)) - operator(x)).abs() > 1e-3
    found = operator(x.masked_fill(spoilt, math.nan).requires_grad_()).isnan()
    assert not found[2].any()
    if not case.kind.is_equivariant:
        assert found.flatten(2).any(-1)[spoilt.flatten(2).any(-1)].all()
        return
    assert found[changed].all()
    if case.kind.geometries is None:
        assert found[spoilt_windows].all()
    if not (changed & ~spoilt_windows).any():
        assert not found[~spoilt_windows].any()


@pytest.mark.quick(3)
@each_geometry(lambda case: case.kind.geometries is None and case.kind.is_equivariant)
def test_nan_spreads_from_every_place_of_a_window(case: Case, geometry: dict[str, Any]) -> None:
    """One image for each place of the map, with NaN there."""
    spoilt = torch.eye(7 * 6, dtype=torch.bool).view(-1, 1, 7, 6).expand(-1, CHANNELS, -1, -1)
    x = case.images(1, CHANNELS, 7, 6).expand(spoilt.shape).masked_fill(spoilt, math.nan)
    assert case.operator(**geometry)(x).isnan()[maximum(spoilt.float(), **geometry) > 0].all()


# ---- state ----


@pytest.mark.quick(3)
@each()
def test_state_and_copies(case: Case) -> None:
    operator, x = case.operator(), case.images(2, CHANNELS, 8, 8)
    other = case.operator()
    for parameter in other.parameters():
        nn.init.ones_(parameter)
    other.load_state_dict(operator.state_dict())
    assert torch.equal(other(x), operator(x))
    assert torch.equal(copy.deepcopy(operator)(x), operator(x))


@pytest.mark.quick(8)
@each()
def test_evaluation_is_deterministic_and_the_same_in_inference(case: Case) -> None:
    operator, x = case.operator(), case.images(2, CHANNELS, 8, 8)
    state = copy.deepcopy(operator.state_dict())
    before = torch.random.get_rng_state()
    first, second = operator(x), operator(x)
    assert torch.equal(first, second)
    with torch.inference_mode():
        assert torch.equal(operator(x), first)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in operator.state_dict().items())


@pytest.mark.quick(8)
@each(lambda case: not case.kind.is_random)
def test_training_is_evaluation_where_nothing_is_random_and_no_batch_is_seen(case: Case) -> None:
    operator, x = case.operator(), case.images(2, CHANNELS, 8, 8)
    assert torch.equal(copy.deepcopy(operator).train()(x), operator(x)) != case.kind.sees_batch


@pytest.mark.quick(5)
@each(lambda case: any(True for _ in case.operator().parameters()))
def test_every_parameter_has_a_part_in_the_result(case: Case) -> None:
    operator = case.operator().train()
    parameters = dict(operator.named_parameters())
    gradients = torch.autograd.grad(operator(case.images(2, CHANNELS, 8, 8)).square().sum(), list(parameters.values()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


# ---- surroundings ----


@pytest.mark.quick(8)
@each()
def test_works_under_autocast(case: Case) -> None:
    operator, x = case.operator(), case.images(2, CHANNELS, 8, 8).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = operator(x)
    torch.testing.assert_close(pooled.float(), operator(x), rtol=0.05, atol=0.05)
    pooled.float().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.quick(6)
@each(lambda case: any(True for _ in case.operator().parameters()))
def test_parameters_follow_the_maps_dtype(case: Case) -> None:
    operator, x = case.operator(), case.images(2, CHANNELS, 8, 8)
    expected = operator(x)
    for dtype in (torch.bfloat16, torch.float64):
        pooled = operator(x.to(dtype))
        assert pooled.dtype == dtype
        torch.testing.assert_close(pooled.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.quick(4)
@each()
@layouts
def test_an_empty_batch_passes(case: Case, layout: torch.memory_format) -> None:
    x = torch.zeros(0, CHANNELS, 8, 8).contiguous(memory_format=layout).requires_grad_()
    for operator in (case.operator(), case.operator().train()):
        pooled = operator(x)
        assert pooled.shape == maximum(x, **case.usual).shape
        pooled.sum().backward()
        assert x.grad is not None
        assert x.grad.shape == x.shape


# ---- errors ----

GEOMETRY_ERRORS = [
    ({"kernel_size": 0}, r"`kernel_size` must be one or two whole numbers of at least 1, got 0"),
    ({"kernel_size": (2, 2, 2)}, r"`kernel_size` must be one or two whole numbers of at least 1, got \(2, 2, 2\)"),
    ({"kernel_size": 2.0}, r"`kernel_size` must be one or two whole numbers of at least 1, got 2.0"),
    ({"kernel_size": True}, r"`kernel_size` must be one or two whole numbers of at least 1, got True"),
    ({"stride": 0}, r"`stride` must be one or two whole numbers of at least 1, got 0"),
    ({"padding": -1}, r"`padding` must be one or two whole numbers of at least 0, got -1"),
    ({"kernel_size": 3, "padding": 2}, r"`padding` must be at most half of kernel_size=3, got 2"),
    ({"ceil_mode": 1}, r"`ceil_mode` must be true or false, got 1"),
]


@each(as_configured)
def test_geometry_errors(case: Case) -> None:
    for arguments, message in GEOMETRY_ERRORS:
        with pytest.raises(ValueError, match=message):
            case.operator(**(case.usual | arguments))


@each(as_configured, specs=SEQUENCES)
def test_geometry_errors_of_sequences(case: Case) -> None:
    for arguments, message in GEOMETRY_ERRORS:
        with pytest.raises(ValueError, match=message.replace("one or two whole numbers", "a whole number")):
            case.operator(**(case.usual | arguments))


@each(as_configured)
def test_dilation_and_implementation_errors(case: Case) -> None:
    if "dilation" in inspect.signature(case.kind).parameters:
        with pytest.raises(ValueError, match="`dilation` must be one or two whole numbers of at least 1, got 0"):
            case.operator(**case.usual, dilation=0)
    with pytest.raises(ValueError, match=r"`implementation` must be 'fast'.* got 'quick'"):
        Case(case.name, case.spec | {"implementation": "quick"}, "quick").operator()


@each(lambda case: case.kind.geometries is not None and as_configured(case))
def test_a_geometry_that_is_not_served_is_an_error(case: Case) -> None:
    with pytest.raises(ValueError, match=r"`(kernel_size|stride|padding|dilation)`.* must be .*, got"):
        case.operator(kernel_size=5, stride=1, padding=1)


@pytest.mark.quick(5)
@each(as_configured)
def test_a_map_smaller_than_the_window_is_an_error(case: Case) -> None:
    geometry = case.usual | {"padding": 0} if case.kind.geometries is None else case.usual
    with pytest.raises(ValueError, match=r"the map must be at least as large as the window .*, got 0x8"):
        case.operator(**geometry)(images(1, CHANNELS, 0, 8))
    if geometry.get("padding", 0) == 0:
        with pytest.raises(ValueError, match=r"the map must be at least as large as the window .*, got 1x8"):
            case.operator(**geometry)(images(1, CHANNELS, 1, 8, dtype=torch.float32))


@each(as_configured)
def test_shows_its_geometry(case: Case) -> None:
    assert "ceil_mode=False" in repr(case.operator())
