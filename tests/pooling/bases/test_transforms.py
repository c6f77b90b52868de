"""Transforms of torch: forward-mode differentiation, torch.func's grad and vmap, of every operator."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from pooling.cases import CHANNELS, Case, each
from torch import Tensor, func, nn
from torch.autograd import forward_ad

from poolbench.paths import conf_dir
from poolbench.pooling import AvgPool2d, MaxPool2d, PowerMeanPool2d, StochasticPool2d
from poolbench.spec import build

HEADS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "head").glob("*.yaml"))}
# torch's own, the first time that it differentiates forward.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:FutureWarning")


def check(operator: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Compare every transform with what autograd says of single images."""
    tangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    leaf = x.clone().requires_grad_()
    y = operator(leaf)
    # u·J by autograd, differentiated by u along v, is J·v.
    u = torch.zeros_like(y, requires_grad=True)
    (back,) = torch.autograd.grad(y, leaf, u, create_graph=True)
    (expected,) = torch.autograd.grad(back, u, tangent)

    result, forward = func.jvp(operator, (x,), (tangent,))
    torch.testing.assert_close(result, y.detach())
    torch.testing.assert_close(forward, expected)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(operator(forward_ad.make_dual(x, tangent)))
    torch.testing.assert_close(dual.tangent, expected)

    def energy(image: Tensor) -> Tensor:
        return operator(image[None]).square().sum()

    gradients = torch.stack([func.grad(energy)(image) for image in x])
    torch.testing.assert_close(gradients, torch.autograd.grad(y.square().sum(), leaf)[0])
    torch.testing.assert_close(func.vmap(func.grad(energy))(x), gradients)
    results = torch.stack([operator(image[None])[0] for image in x])
    torch.testing.assert_close(func.vmap(lambda image: operator(image[None])[0])(x), results)


@pytest.mark.quick(6)
@each()
def test_window_operators(case: Case) -> None:
    torch.manual_seed(0)
    operator = case.operator(**case.usual).double().eval()
    check(
        operator, torch.rand(2, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    )


@pytest.mark.quick(9)
@each()
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_map_that_is_not_transformed_itself(case: Case, layout: torch.memory_format) -> None:
    """Within a transform torch wraps what it makes of plain tensors, too: no kernel can read that."""
    torch.manual_seed(0)
    operator, x = case.operator(**case.usual).eval(), case.images(2, CHANNELS, 8, 8).contiguous(memory_format=layout)
    y = operator(x).detach()
    torch.testing.assert_close(func.grad(lambda w: (operator(x) * w).sum())(torch.ones_like(y)), y)


@pytest.mark.quick(6)
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_map_of_a_head_that_is_not_transformed_itself(name: str, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    spec = {key: value for key, value in HEADS[name].items() if key != "name"}
    head: nn.Module = build(spec, {"channels": 16, "map_size": (16, 16), "num_classes": 3}, where="head").eval()
    x = torch.rand(64, 16, 16, 16).contiguous(memory_format=layout)
    y = head(x).detach()
    torch.testing.assert_close(func.grad(lambda w: (head(x) * w).sum())(torch.ones_like(y)), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str) -> None:
    torch.manual_seed(0)
    spec = {key: value for key, value in HEADS[name].items() if key != "name"}
    head: nn.Module = build(spec, {"channels": 4, "num_classes": 3}, where="head")
    check(head.double().eval(), torch.rand(2, 4, 8, 8, dtype=torch.float64) + 0.1)


def test_a_tangent_is_not_lost_by_a_kernel() -> None:
    x = torch.rand(1, 2, 4, 4)
    assert AvgPool2d(2).implementation_for(x) == ("fast", "")
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        why = "a transform of torch.func, or a tangent, needs torch's own operations"
        assert AvgPool2d(2).implementation_for(dual) == ("torch", why)
        assert forward_ad.unpack_dual(MaxPool2d(2)(dual)).tangent.tolist() == [[[[1.0, 1.0], [1.0, 1.0]]] * 2]


def test_a_learned_number_may_be_what_is_transformed() -> None:
    pools = [PowerMeanPool2d(2, p=p) for p in (1.0, 2.0, 5.0)]
    x = torch.rand(1, 2, 4, 4) + 0.1
    parameters, buffers = func.stack_module_state(pools)  # type: ignore[arg-type]

    def run(parameters: Any, buffers: Any) -> Any:
        return func.functional_call(pools[0], (parameters, buffers), (x,))

    together = func.vmap(run)(parameters, buffers)
    torch.testing.assert_close(together, torch.stack([pool(x) for pool in pools]))


def test_a_random_operator_draws_one_value_of_each_window() -> None:
    pool, x = StochasticPool2d(2), torch.rand(1, 2, 4, 4).expand(3, -1, -1, -1)
    drawn = func.grad(lambda image: pool(image[None]).sum())(x[0])
    assert drawn.count_nonzero() == 8  # one value of each window


def test_a_bare_module_of_torchs_agrees() -> None:
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64)
    tangent = torch.rand_like(x)
    ours, theirs = (func.jvp(pool, (x,), (tangent,))[1] for pool in (MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1)))
    torch.testing.assert_close(ours, theirs)
