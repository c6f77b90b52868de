"""Kernels for GPUs as the machine code that Triton makes of them, run without a GPU: see `ptx.py`.

Triton's interpreter runs the source and knows nothing of what the compiler does to it. This has found what the
interpreter let pass.
"""

from typing import Any

import numpy as np
import pytest
import torch
from kernels import ptx
from pooling.cases import CASES, CHANNELS, Case, geometries_of
from torch import Tensor

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu import launch
from poolbench.kernels.plain import plain_value, spread_plain
from poolbench.pooling import AvgTopKPool2d, MaxPool2d, MixedPool2d, TapPool2d

triton = pytest.importorskip("triton", reason="Triton is not installed: there are no kernels for GPUs")

FORMULAS = {
    name: case for name, case in CASES.items() if case.implementation == "fast" and issubclass(case.kind, TapPool2d)
}
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-9, torch.bfloat16: 2e-2}
NAMES = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.int64: "i64"}
layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)


class Emulated:
    """A kernel of Triton's that is compiled for a Hopper GPU, and run here."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int]) -> Any:
        return lambda *arguments, **settings: self.run(grid[0], arguments, settings)

    def run(self, blocks: int, arguments: tuple[Any, ...], settings: dict[str, Any]) -> None:
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        named = dict(zip(self.kernel.arg_names, arguments, strict=False)) | settings
        signature, constants, known, given = {}, {}, {}, []
        for at, name in enumerate(self.kernel.arg_names):
            value = named[name]
            # What Triton takes for granted of an argument when it is called: 1, and multiples of 16.
            if isinstance(value, Tensor):
                signature[name], known[at,] = f"*{NAMES[value.dtype]}", [["tt.divisibility", 16]]
                given.append(flat(value, poisoned=name in ("out", "partial")))
            elif name in settings or value == 1:
                signature[name], constants[at,] = "constexpr", value
            else:
                signature[name] = "i32"
                given.append(value)
                if value % 16 == 0:
                    known[at,] = [["tt.divisibility", 16]]
        options = {name: settings[name] for name in ("num_warps", "enable_fp_fusion")}
        source = ASTSource(self.kernel, signature, constants, known)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        ptx.run(made.asm["ptx"], given, blocks)


def flat(tensor: Tensor, *, poisoned: bool) -> np.ndarray:
    """Return the memory of a tensor; of one that is to be written, filled with NaN first."""
    memory = tensor.detach().as_strided((tensor.numel(),), (1,))
    if poisoned:
        memory.fill_(torch.nan)
    found: np.ndarray = (memory.view(torch.int16) if memory.dtype is torch.bfloat16 else memory).numpy()
    return found


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> Any:
    compiled = launch._kernel
    launch._plan.cache_clear()
    monkeypatch.setattr(launch, "_kernel", lambda text: Emulated(compiled(text)))
    yield
    launch._plan.cache_clear()


def check(pool: TapPool2d, x: Tensor) -> None:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    program, key = pool.program, torch.tensor(4000000000)
    shape = pool.output_shape(*x.shape[-2:])
    place = Geometry(pool.kernel_size, pool.stride, pool.padding, pool.dilation, shape)
    params = pool._params(x)
    params = None if params is None else params.detach()
    expected = plain_value(x, params, key, program, place)
    close(launch.window(x, params, key, program, place), expected)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3)).to(expected)
    kept = None if program.is_linear else x
    gx, shares = launch.window_gradient(gradient, kept, params, key, program, place, x.shape, last)
    other, others = spread_plain(gradient, x, params, key, program, place)
    close(gx, other)
    if others is not None:
        close(shares, others.to(shares.dtype))


def close(found: Tensor, expected: Tensor) -> None:
    tolerance = TOLERANCES[expected.dtype]
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * scale)


@layouts
def test_some_kernels_as_machine_code(layout: torch.memory_format) -> None:
    draw = torch.Generator().manual_seed(0)
    for pool, size, dtype in (
        (MaxPool2d((2, 3), 1, (1, 0), dilation=(2, 1)), (2, 3, 11, 8), torch.float32),
        (AvgTopKPool2d(3, 2, 1, k=3), (1, 16, 6, 16), torch.bfloat16),
        (MixedPool2d(2, ceil_mode=True), (2, 3, 5, 1), torch.float64),
    ):
        check(pool.to(dtype), torch.rand(size, generator=draw).to(dtype).contiguous(memory_format=layout))


@pytest.mark.slow
@layouts
@pytest.mark.parametrize("case", FORMULAS.values(), ids=FORMULAS)
def test_every_kernel_as_machine_code(case: Case, layout: torch.memory_format) -> None:
    for geometry in geometries_of(case.kind):
        check(case.operator(**geometry), case.images(2, CHANNELS, 11, 8).contiguous(memory_format=layout))
    for dtype in (torch.float64, torch.bfloat16):
        x = case.images(2, CHANNELS, 12, 16, dtype=dtype).contiguous(memory_format=layout)
        check(case.operator().to(dtype), x)


@pytest.mark.slow
@layouts
@pytest.mark.parametrize("size", [(1, 2, 70, 90), (16, 64, 5, 5), (3, 5, 40, 33)], ids=str)
def test_kernels_of_many_blocks_as_machine_code(size: tuple[int, ...], layout: torch.memory_format) -> None:
    x = torch.rand(size, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    for pool in (AvgTopKPool2d(3, 2, 1, k=3), MixedPool2d(2), MaxPool2d(3, 1, 1)):
        check(pool, x)


def test_faults_are_found() -> None:
    """The emulator itself: a fault in what it runs, or an instruction by which threads share, is no silence."""
    memory = ptx.Memory()
    address = memory.add(np.zeros(4, np.float32))
    at = np.array([address, address])
    with pytest.raises(AssertionError, match="two threads give two values"):
        memory.store(at, np.array([[1, 0, 0, 0], [2, 0, 0, 0]], np.uint8))
    with pytest.raises(AssertionError, match="given two values"):
        memory.store(at[:1], np.array([[3, 0, 0, 0]], np.uint8))
    with pytest.raises(AssertionError, match="outside the tensor"):
        memory.load(at + 16, 4)
    with pytest.raises(AssertionError, match="not aligned"):
        memory.load(at + 2, 4)
    text = ".visible .entry k(.param .u32 k_param_0) .reqntid 32 {\n bar.sync 0;\n ret;\n}"
    with pytest.raises(ptx.UnknownInstructionError, match=r"bar\.sync"):
        ptx.run(text, [1], 1)
