"""Autocast to bfloat16 on a CPU without instructions for it: the same values and dtypes by products in float32."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from training.recipes import network, protocol, run

from poolbench.kernels import autocast as subject
from poolbench.kernels.autocast import ProductsInFloat32, autocast, products, products_in_float32
from poolbench.kernels.precision import without_autocast

CPU = torch.device("cpu")
DRAW = torch.Generator().manual_seed(0)
A, B = torch.randn(6, 7, generator=DRAW), torch.randn(7, 8, generator=DRAW)
STACK, OTHER = torch.randn(3, 6, 7, generator=DRAW), torch.randn(3, 7, 8, generator=DRAW)
MAP = torch.randn(2, 3, 9, 9, generator=DRAW)
Call = Callable[[], Tensor]
CALLS: dict[str, Call] = {
    "conv1d": lambda: F.conv1d(MAP[:, :, 0], torch.ones(4, 3, 3)),
    "conv2d": lambda: F.conv2d(MAP, torch.ones(4, 3, 3, 3), torch.ones(4), padding=1),
    "conv3d": lambda: F.conv3d(MAP[:, None], torch.ones(4, 1, 3, 3, 3)),
    "conv_transpose2d": lambda: F.conv_transpose2d(MAP, torch.ones(3, 4, 2, 2), stride=2),
    "linear": lambda: F.linear(A, B.T, bias=torch.ones(8)),
    "@": lambda: A @ B,
    "matmul": lambda: A.matmul(B),
    "torch.mm": lambda: torch.mm(A, B),
    "bmm": lambda: STACK.bmm(OTHER),
    "addmm": lambda: torch.addmm(torch.ones(8), A, B),
    "baddbmm": lambda: torch.baddbmm(torch.ones(3, 6, 8), STACK, OTHER),
    "einsum": lambda: torch.einsum("ij,jk->ik", A, B),
    "einsum of a list": lambda: torch.einsum("ij,jk->ik", [A, B]),
    "attention": lambda: F.scaled_dot_product_attention(STACK, STACK, STACK),
    "in bfloat16": lambda: A.bfloat16() @ B.bfloat16(),
    "float64": lambda: A.double() @ B.double(),
    "a sum": lambda: A.sum(dim=1),
    "pooling": lambda: F.max_pool2d(MAP, 2),
    "not a product": lambda: A * 3 + 1,
}


@pytest.fixture
def without_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "has_bfloat16", lambda: False)


class Seen(TorchDispatchMode):
    """Keeps the dtypes of what convolutions and matrix products are given."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.convolution, torch.ops.aten.addmm, torch.ops.aten.mm):
            self.dtypes |= {one.dtype for one in args if isinstance(one, Tensor)}
        return func(*args, **kwargs or {})


@pytest.mark.usefixtures("without_instructions")
@pytest.mark.parametrize("name", CALLS)
def test_values_and_dtypes_are_those_of_autocast(name: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        expected = CALLS[name]()
    with autocast(CPU, torch.bfloat16):
        found = CALLS[name]()
    assert found.dtype == expected.dtype
    # One rounding to bfloat16 of sums in another order; where both compute in another dtype, nothing.
    tolerance = 2**-7 if found.dtype == torch.bfloat16 else 0.0
    assert torch.allclose(
        found.double(), expected.double(), rtol=tolerance, atol=tolerance * float(expected.abs().max())
    )
    assert torch.equal(CALLS[name](), CALLS[name]())


@pytest.mark.usefixtures("without_instructions")
def test_gradients_are_those_of_autocast() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 5))

    def gradients(context: Any) -> list[Tensor]:
        net.zero_grad()
        with context:
            out = net(MAP)
        F.cross_entropy(out.float(), torch.tensor([1, 3])).backward()
        return [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]

    native = gradients(torch.autocast("cpu", torch.bfloat16))
    found = gradients(autocast(CPU, torch.bfloat16))
    for one, other in zip(found, native, strict=True):
        assert one.dtype == other.dtype == torch.float32
        # They come out of products in bfloat16, so they are its numbers; a rounding here moves some a little further.
        assert torch.equal(one, one.bfloat16().float())
        assert float((one - other).norm()) <= 0.03 * float(other.norm())


@pytest.mark.usefixtures("without_instructions")
def test_it_acts_only_within_autocast_to_bfloat16() -> None:
    with ProductsInFloat32():
        assert torch.equal(A @ B, torch.mm(A, B))
        assert (A @ B).dtype == torch.float32
        with torch.autocast("cpu", torch.float16):
            assert (A @ B).dtype == torch.float16
    with autocast(CPU, torch.bfloat16), without_autocast(A):
        assert (A @ B).dtype == torch.float32
    with autocast(CPU, torch.float32):
        assert (A @ B).dtype == torch.float32


@pytest.mark.parametrize(
    ("has", "dtype", "device", "wanted"),
    [
        (False, torch.bfloat16, "cpu", True),
        (True, torch.bfloat16, "cpu", False),
        (False, torch.float32, "cpu", False),
        (False, torch.bfloat16, "cuda", False),
    ],
)
def test_where_products_are_in_float32(
    has: bool, dtype: torch.dtype, device: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "has_bfloat16", lambda: has)
    assert products_in_float32(torch.device(device), dtype) is wanted
    assert isinstance(products(torch.device(device), dtype), ProductsInFloat32) is wanted


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the CPU has instructions for bfloat16."""
    monkeypatch.setattr(subject, "has_bfloat16", lambda: request.param)
    return bool(request.param)


def test_training_and_validation_compute_so(instructions: bool) -> None:
    with Seen() as seen:
        run(network(), protocol=protocol(epochs=1, precision="bfloat16"))
    assert seen.dtypes == {torch.bfloat16 if instructions else torch.float32}


@pytest.mark.usefixtures("without_instructions")
def test_a_compiled_network_computes_so() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(7, 8)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with autocast(CPU, torch.bfloat16):
        expected, found = layer(A), compiled(A)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
