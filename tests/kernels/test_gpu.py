"""Kernels for GPUs: equal to plain torch in Triton's interpreter, which needs no GPU, and on one where there is one."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from pooling.cases import CASES, CHANNELS, Case, geometries_of
from torch import Tensor, nn

from poolbench.kernels.compiled import COMPILED
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu.blocks import Axis, Text
from poolbench.pooling import AvgTopKPool2d, MaxPool2d, MedianPool2d, MixedPool2d, StochasticPool2d

pytest.importorskip("triton", reason="Triton is not installed: there are no kernels for GPUs")

# The interpreter is chosen when Triton is imported, so in a process of its own. It is slow: the quick part takes each
# operator in one layout and one dtype.
INTERPRETED = """
import itertools
import sys
import warnings

import torch

from poolbench.pooling import *
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu import launch
from poolbench.kernels.plain import plain_value, spread_plain

warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of lanes that no window belongs to
torch.manual_seed(0)
pools = (
    MaxPool2d(3, 2, 1), MinPool2d(2, ceil_mode=True), AvgPool2d(3, 2, 1, ceil_mode=True), AvgTopKPool2d(2, k=2),
    TMaxAvgPool2d(2, k=2, threshold=0.5), MixedPool2d(3, 2, 1), RankWeightedPool2d(3, 1, 1), MAMPool2d(2, padding=1),
    SoftPool2d(3, 2, 1), StochasticPool2d(2), LpPool2d(2, dilation=2), PowerMeanPool2d((1, 3), (2, 3)),
    MixedPool2d(2, 3), MaxPool2d((2, 5), (1, 3), (1, 2)),
)
dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
layouts = (torch.contiguous_format, torch.channels_last)
every, size = itertools.product(pools, layouts, dtypes), (9, 8)
if sys.argv[1] == "some":
    every, size = [(pool, layouts[at % 2], dtypes[at // 2 % 4]) for at, pool in enumerate(pools)], (5, 6)
compared = 0
for pool, layout, dtype in every:
    x = torch.rand(2, 5, *size).to(dtype).contiguous(memory_format=layout)
    place = Geometry(pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.output_shape(*size))
    params, key, program = pool._params(x), torch.tensor(4000000000), pool.program
    y = launch.window(x, params, key, program, place)
    expected = plain_value(x, params, key, program, place)
    gradient = torch.randn(y.shape).to(dtype).contiguous(memory_format=layout)
    kept, last = None if program.is_linear else x, layout is torch.channels_last
    gx, gparams = launch.window_gradient(gradient, kept, params, key, program, place, x.shape, last)
    other, others = spread_plain(gradient, x, params, key, program, place)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-10}.get(dtype, 2e-2)
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gx, other, rtol=tolerance, atol=tolerance)
    assert y.stride() == expected.stride() and gx.stride() == other.stride()
    if others is not None:
        torch.testing.assert_close(gparams, others, rtol=1e-4, atol=1e-4, check_dtype=False)
    compared += 1
print(compared)
"""


@pytest.mark.parametrize(
    ("which", "compared"), [("some", "14"), pytest.param("all", "112", marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_equals_plain_torch_in_the_interpreter(which: str, compared: str) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", INTERPRETED, which]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == compared


PROVEN = """
import torch

from poolbench.pooling import MixedPool2d
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu import launch, proof

pool, size = MixedPool2d(2), torch.Size((5, 3, 4, 4))
place = Geometry(pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.output_shape(4, 4))


def prove(derivative):
    launch._plan.cache_clear()
    launch._proven.clear()
    launch.prove(pool.program, place, size, False, derivative, torch.float32, torch.device("cpu"))


before = torch.get_rng_state()
prove(False)
prove(True)
assert torch.equal(torch.get_rng_state(), before)
honest = proof.spread_plain
for fault in (
    lambda gx, gparams: (gx.roll(1, -1), gparams),
    lambda gx, gparams: (gx, gparams * 1.1),
    lambda gx, gparams: (torch.where(gx == gx.max(), torch.nan, gx), gparams),
):
    proof.spread_plain = lambda *given: fault(*honest(*given))
    try:
        prove(True)
    except RuntimeError as error:
        print(error)
"""


def test_a_kernel_is_compared_with_torch_before_it_is_used() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", PROVEN], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    said = (
        "the gradient of MixedPool2d by a kernel disagrees with torch's own operations on this GPU for maps like "
        "(2, 3, 4, 4) in torch.float32: set implementation=torch for it, and please report this with the versions of "
        "torch and Triton"
    )
    assert done.stdout.splitlines() == [said] * 3


@pytest.mark.parametrize("taps", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_cell_knows_every_window_that_reaches_into_it(taps: int, stride: int, dilation: int) -> None:
    for padding in range(-2, taps // 2 + 1):
        axis = Axis(taps, stride, padding, dilation)
        # Of a cell in the middle of a long map, window by window and value by value.
        cell, values = 20, set(range(20 * stride, 21 * stride))
        reach = {w for w in range(100) if {w * stride - padding + t * dilation for t in range(taps)} & values}
        assert {cell + window for window in range(axis.first, axis.last + 1)} >= reach
        for window in range(axis.first, axis.last + 1):
            for tap in range(taps):
                assert cell * stride + axis.place(tap, window) == (cell + window) * stride - padding + tap * dilation


def test_what_always_lies_in_the_map_is_not_asked_about() -> None:
    pool = MaxPool2d(3, 2, 1)

    def conditions(height: int, width: int) -> int:
        shape = pool.output_shape(height, width)
        place = Geometry(pool.kernel_size, pool.stride, pool.padding, pool.dilation, shape)
        return Text(pool.program, place, place.outside((height, width)), True, False).written().count("tl.where")

    # Of an even map only the first row and column of a window can lie outside, of an odd one the last ones as well.
    assert conditions(8, 8) < conditions(9, 8) < conditions(9, 9)


# ---- on a GPU ----

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
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
    """Compare an operator by kernels with itself by torch's own operations, both on the GPU."""
    found = []
    for implementation in ("fast", "torch"):
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


@needs_gpu
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


@needs_gpu
def test_says_that_a_kernel_computes_on_a_gpu() -> None:
    x = torch.zeros(1, 1, 8, 8, device="cuda")
    for dtype in TOLERANCES:
        assert MaxPool2d(2).implementation_for(x.to(dtype)) == ("fast", "")
    assert MaxPool2d(2).implementation_for(x.int()) == ("torch", "no kernel for int32")
    # Three windows of a row reach into a cell.
    assert MedianPool2d(5, 2, 2).implementation_for(x)[1] == "the window of 25 values is too large for a kernel"
    assert MedianPool2d(5).implementation_for(x) == ("fast", "")


@needs_gpu
@pytest.mark.parametrize("pool", [MaxPool2d(3, 2, 1), AvgTopKPool2d(3, 2, 1, k=3), MixedPool2d(3, 2, 1)], ids=str)
def test_second_derivatives_on_a_gpu(pool: nn.Module) -> None:
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, device="cuda", requires_grad=True)
    pool = pool.to("cuda", torch.float64)
    assert torch.autograd.gradcheck(pool, x)
    assert torch.autograd.gradgradcheck(pool, x)


@needs_gpu
def test_is_captured_in_a_graph() -> None:
    pool, x = AvgTopKPool2d(3, 2, 1, k=3), torch.randn(2, 8, 16, 16, device="cuda")
    pool(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = pool(x)
    x.copy_(torch.randn_like(x))
    graph.replay()
    assert torch.equal(y, pool(x))


@needs_gpu
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own, of a first import
@pytest.mark.parametrize("pool", [MaxPool2d(3, 2, 1), StochasticPool2d(2)], ids=str)
def test_compiled_equals_eager_on_a_gpu(pool: nn.Module) -> None:
    x = torch.rand(2, 3, 8, 8, device="cuda")
    pool = pool.cuda().eval()
    torch._dynamo.reset()
    assert torch.equal(torch.compile(pool, backend="aot_eager", fullgraph=True)(x), pool(x))


@needs_gpu
def test_the_sum_of_gradients_has_one_order() -> None:
    pool, x = AvgTopKPool2d(3, 1, 1, k=5), torch.randn(4, 16, 40, 40, device="cuda")
    first = results(pool, x)[1]
    assert all(torch.equal(results(pool, x)[1], first) for _ in range(5))  # type: ignore[arg-type]


@needs_gpu
def test_what_is_compiled_is_counted() -> None:
    before = COMPILED.made + COMPILED.loaded, COMPILED.seconds
    MaxPool2d((1, 7), (1, 5))(torch.randn(1, 1, 9, 33, device="cuda"))
    assert COMPILED.made + COMPILED.loaded == before[0] + 1
    assert COMPILED.seconds > before[1]
