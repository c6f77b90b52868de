"""Heads that a compiled kernel takes: equal to the plain formula, and they say what computed a map."""

import copy
import io
import math
from typing import Any

import pytest
import torch
from pooling.bases.test_implementations import TOLERANCES, Seen
from pooling.heads.test_heads import CONTEXT, SPECS, head_for, images_for
from torch import Tensor, nn

from poolbench.errors import ConfigurationError
from poolbench.kernels import operator as kernels
from poolbench.pooling.bases.head import HeadPool2d
from poolbench.pooling.heads.class_maps import ClassMaps
from poolbench.pooling.heads.global_gem import GlobalGeMPool2d
from poolbench.pooling.heads.global_log_sum_exp import GlobalLogSumExp2d
from poolbench.pooling.heads.whole_map import GlobalAvgPool2d
from poolbench.pooling.windows.power_means import PowerMeanPool2d
from poolbench.spec import build

# The first three have values enough for a kernel, and the first so many windows that these are taken likewise.
LARGE, EVEN, UNEVEN, SMALL = (32, 16, 64, 64), (64, 16, 16, 16), (32, 16, 19, 21), (64, 4, 7, 7)
WITH_KERNELS = {
    "gem": (GlobalGeMPool2d, {}),
    "gem[channel]": (GlobalGeMPool2d, {"p": 1.7, "eps": 0.01, "per": "channel", "channels": 16}),
    "log_sum_exp": (GlobalLogSumExp2d, {}),
    "log_sum_exp[learned]": (GlobalLogSumExp2d, {"beta": 4.0, "learned": True}),
}
each_with_kernels = pytest.mark.parametrize(("kind", "own"), WITH_KERNELS.values(), ids=WITH_KERNELS)
OURS = {name: spec for name, spec in SPECS.items() if spec["_target_"].startswith("poolbench.")}
each = pytest.mark.parametrize("spec", OURS.values(), ids=OURS)
layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
sizes = pytest.mark.parametrize("size", [LARGE, EVEN, UNEVEN], ids=str)
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def values(*size: int, seed: int = 3) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def computed(head: nn.Module, x: Tensor, above: Tensor) -> list[Tensor]:
    """Return the features, and the gradients of the map and of all parameters."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    features: Tensor = head(x)
    return [features, *torch.autograd.grad(features, [x, *head.parameters()], above)]


def plainly(head: HeadPool2d) -> HeadPool2d:
    plain = copy.deepcopy(head)
    plain.implementation = "torch"
    return plain


@pytest.mark.quick(1)
@each_with_kernels
@sizes
@layouts
@dtypes
def test_kernels_and_the_formula_agree(
    kind: type[HeadPool2d], own: dict[str, Any], size: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype
) -> None:
    head, x = kind(**own).to(dtype), values(*size).to(dtype).contiguous(memory_format=layout)
    assert head.implementation_for(x) == ("fast", "")
    above = values(*size[:2], seed=4).abs().to(dtype)  # of one sign: the sum over all that a number learns is large
    exact = computed(plainly(head).double(), x.double(), above.double())
    for fast, expected in zip(computed(head, x, above), exact, strict=True):
        assert fast.dtype == dtype
        assert fast.ndim < 4 or fast.is_contiguous(memory_format=layout)
        tolerance = TOLERANCES[dtype] * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(fast.double(), expected, rtol=TOLERANCES[dtype], atol=tolerance)


@pytest.mark.quick(2)
@each_with_kernels
def test_rounding_the_windows_to_half_precision_stays_within_that_of_the_result(
    kind: type[HeadPool2d], own: dict[str, Any]
) -> None:
    head, x = kind(**own).bfloat16(), values(*EVEN).bfloat16()
    exact = plainly(head).double()(x.double())
    eps = torch.finfo(torch.bfloat16).eps
    torch.testing.assert_close(head(x).double(), exact, rtol=eps, atol=eps / 4)


@layouts
def test_where_windows_are_many_they_are_taken_by_windows_too(
    layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, ...]] = []

    runner = kernels.runner

    def noted(x: Tensor, *rest: Any) -> Any:
        taken.append((*x.shape[2:], x.element_size()))
        return runner(x, *rest)

    monkeypatch.setattr(kernels, "runner", noted)
    GlobalLogSumExp2d()(torch.rand(LARGE, dtype=torch.bfloat16).contiguous(memory_format=layout))
    # With the channels side by side until one result is left. Nothing is rounded to half precision in between.
    to_the_end = [(16, 1, 4)] if layout == torch.channels_last else []
    assert taken == [(16, 256, 2), (16, 16, 4), *to_the_end]
    taken.clear()
    GlobalLogSumExp2d()(torch.rand(EVEN).contiguous(memory_format=layout))
    assert taken == [(16, 16, 4), *to_the_end]
    taken.clear()
    GlobalGeMPool2d()(torch.rand(UNEVEN).contiguous(memory_format=layout))
    assert taken == [(399, 1, 4) if layout == torch.channels_last else (19, 21, 4)], "its windows count differently"


@pytest.mark.quick(5)
@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [(2, 4, 8, 8), (8, 4, 64, 64)], ids=str)
def test_says_what_computes(spec: dict[str, Any], dtype: torch.dtype, size: tuple[int, ...]) -> None:
    head = head_for(spec).to(dtype)
    x = images_for(head, *size, dtype=dtype).requires_grad_()
    with Seen() as seen:
        head(x).float().sum().backward()
    answer, reason = head.implementation_for(x)
    assert (answer == "fast") == any(name.startswith("poolbench::") for name in seen.names)
    assert (reason == "") == (answer == "fast")


@pytest.mark.quick(4)
@each
def test_torch_can_be_asked_for(spec: dict[str, Any]) -> None:
    head: nn.Module = build(spec | {"implementation": "torch"}, CONTEXT, where="head")
    x = images_for(head, 8, 4, 64, 64)
    with Seen() as seen:
        head(x)
    assert not any(name.startswith("poolbench::") for name in seen.names)
    assert head.implementation_for(x) == ("torch", "implementation=torch")


@each
@pytest.mark.parametrize("other", ["cuda", "triton"])
def test_another_implementation_is_an_error(spec: dict[str, Any], other: str) -> None:
    with pytest.raises(ConfigurationError, match=f"`implementation` must be 'fast' or 'torch', got '{other}'"):
        build(spec | {"implementation": other}, CONTEXT, where="head")


def test_why_not_a_kernel() -> None:
    head, x = GlobalGeMPool2d(), torch.rand(EVEN)
    assert GlobalAvgPool2d().implementation_for(x)[1] == "the operator has no kernel"
    assert (
        head.implementation_for(torch.rand(1, 2, 4, 4))[1]
        == "the map is so small that torch's own operations are faster"
    )
    assert head.implementation_for(x.half())[1] == "no kernel for float16"
    assert "on cpu, the map is on meta" in head.implementation_for(x.to("meta"))[1]
    asked: list[str] = []

    def sum_of(given: Tensor) -> Tensor:
        asked.append(head.implementation_for(given)[1])
        return head(given).sum()

    torch.func.grad(sum_of)(x)
    assert asked == ["a transform of torch.func, or a tangent, needs torch's own operations"]
    assert ClassMaps(16, 3, GlobalAvgPool2d()).implementation_for(x)[1] == "the operator has no kernel"
    assert ClassMaps(16, 16, GlobalGeMPool2d()).implementation_for(x) == ("fast", "")
    assert ClassMaps(16, 16, GlobalGeMPool2d()).implementation_for(x[:1, :, :4, :4])[0] == "torch", "fewer values"


@pytest.mark.quick(2)
@each_with_kernels
def test_only_the_heads_own_numbers_are_parameters(kind: type[HeadPool2d], own: dict[str, Any]) -> None:
    head = kind(**own)
    names = ["p"] if kind is GlobalGeMPool2d else ["log_beta"] if own.get("learned") else []
    assert list(head.state_dict()) == [name for name, _ in head.named_parameters()] == names
    x, buffer = values(*EVEN).float(), io.BytesIO()
    torch.save(head, buffer)
    for other in (copy.deepcopy(head), torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)):
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(0.5)
        assert torch.equal(other(x), head(x)) == (not names), "each has numbers of its own"
        other.load_state_dict(head.state_dict())
        assert torch.equal(other(x), head(x))


@pytest.mark.quick(2)
@each_with_kernels
@sizes
@layouts
def test_infinite_values_and_nan(
    kind: type[HeadPool2d], own: dict[str, Any], size: tuple[int, ...], layout: torch.memory_format
) -> None:
    head, x = kind(**own), values(*size).float().contiguous(memory_format=layout)
    for image, special in enumerate((torch.inf, -torch.inf, torch.nan, 3e38, -3e38)):
        x[image, :, 3, 5] = special
    x[5] = -torch.inf
    plain = plainly(head)
    torch.testing.assert_close(head(x), plain(x), rtol=1e-5, atol=1e-5, equal_nan=True)
    assert head(x)[2].isnan().all()
    gradients = computed(head, x[6:], torch.ones(len(x) - 6, 16))
    assert all(each.isfinite().all() for each in gradients), "no image sees another's"


@pytest.mark.quick(2)
@pytest.mark.parametrize("p", [-3.0, 0.1, 3.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@layouts
def test_means_of_the_largest_numbers(p: float, dtype: torch.dtype, layout: torch.memory_format) -> None:
    head = GlobalGeMPool2d().to(dtype)
    head.p.data.fill_(p)
    most = torch.finfo(dtype).max
    x = torch.full(LARGE, most / 3, dtype=dtype)
    x[1] = most / 1.2
    x[2, :, ::2] = most / 1.5
    x[3] = torch.inf
    x[4, :, 7, 9] = torch.inf
    x[5, :, :4] = torch.inf
    x[6] = torch.inf
    x[6, :, 60, 3] = torch.nan
    y = head(x.contiguous(memory_format=layout)).double()
    few = x[:, :1].double()
    logs = few.flatten(2).log() * head.p.double()
    exact = ((logs.logsumexp(2) - math.log(64 * 64)) / head.p.double()).exp()
    # A logarithm near 710, or 89, is known to so many digits only, and so is what it is that of.
    torch.testing.assert_close(y, exact.expand_as(y), rtol=max(TOLERANCES[dtype], 1e-12), atol=0.0, equal_nan=True)


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", [GlobalGeMPool2d, GlobalLogSumExp2d])
@layouts
def test_ties_keep_the_whole_gradient(kind: type[HeadPool2d], layout: torch.memory_format) -> None:
    x = torch.ones(UNEVEN).contiguous(memory_format=layout).requires_grad_()
    (gradient,) = torch.autograd.grad(kind()(x).sum(), x)
    torch.testing.assert_close(gradient.sum((2, 3)), torch.ones(UNEVEN[:2]), rtol=1e-4, atol=1e-4)


@pytest.mark.quick(1)
@each_with_kernels
def test_second_derivatives(kind: type[HeadPool2d], own: dict[str, Any]) -> None:
    head, x = kind(**own).double(), values(*EVEN).requires_grad_()
    found = []
    for module in (head, plainly(head)):
        asked = [x, *module.parameters()]
        first = torch.autograd.grad(module(x).sum(), asked, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), asked))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@each_with_kernels
@layouts
def test_compiled_by_kernels(kind: type[HeadPool2d], own: dict[str, Any], layout: torch.memory_format) -> None:
    torch._dynamo.reset()
    head = kind(**own)
    compiled = torch.compile(head, backend="eager", fullgraph=True)
    for size in (EVEN, UNEVEN, SMALL):
        x = values(*size[:1], 16, *size[2:]).float().contiguous(memory_format=layout)
        above = torch.ones(size[0], 16)
        for one, other in zip(computed(compiled, x, above), computed(head, x, above), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("eps", [0.0, -1.0, torch.inf, 1e-39, True, "small"])
def test_the_least_value_of_a_power_mean_has_a_rule(eps: Any) -> None:
    with pytest.raises(ValueError, match=r"`eps` must be a finite number of at least 1\.18e-38, got"):
        PowerMeanPool2d(2, eps=eps)


@pytest.mark.slow
def test_less_than_the_least_value_counts_as_that() -> None:
    for implementation in ("fast", "torch"):
        x = torch.tensor([[[[0.1, 0.5], [-3.0, 0.5]]]], requires_grad=True)
        y = PowerMeanPool2d(2, eps=0.25, p=1.0, implementation=implementation)(x)
        y.backward()
        torch.testing.assert_close(y.item(), (0.25 + 0.5 + 0.25 + 0.5) / 4)
        assert x.grad is not None
        torch.testing.assert_close(x.grad, torch.tensor([[[[0.0, 0.25], [0.0, 0.25]]]]))
