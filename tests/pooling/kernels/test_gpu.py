"""Triton kernels: equal to plain torch in Triton's interpreter, which needs no GPU, and on one where there is one."""

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from poolbench.pooling import AvgTopKPool2d, MaxPool2d

pytest.importorskip("triton", reason="Triton is not installed: there are no kernels for GPUs")

# The interpreter is chosen when Triton is imported, so in a process of its own.
INTERPRETED = """
import warnings

import torch

from poolbench.pooling import *
from poolbench.pooling.kernels.gpu import launch as gpu
from poolbench.pooling.kernels.geometry import Geometry
from poolbench.pooling.kernels.plain import _value, spread_plain

warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of lanes that no window belongs to
torch.manual_seed(0)
pools = (
    MaxPool2d(3, 2, 1), MinPool2d(2, ceil_mode=True), AvgPool2d(3, 2, 1, ceil_mode=True), AvgTopKPool2d(2, k=2),
    TMaxAvgPool2d(2, k=2, threshold=0.5), MixedPool2d(3, 2, 1), RankWeightedPool2d(3, 2, 1), MAMPool2d(2),
    SoftPool2d(3, 2, 1), StochasticPool2d(2), LpPool2d(2, dilation=2), PowerMeanPool2d((1, 3), (2, 3)),
)
compared = 0
for pool in pools:
    for layout in (torch.contiguous_format, torch.channels_last):
        for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
            x = torch.rand(2, 5, 9, 8).to(dtype).contiguous(memory_format=layout)
            place = Geometry(pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.output_shape(9, 8))
            params, key, program = pool._params(x), torch.tensor(4000000000), pool.program
            y = gpu.window(x, params, key, program, place)
            expected = _value(x, params, key, program, place)
            gradient = torch.randn(y.shape).to(dtype).contiguous(memory_format=layout)
            kept = None if program.is_linear else x
            last = layout is torch.channels_last
            gx, gparams = gpu.window_gradient(gradient, kept, params, key, program, place, x.shape, last)
            other, others = spread_plain(gradient, x, params, key, program, place)
            tolerance = 1e-5 if dtype in (torch.float32, torch.float64) else 2e-2
            torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(gx, other, rtol=tolerance, atol=tolerance)
            assert y.stride() == expected.stride() and gx.stride() == other.stride()
            if others is not None:
                torch.testing.assert_close(gparams, others, rtol=1e-4, atol=1e-4, check_dtype=False)
            compared += 1
print(compared)
"""


def test_equals_plain_torch_in_the_interpreter() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "96"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("pool", [MaxPool2d(3, 2, 1), AvgTopKPool2d(2, k=2)], ids=str)
def test_equals_plain_torch_on_a_gpu(pool: MaxPool2d | AvgTopKPool2d, dtype: torch.dtype) -> None:
    found: list[tuple[Tensor, Tensor]] = []
    for implementation in ("torch", "triton"):
        pool.implementation = implementation
        x = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0)).to("cuda", dtype).requires_grad_()
        y = pool(x)
        found.append((y, torch.autograd.grad(y.square().sum(), x)[0]))
    torch.testing.assert_close(*found)
