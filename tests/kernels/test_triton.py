"""Kernels for GPUs: equal to plain torch in Triton's interpreter, which needs no GPU; `tests/gpu` runs them on one.

The interpreter runs the source, and knows nothing of what the compiler makes of it.
"""

import os
import subprocess
import sys

import pytest

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu.blocks import Axis, Text
from poolbench.pooling import MaxPool2d

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


@pytest.mark.slow
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
    launch._launch_of.cache_clear()
    launch._kernel.cache_clear()
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


@pytest.mark.slow
def test_a_kernel_is_compared_with_torch_before_it_is_used() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", PROVEN], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    said = (
        "the gradient of MixedPool2d by a kernel disagrees with torch's own operations on this GPU for maps like "
        "(2, 3, 4, 4) in torch.float32: set implementation=fast for it, and please report this with the versions of "
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


UNKEPT = """
import os
import pwd

for name in ("HOME", "XDG_CACHE_HOME", "POOLBENCH_KERNEL_CACHE"):
    os.environ.pop(name, None)


def none(user):
    raise KeyError(user)


pwd.getpwuid = none
import torch

from poolbench.kernels.compiled import COMPILED
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu import launch
from poolbench.pooling import MaxPool2d

pool, x = MaxPool2d(2, implementation="torch"), torch.rand(1, 2, 4, 4)
place = Geometry(pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.output_shape(4, 4))
assert torch.equal(launch.window(x, None, None, pool.program, place), pool(x))
print(COMPILED.unkept)
"""


@pytest.mark.slow
def test_the_source_needs_no_folder() -> None:
    """A user without a home folder, and without an account that could name one, runs kernels unkept."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", UNKEPT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "no home folder" in done.stdout
