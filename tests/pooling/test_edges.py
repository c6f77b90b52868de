"""Numbers at the edge of what a dtype has, precision whatever torch's default dtype, devices without memory."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pooling.cases import CHANNELS, OTHERS, Case, as_configured, each
from pooling.head_cases import CONTEXT, SPECS
from torch import Tensor, nn

from poolbench.pooling import (
    AdaPool2d,
    LehmerPool2d,
    LogSumExpPool2d,
    LpPool2d,
    PowerMeanPool2d,
    StochasticPool2d,
    WindowPool2d,
)
from poolbench.spec import build

implementations = pytest.mark.parametrize("implementation", ["fast", "torch"])
# The least numbers that there are, the least normal ones, and the largest.
SCALES = [2.0**-140, 2.0**-126, 2.0**-100, 2.0**100, 2.0**126, 2.0**127.99]


@pytest.fixture(params=[torch.bfloat16, torch.float16, torch.float64], ids=str)
def default_dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    was = torch.get_default_dtype()
    yield request.param
    torch.set_default_dtype(was)


def scaled(scale: float, *size: int) -> Tensor:
    x = torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.75 + 0.25
    return (x * scale).float()


@pytest.mark.quick(9)
@implementations
@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("operator", [AdaPool2d, LehmerPool2d, LpPool2d, PowerMeanPool2d, StochasticPool2d])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("above", [1.0, 100.0])
def test_values_and_gradients_are_those_of_float64(
    operator: Any, scale: float, training: bool, above: float, implementation: str
) -> None:
    if training and not operator.is_random:
        training = False
    x = scaled(scale, 1, 2, 6, 6)
    found = []
    pool = operator(2, implementation=implementation).train(training)
    exactly = copy.deepcopy(pool).double()
    for one, map_ in ((pool, x), (exactly, x.double())):
        leaf = map_.clone().requires_grad_()
        y = one(leaf)
        y.backward(torch.full_like(y, above))
        found += [y.double(), leaf.grad.double()]
    torch.testing.assert_close(found[0], found[2], rtol=1e-5, atol=2.0**-148)
    torch.testing.assert_close(found[1], found[3], rtol=1e-4, atol=1e-5 * above)


@implementations
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_log_sum_exp_of_infinite_values(dtype: torch.dtype, implementation: str) -> None:
    x = torch.tensor([[1.0, math.inf], [-math.inf, 2.0]], dtype=dtype)
    x = torch.stack([x, torch.full_like(x, -math.inf), torch.tensor([[1.0, -math.inf]] * 2, dtype=dtype)])[None]
    for padding in (0, 1):
        y = LogSumExpPool2d(2, 2, implementation=implementation)(x).flatten().float()
        assert y[:2].tolist() == [math.inf, -math.inf], padding
        torch.testing.assert_close(y[2].item(), 1 - math.log(2), rtol=1e-2, atol=0)


@implementations
def test_log_sum_exp_of_the_largest_numbers_of_float64(implementation: str) -> None:
    x = torch.full((1, 1, 2, 2), 1e300, dtype=torch.float64, requires_grad=True)
    y = LogSumExpPool2d(2, implementation=implementation)(x)
    y.backward()
    assert y.item() == 1e300
    assert x.grad is not None
    assert (x.grad == 0.25).all()


@pytest.mark.quick(4)
@each()
def test_float64_stays_exact_whatever_the_default_dtype(case: Case, default_dtype: torch.dtype) -> None:
    check_float64(case, default_dtype)


@pytest.mark.slow
@each(specs=OTHERS)
def test_float64_with_other_arguments_stays_exact(case: Case, default_dtype: torch.dtype) -> None:
    check_float64(case, default_dtype)


def check_float64(case: Case, default_dtype: torch.dtype) -> None:
    operator, x = case.operator().double(), case.images(2, CHANNELS, 8, 8, dtype=torch.float64)
    expected = operator(x)
    torch.set_default_dtype(default_dtype)
    torch.testing.assert_close(operator(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.quick(11)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_heads_in_float64_stay_exact_whatever_the_default_dtype(
    spec: dict[str, Any], default_dtype: torch.dtype
) -> None:
    head: nn.Module = build(spec, CONTEXT, where="head").double().eval()
    x = torch.rand(2, 4, 6, 5, dtype=torch.float64) + 0.1
    expected = head(x)
    torch.set_default_dtype(default_dtype)
    torch.testing.assert_close(head(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.quick(3)
@each(as_configured)
def test_a_meta_device_gives_the_shape(case: Case) -> None:
    x = case.images(2, CHANNELS, 12, 9)
    with torch.device("meta"):
        operator: WindowPool2d = case.operator()
    leaf = x.to("meta").requires_grad_()
    y = operator.train()(leaf)
    assert (y.device.type, y.shape) == ("meta", case.operator()(x).shape)
    y.sum().backward()
    assert leaf.grad is not None


@pytest.mark.quick(4)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_meta_device_gives_the_shape_of_features(spec: dict[str, Any]) -> None:
    x = torch.rand(2, 4, 6, 5)
    expected = build(spec, CONTEXT, where="head")(x).shape
    with torch.device("meta"):
        head: nn.Module = build(spec, CONTEXT, where="head")
    y = head(x.to("meta"))
    assert (y.device.type, y.shape) == ("meta", expected)
