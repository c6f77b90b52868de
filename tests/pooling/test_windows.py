"""Conformance of every window operator that a YAML of conf/pooling names: the folder is the list."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from poolbench.paths import conf_dir
from poolbench.pooling import (
    AvgPool2d,
    AvgTopKPool2d,
    MaxPool2d,
    MinPool2d,
    MixedPool2d,
    StridedConv2d,
    WindowPool2d,
)
from poolbench.spec import bind, build, locate

YAMLS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "pooling").glob("*.yaml"))}
SPECS: dict[str, dict[str, Any]] = {name: y["downsample"] for name, y in YAMLS.items() if y.get("downsample")}
# A convolution is the network's to scale: what holds for every weighted mean of a window does not hold for it.
MEANS = {name: spec for name, spec in SPECS.items() if not locate(spec["_target_"]).is_convolution}  # type: ignore[attr-defined]
CHANNELS = 3

each = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
each_mean = pytest.mark.parametrize("spec", MEANS.values(), ids=MEANS)
halves = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)


def operator_for(spec: dict[str, Any], **geometry: Any) -> nn.Module:
    """Build as a network does, with parameters that are not their starting values."""
    torch.manual_seed(0)
    context = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": False, "channels": CHANNELS} | geometry
    operator: nn.Module = build(spec, context, where="pooling.downsample")
    for parameter in operator.parameters():
        nn.init.normal_(parameter)
    return operator.eval()


def maximum(x: Tensor, **geometry: Any) -> Tensor:
    return nn.MaxPool2d(**({"kernel_size": 3, "stride": 2, "padding": 1} | geometry))(x)


def images(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


@st.composite
def places(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int]]:
    """Draw a geometry, with a window that has room for what the YAMLs ask for, and the size of a map."""
    kernel = draw(st.sampled_from([(2, 2), (3, 3), (3, 2), (1, 3), (2, 4)]))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    stride = draw(st.none() | st.integers(1, 4) | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    height, width = (draw(st.integers(k, k + 6)) for k in kernel)
    geometry = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    return geometry, (height, width)


# ---- slow references: the formula of each operator, one window at a time ----


def windows(operator: WindowPool2d, x: Tensor) -> Iterator[Tensor]:
    """Yield the values (B, C, n) that each window has, without padding, in the order of reading."""
    (kernel_h, kernel_w), (stride_h, stride_w) = operator.kernel_size, operator.stride
    rows, columns = maximum(x, **geometry_of(operator)).shape[-2:]
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride_h - operator.padding[0], column * stride_w - operator.padding[1]
            yield x[:, :, max(top, 0) : top + kernel_h, max(left, 0) : left + kernel_w].flatten(2)


def geometry_of(operator: WindowPool2d) -> dict[str, Any]:
    return {name: getattr(operator, name) for name in ("kernel_size", "stride", "padding", "ceil_mode")}


def by_window(number: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Turn a formula for the values of one window (B, C, n) → (B, C) into one for the map."""

    def reference(operator: Any, x: Tensor) -> Tensor:
        pooled = torch.stack([number(operator, values) for values in windows(operator, x)], dim=-1)
        return pooled.view(maximum(x, **geometry_of(operator)).shape)

    return reference


def top_k_mean(operator: AvgTopKPool2d, values: Tensor) -> Tensor:
    count = min(operator.k, values.shape[-1])
    return values.sort(-1, descending=True).values[..., :count].sum(-1) / count


def mixture(operator: MixedPool2d, values: Tensor) -> Tensor:
    share = 1 / (1 + torch.exp(-operator.logit))
    return share * values.amax(-1) + (1 - share) * values.sum(-1) / values.shape[-1]


def convolution(operator: StridedConv2d, x: Tensor) -> Tensor:
    (kernel_h, kernel_w), (stride_h, stride_w), (pad_h, pad_w) = operator.kernel_size, operator.stride, operator.padding
    assert operator.conv.bias is not None
    pooled = torch.empty_like(maximum(x, **geometry_of(operator)))
    x = F.pad(x, (pad_w, pad_w + stride_w + kernel_w, pad_h, pad_h + stride_h + kernel_h))
    for row in range(pooled.shape[-2]):
        for column in range(pooled.shape[-1]):
            top, left = row * stride_h, column * stride_w
            window = x[:, None, :, top : top + kernel_h, left : left + kernel_w]
            pooled[:, :, row, column] = (window * operator.conv.weight).sum((2, 3, 4)) + operator.conv.bias
    return pooled if operator.activation is None else pooled.clamp(min=0)


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    MaxPool2d: by_window(lambda operator, values: values.amax(-1)),
    AvgPool2d: by_window(lambda operator, values: values.sum(-1) / values.shape[-1]),
    MinPool2d: by_window(lambda operator, values: values.amin(-1)),
    AvgTopKPool2d: by_window(top_k_mean),
    MixedPool2d: by_window(mixture),
    StridedConv2d: convolution,
}


def reference_for(operator: nn.Module) -> Callable[[Any, Tensor], Tensor]:
    if type(operator) not in REFERENCES:
        pytest.fail(
            f"add a slow reference for {type(operator).__name__}, from its formula, to REFERENCES in {__file__}"
        )
    return REFERENCES[type(operator)]


# ---- the suite ----


def test_the_folder_is_seen() -> None:
    assert {"max", "avg_topk"} <= SPECS.keys()


@pytest.mark.parametrize("name", YAMLS)
def test_a_variant_is_complete(name: str) -> None:
    variant = YAMLS[name]
    assert set(variant) == {"name", "downsample", "head"}
    assert variant["name"] == name
    assert variant["downsample"] or variant["head"]


@each
def test_binds_to_its_signature(spec: dict[str, Any]) -> None:
    target, _ = bind(
        spec,
        {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False, "channels": CHANNELS},
        where="pooling.downsample",
    )
    assert target.kind == "window"


@each
@settings(max_examples=25, deadline=None)
@given(place=places())
def test_equals_its_formula_in_the_shape_of_max_pooling(
    spec: dict[str, Any], place: tuple[dict[str, Any], tuple[int, int]]
) -> None:
    geometry, size = place
    operator = operator_for(spec, **geometry).double()
    x = images(2, CHANNELS, *size, dtype=torch.float64)
    pooled = operator(x)
    assert pooled.shape == maximum(x, **geometry).shape
    with torch.no_grad():
        torch.testing.assert_close(pooled, reference_for(operator)(operator, x))


@each
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_gradient(spec: dict[str, Any], ceil_mode: bool) -> None:
    operator = operator_for(spec, ceil_mode=ceil_mode).double()
    x = images(2, CHANNELS, 6, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(operator, x)
    assert torch.autograd.gradgradcheck(operator, x)


@each_mean
@pytest.mark.parametrize("value", [0.0, -1.5])
@pytest.mark.parametrize("geometry", [{}, {"ceil_mode": True}, {"kernel_size": 2, "padding": 0}], ids=str)
def test_equal_values_keep_the_whole_gradient(spec: dict[str, Any], value: float, geometry: dict[str, Any]) -> None:
    x = torch.full((2, CHANNELS, 6, 8), value, dtype=torch.float64, requires_grad=True)
    pooled = operator_for(spec, **geometry).double()(x)
    torch.testing.assert_close(pooled, torch.full_like(pooled, value))
    gradient = torch.rand_like(pooled)
    pooled.backward(gradient)
    assert x.grad is not None
    torch.testing.assert_close(x.grad.sum((2, 3)), gradient.sum((2, 3)))


@each
@pytest.mark.parametrize("geometry", [{}, {"kernel_size": 2, "padding": 0}], ids=str)
def test_channels_last_stays_and_changes_nothing(spec: dict[str, Any], geometry: dict[str, Any]) -> None:
    operator = operator_for(spec, **geometry)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = images(2, CHANNELS, 8, 6).contiguous(memory_format=layout).requires_grad_()
        pooled = operator(x)
        assert pooled.is_contiguous(memory_format=layout)
        (gradient,) = torch.autograd.grad(pooled.square().sum(), x)
        assert gradient.is_contiguous(memory_format=layout)
        found.append((pooled, gradient))
    torch.testing.assert_close(*found)


@each
def test_a_view_of_a_larger_map_pools_as_its_copy(spec: dict[str, Any]) -> None:
    operator, whole = operator_for(spec), images(2, CHANNELS, 9, 12)
    view = whole[..., 1:, ::2]
    torch.testing.assert_close(operator(view), operator(view.contiguous()))


@each
@halves
@layouts
def test_half_precision_is_close_and_stays(
    spec: dict[str, Any], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    operator = operator_for(spec).to(dtype)
    x = images(2, CHANNELS, 8, 9, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    exact = copy.deepcopy(operator).double()(x.detach().double())
    pooled = operator(x)
    assert pooled.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(pooled.double(), exact, rtol=4 * eps, atol=4 * eps)
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


@each_mean
def test_half_precision_at_its_extremes_is_finite(spec: dict[str, Any]) -> None:
    operator, largest = operator_for(spec).half(), torch.finfo(torch.float16).max
    for value in (largest, -largest):
        pooled = operator(torch.full((1, CHANNELS, 6, 6), value, dtype=torch.float16))
        torch.testing.assert_close(pooled, torch.full_like(pooled, value))


@each
@layouts
def test_nan_spreads_as_in_max_pooling(spec: dict[str, Any], layout: torch.memory_format) -> None:
    x = images(2, CHANNELS, 9, 8).contiguous(memory_format=layout)
    x[0, 0, 4, 3] = x[1, 2, 0, 0] = x[1, 1, 8, 7] = math.nan
    operator = operator_for(spec)
    expected = maximum(x).isnan()
    if operator.is_convolution:  # which sees all channels
        expected = expected.any(1, keepdim=True).expand_as(expected)
    assert torch.equal(operator(x.requires_grad_()).isnan(), expected)


@each
def test_state_and_copies(spec: dict[str, Any]) -> None:
    operator, x = operator_for(spec), images(2, CHANNELS, 8, 8)
    other = operator_for(spec)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(operator.state_dict())
    assert torch.equal(other(x), operator(x))
    assert torch.equal(copy.deepcopy(operator)(x), operator(x))


@each
def test_evaluation_is_deterministic(spec: dict[str, Any]) -> None:
    operator, x = operator_for(spec), images(2, CHANNELS, 8, 8)
    assert torch.equal(operator(x), operator(x))


@each
def test_works_under_autocast(spec: dict[str, Any]) -> None:
    operator, x = operator_for(spec), images(2, CHANNELS, 8, 8).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = operator(x)
    torch.testing.assert_close(pooled.float(), operator(x), rtol=0.05, atol=0.05)
    pooled.float().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@each
def test_an_empty_batch_passes(spec: dict[str, Any]) -> None:
    x = torch.zeros(0, CHANNELS, 8, 8, requires_grad=True)
    pooled = operator_for(spec)(x)
    assert pooled.shape == (0, CHANNELS, 4, 4)
    pooled.sum().backward()


@each
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_equals_eager(spec: dict[str, Any], backend: str) -> None:
    torch._dynamo.reset()
    operator = operator_for(spec)
    compiled = torch.compile(operator, backend=backend, fullgraph=True)
    found = []
    for module in (operator, compiled):
        x = images(2, CHANNELS, 8, 6).requires_grad_()
        pooled = module(x)
        pooled.square().sum().backward()
        found.append((pooled, x.grad))
    torch.testing.assert_close(*found)


@each
@pytest.mark.slow
def test_exported_equals_eager(spec: dict[str, Any]) -> None:
    operator, x = operator_for(spec), images(2, CHANNELS, 8, 6)
    torch.testing.assert_close(torch.export.export(operator, (x,)).module()(x), operator(x))


@each
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 0}, r"`kernel_size` must be one or two whole numbers of at least 1, got 0"),
        ({"kernel_size": (2, 2, 2)}, r"`kernel_size` must be one or two .* got \(2, 2, 2\)"),
        ({"kernel_size": 2.0}, r"`kernel_size` must be one or two .* got 2.0"),
        ({"kernel_size": True}, r"`kernel_size` must be one or two .* got True"),
        ({"stride": 0}, r"`stride` must be one or two whole numbers of at least 1, got 0"),
        ({"padding": -1}, r"`padding` must be one or two whole numbers of at least 0, got -1"),
        ({"padding": 2}, r"`padding` must be at most half of kernel_size=3, got 2"),
        ({"ceil_mode": 1}, r"`ceil_mode` must be true or false, got 1"),
    ],
    ids=str,
)
def test_geometry_errors(spec: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        operator_for(spec, **arguments)


@each
def test_a_map_smaller_than_the_window_is_an_error(spec: dict[str, Any]) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        operator_for(spec, kernel_size=5, padding=0)(images(1, CHANNELS, 4, 8))


@each
def test_shows_its_geometry(spec: dict[str, Any]) -> None:
    assert "ceil_mode=False" in repr(operator_for(spec))
