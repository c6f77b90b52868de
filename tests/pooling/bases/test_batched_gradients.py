"""Many gradients asked for at once: batches of them, Jacobians and Hessians, of every operator and head."""

from typing import Any

import pytest
import torch
import yaml
from pooling.cases import CHANNELS, Case, each
from torch import Tensor, func, nn
from torch.autograd import functional

from poolbench.paths import conf_dir
from poolbench.pooling import MaxPool2d, StochasticPool2d
from poolbench.spec import build

HEADS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "head").glob("*.yaml"))}
# torch's own, the first time that it differentiates forward.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:FutureWarning")


def check(operator: nn.Module, x: Tensor) -> None:
    """Compare gradients that are asked for together with the same one by one."""
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    wanted = [leaf, *operator.parameters()]
    y = operator(leaf)
    # Whole numbers and no unit vectors: few rows, and none of them zero.
    above = torch.randint(-3, 4, (3, *y.shape), generator=torch.Generator().manual_seed(2)).to(y)
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    rows = [torch.autograd.grad(y, wanted, row, **options) for row in above]
    expected = [None if parts[0] is None else torch.stack(parts) for parts in zip(*rows, strict=True)]

    together = torch.autograd.grad(y, wanted, above, is_grads_batched=True, **options)
    torch.testing.assert_close(list(together), expected)
    mapped = func.vmap(lambda row: torch.autograd.grad(y, leaf, row, retain_graph=True)[0])(above)
    torch.testing.assert_close(mapped, expected[0])
    # What is differentiated once more.
    (again,) = torch.autograd.grad(y, leaf, above, is_grads_batched=True, create_graph=True)
    if again.requires_grad:
        singly = torch.stack([torch.autograd.grad(y, leaf, row, create_graph=True)[0] for row in above])
        one, other = (torch.autograd.grad(found.square().sum(), wanted, **options) for found in (again, singly))
        torch.testing.assert_close(list(one), list(other))


def check_whole_matrices(operator: nn.Module, x: Tensor) -> None:
    """Compare Jacobian and Hessian with torch's, row by row."""

    def energy(x: Tensor) -> Tensor:
        return operator(x).square().sum()

    jacobian, hessian = functional.jacobian(operator, x), functional.hessian(energy, x)
    torch.testing.assert_close(functional.jacobian(operator, x, vectorize=True), jacobian)
    torch.testing.assert_close(func.jacrev(operator)(x), jacobian)
    torch.testing.assert_close(functional.hessian(energy, x, vectorize=True), hessian)
    torch.testing.assert_close(func.hessian(energy)(x), hessian)


@pytest.mark.quick(6)
@each()
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_window_operators(case: Case, layout: torch.memory_format) -> None:
    operator = case.operator(**case.usual).double()
    check(operator, case.images(2, CHANNELS, 5, 4, dtype=torch.float64).contiguous(memory_format=layout))


@pytest.mark.quick(4)
@each(lambda case: case.kind.is_random)
def test_random_operators_in_training(case: Case) -> None:
    check(case.operator(**case.usual).double().train(), case.images(2, CHANNELS, 5, 4, dtype=torch.float64))


@pytest.mark.slow
@each()
def test_whole_matrices_of_window_operators(case: Case) -> None:
    operator = case.operator(**case.usual).double()
    check_whole_matrices(operator, case.images(1, CHANNELS, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("pool", [MaxPool2d(3, 2, 1), StochasticPool2d(2).eval()], ids=str)
def test_whole_matrices(pool: nn.Module) -> None:
    x = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    check_whole_matrices(pool.double(), x)


@pytest.mark.quick(3)
@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str, implementation: str) -> None:
    torch.manual_seed(0)
    spec = {key: value for key, value in HEADS[name].items() if key != "name"}
    head: nn.Module = build(spec, {"channels": 16, "map_size": (16, 16), "num_classes": 3}, where="head")
    for part in head.modules():
        if hasattr(part, "implementation"):
            part.implementation = implementation
    # As many values as kernels of whole maps begin with.
    x = torch.rand(32, 16, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    check(head.double().eval(), x)
