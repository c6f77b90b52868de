"""Compiled kernels against plain torch, for every operator that has both: equal values, gradients, ties and draws."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pooling.cases import CASES, CHANNELS, Case, each, each_geometry, images, layouts, many, places
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from poolbench.kernels.cpu.library import unavailable
from poolbench.pooling import WindowPool2d

each_with_kernels = each(lambda case: case.implementation == "fast")
TOLERANCES = {torch.float32: 2e-5, torch.float64: 1e-10, torch.bfloat16: 2e-2}
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


class Seen(TorchDispatchMode):
    """Notes every operation that torch is given."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def test_kernels_run_on_this_machine() -> None:
    """Without them half of the suite would not be run: better to say so than to leave it out."""
    assert unavailable() == ""
    assert "max-fast" in CASES


@pytest.mark.quick(6)
@each()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_says_what_computes(case: Case, dtype: torch.dtype) -> None:
    operator, x = case.operator().to(dtype), case.images(2, CHANNELS, 8, 8, dtype=dtype).requires_grad_()
    with Seen() as seen:
        operator(x).float().sum().backward()
    by_kernel = any(name.startswith("poolbench::") for name in seen.names)
    answer, reason = operator.implementation_for(x)
    assert answer == ("fast" if by_kernel else "torch")
    assert (reason == "") == (answer == "fast")


def computed(operator: Any, x: Tensor) -> list[Tensor]:
    """Return the result, and the gradients of the map and of all parameters."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    pooled = operator(x)
    above = images(*pooled.shape, dtype=pooled.dtype).to(x.device)
    return [pooled, *torch.autograd.grad(pooled, [x, *operator.parameters()], above, allow_unused=True)]


def other_way(operator: Any) -> Any:
    """Return a copy, of which nothing is computed by kernels."""
    plain = copy.deepcopy(operator)
    for part in plain.modules():
        if isinstance(part, WindowPool2d):
            part.implementation = "torch"
    return plain


def check_agreement(operator: Any, x: Tensor) -> None:
    tolerance, plainly = TOLERANCES[x.dtype], other_way(operator)
    for fast, plain in zip(computed(operator, x), computed(plainly, x), strict=True):
        if fast is None or plain is None:
            assert fast is plain
            continue
        assert fast.dtype == plain.dtype
        if fast.ndim == 4:
            layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
            assert fast.is_contiguous(memory_format=layout)
            assert plain.is_contiguous(memory_format=layout)
        torch.testing.assert_close(fast, plain, rtol=tolerance, atol=tolerance * max(1.0, plain.abs().max().item()))


@pytest.mark.quick(4)
@each_with_kernels
@dtypes
@layouts
def test_kernels_and_torch_agree(case: Case, dtype: torch.dtype, layout: torch.memory_format) -> None:
    for x in case.kinds_of_images(2, CHANNELS, 7, 10, dtype=dtype).values():
        check_agreement(case.operator().to(dtype), x.contiguous(memory_format=layout))


@pytest.mark.quick(3)
@each(lambda case: case.implementation == "fast" and case.kind.is_random)
@dtypes
@layouts
def test_kernels_and_torch_draw_the_same(case: Case, dtype: torch.dtype, layout: torch.memory_format) -> None:
    operator = case.operator().to(dtype).train()
    for x in case.kinds_of_images(2, CHANNELS, 7, 10, dtype=dtype).values():
        check_agreement(operator, x.contiguous(memory_format=layout))


@pytest.mark.quick(3)
@each_geometry(lambda case: case.implementation == "fast")
def test_kernels_and_torch_agree_in_each_geometry(case: Case, geometry: dict[str, Any]) -> None:
    operator = case.operator(**geometry)
    for x in case.kinds_of_images(2, CHANNELS, 11, 8).values():
        check_agreement(operator, x)


@pytest.mark.slow
@each_with_kernels
@many
@given(data=st.data())
def test_kernels_and_torch_agree_in_many_geometries(case: Case, data: st.DataObject) -> None:
    geometry, size = data.draw(places(case.kind))
    dtype = data.draw(st.sampled_from(list(TOLERANCES)))
    layout = data.draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    x = case.kinds_of_images(2, CHANNELS, *size, dtype=dtype)[data.draw(st.sampled_from(case.kinds))]
    check_agreement(case.operator(**geometry).to(dtype), x.contiguous(memory_format=layout))


@pytest.mark.quick(5)
@each(lambda case: case.implementation == "torch")
def test_tritons_kernels_can_be_asked_for_everywhere(case: Case) -> None:
    """An operator without a formula has none, and says so; none takes those of the CPU instead."""
    operator = Case(case.name, case.spec | {"implementation": "triton"}, "triton").operator()
    x = case.images(2, CHANNELS, 8, 8)
    ran, reason = operator.implementation_for(x)
    assert ran == "torch"
    assert "triton" in reason or reason in ("the operator has no kernel", "a window of one value needs no kernel")
    assert torch.equal(operator(x), case.operator()(x))
