"""Triton's kernels on a GPU: they agree with torch's own operations, and are taken only where they are asked for."""

from typing import Any

import pytest
import torch
from pooling.cases import CASES, CHANNELS, Case, geometries_of
from torch import Tensor, nn

from poolbench.kernels.compiled import COMPILED
from poolbench.pooling import AvgTopKPool2d, MaxPool2d, MedianPool2d, MixedPool2d, StochasticPool2d

KERNELS = {name: case for name, case in CASES.items() if case.implementation == "fast"}
TOLERANCES = {torch.float32: 2e-5, torch.float64: 1e-10, torch.float16: 5e-3, torch.bfloat16: 2e-2}


def exact_convolutions() -> Any:
    """Return a context in which convolutions on a GPU do not round to TensorFloat-32."""
    return torch.backends.cudnn.flags(allow_tf32=False)


def results(operator: nn.Module, x: Tensor) -> list[Tensor | None]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = operator(x)
    above = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y)
    return [y, *torch.autograd.grad(y, [x, *operator.parameters()], above, allow_unused=True)]


def check(case: Case, geometry: dict[str, Any], x: Tensor, *, training: bool) -> None:
    """Compare an operator by Triton's kernels with itself by torch's own operations, both on the GPU."""
    found = []
    for implementation in ("triton", "torch"):
        operator = case.operator(**geometry).to("cuda", x.dtype).train(training)
        for part in operator.modules():
            if hasattr(part, "implementation"):
                part.implementation = implementation
        found.append(results(operator, x))
    for number, (one, other) in enumerate(zip(*found, strict=True)):
        if one is None or other is None:
            assert one is other
            continue
        # What a parameter gets is a sum over all windows, in another order, in which much cancels.
        tolerance = TOLERANCES[x.dtype] * (1 if number < 2 else 20)
        assert one.is_cuda
        assert one.dtype == other.dtype
        if number < 2 and not any(isinstance(part, nn.Conv2d) for part in operator.modules()):
            # Not compared: torch's convolutions on a GPU, a blur's too, have a layout of their own.
            assert one.is_contiguous(
                memory_format=torch.contiguous_format if x.is_contiguous() else torch.channels_last
            )
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("case", KERNELS.values(), ids=KERNELS)
def test_kernels_agree_with_torch_on_a_gpu(case: Case) -> None:
    layouts = (torch.contiguous_format, torch.channels_last)
    with exact_convolutions():
        for geometry in geometries_of(case.kind):
            for layout in layouts:
                for x in case.kinds_of_images(2, CHANNELS, 11, 8).values():
                    check(case, geometry, x.cuda().contiguous(memory_format=layout), training=False)
        for dtype in (torch.float64, torch.float16, torch.bfloat16):
            for layout in layouts:
                x = case.images(2, CHANNELS, 12, 10, dtype=dtype).cuda().contiguous(memory_format=layout)
                check(case, case.usual, x, training=case.kind.is_random)
        # Many blocks, of several widths: nothing may hang on where one ends.
        for layout in layouts:
            check(
                case,
                case.usual,
                case.images(3, CHANNELS, 70, 90).cuda().contiguous(memory_format=layout),
                training=True,
            )


def test_says_that_a_kernel_computes_on_a_gpu() -> None:
    x = torch.zeros(1, 1, 8, 8, device="cuda")
    for dtype in TOLERANCES:
        assert MaxPool2d(2, implementation="triton").implementation_for(x.to(dtype)) == ("triton", "")
        assert MaxPool2d(2).implementation_for(x.to(dtype))[0] == "torch"
    assert MaxPool2d(2, implementation="triton").implementation_for(x.int()) == ("torch", "no kernel for int32")
    # Three windows of a row reach into a cell.
    overlapping, apart = (MedianPool2d(5, *own, implementation="triton") for own in ((2, 2), ()))
    assert overlapping.implementation_for(x)[1] == "the window of 25 values is too large for a kernel"
    assert apart.implementation_for(x) == ("triton", "")


@pytest.mark.parametrize(
    "pool",
    [
        MaxPool2d(3, 2, 1, implementation="triton"),
        AvgTopKPool2d(3, 2, 1, k=3, implementation="triton"),
        MixedPool2d(3, 2, 1, implementation="triton"),
    ],
    ids=str,
)
def test_second_derivatives_on_a_gpu(pool: nn.Module) -> None:
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, device="cuda", requires_grad=True)
    pool = pool.to("cuda", torch.float64)
    assert torch.autograd.gradcheck(pool, x)
    assert torch.autograd.gradgradcheck(pool, x)


def test_is_captured_in_a_graph() -> None:
    pool, x = AvgTopKPool2d(3, 2, 1, k=3, implementation="triton"), torch.randn(2, 8, 16, 16, device="cuda")
    pool(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = pool(x)
    x.copy_(torch.randn_like(x))
    graph.replay()
    assert torch.equal(y, pool(x))


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own, of a first import
@pytest.mark.parametrize(
    "pool", [MaxPool2d(3, 2, 1, implementation="triton"), StochasticPool2d(2, implementation="triton")], ids=str
)
def test_compiled_equals_eager_on_a_gpu(pool: nn.Module) -> None:
    x = torch.rand(2, 3, 8, 8, device="cuda")
    pool = pool.cuda().eval()
    torch._dynamo.reset()
    assert torch.equal(torch.compile(pool, backend="aot_eager", fullgraph=True)(x), pool(x))


def test_the_sum_of_gradients_has_one_order() -> None:
    pool, x = AvgTopKPool2d(3, 1, 1, k=5, implementation="triton"), torch.randn(4, 16, 40, 40, device="cuda")
    first = results(pool, x)[1]
    assert all(torch.equal(results(pool, x)[1], first) for _ in range(5))  # type: ignore[arg-type]


def test_what_is_compiled_is_counted() -> None:
    before = COMPILED.made + COMPILED.loaded, COMPILED.seconds
    MaxPool2d((1, 7), (1, 5), implementation="triton")(torch.randn(1, 1, 9, 33, device="cuda"))
    assert COMPILED.made + COMPILED.loaded == before[0] + 1
    assert COMPILED.seconds > before[1]
