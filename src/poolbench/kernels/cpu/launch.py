"""Kernels run on the CPU: which one a map gets, how it is shared out between threads, and what it needs beside it."""

import ctypes
import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from poolbench.kernels.cpu.buffers import Buffers
from poolbench.kernels.cpu.library import Kernel, has_tables, kernel
from poolbench.kernels.cpu.spec import ARGUMENTS, KernelSpec
from poolbench.kernels.cpu.team import addresses, run, threads_for
from poolbench.kernels.geometry import CACHE_LINE, Geometry
from poolbench.kernels.memory import address, arranged
from poolbench.kernels.plain import empty, wide_dtype
from poolbench.kernels.precision import lies_channels_last, memory_format
from poolbench.kernels.program import Program

# Bytes of a gradient that no cache of a core holds: to write it, a cache would first read what it replaces.
STREAMED = 8 * 2**20
CPU = torch.device("cpu")
LANES = {torch.float32: 16, torch.bfloat16: 16, torch.float64: 8}


def window(x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry) -> Tensor:
    """Return the results of all windows (B, C, H', W'); see `plain.pool_plain` for the arguments."""
    last = lies_channels_last(x)
    out = empty(x, (*x.shape[:2], *geometry.shape), last)
    _run(program, geometry, x.shape, last, x=x, out=out, params=params, key=key)
    return out


def window_gradient(
    gradient: Tensor,
    x: Tensor | None,
    params: Tensor | None,
    key: Tensor | None,
    program: Program,
    geometry: Geometry,
    size: Any,
    channels_last: bool,
) -> tuple[Tensor, Tensor]:
    """Return what the map and the parameters get of the gradient of the results."""
    gx = empty(gradient, tuple(size), channels_last)
    gparams = _run(program, geometry, size, channels_last, x=x, out=gx, gradient=gradient, params=params, key=key)
    return gx, gparams


def _run(
    program: Program,
    geometry: Geometry,
    size: Any,
    channels_last: bool,
    *,
    x: Tensor | None,
    out: Tensor,
    gradient: Tensor | None = None,
    params: Tensor | None = None,
    key: Tensor | None = None,
) -> Tensor:
    """Fill `out` by a kernel; return the gradients of the parameters, if it is gradients that are asked for."""
    layout = memory_format(channels_last)
    dtype, wide, maps, results = out.dtype, wide_dtype(out.dtype), tuple(size), (*size[:2], *geometry.shape)
    derivative = gradient is not None
    count = program.params if derivative else 0
    if out.numel() == 0 or min(size) == 0:
        out.zero_()
        return torch.zeros((count, size[1]) if count else (0,), dtype=wide, device=CPU)
    plan = _plan(program, geometry, maps, dtype, channels_last, derivative, torch.get_num_threads())
    pointers = [0] * 6
    if not (derivative and program.is_linear):
        x = None if x is None else arranged(x, layout)
        pointers[0] = address("the map", x, device=CPU, dtype=dtype, shape=maps, layout=layout)
    shape = maps if derivative else results
    pointers[1] = address("the result", out, device=CPU, dtype=dtype, shape=shape, layout=layout)
    if gradient is not None:
        gradient = arranged(gradient, layout)
        pointers[2] = address("the gradient", gradient, device=CPU, dtype=dtype, shape=results, layout=layout)
    if program.params:
        params = None if params is None else arranged(params.to(wide), torch.contiguous_format)
        shape = (program.params, size[1])
        pointers[3] = address("the parameters", params, device=CPU, dtype=wide, shape=shape)
    gparams = None
    if count:
        shape = (plan.threads, count, size[1])
        gparams = torch.zeros(shape, dtype=wide, device=CPU)
        pointers[4] = address("the parameters' gradients", gparams, device=CPU, dtype=wide, shape=shape)
    if plan.scratch_bytes:
        # Of sums, rows begin and end with zeros that are never written; cotangents, and a ring of rows, begin at 0.
        make = torch.zeros if plan.clear_scratch else torch.empty
        shape = (plan.threads * plan.scratch_bytes,)
        scratch = make(shape, dtype=torch.uint8, device=CPU)
        pointers[5] = address("scratch memory", scratch, device=CPU, dtype=torch.uint8, shape=shape)
    table = (ctypes.c_int64 * (8 + len(plan.fixed)))(
        *pointers, plan.scratch_bytes, 0 if key is None else int(key), *plan.fixed
    )
    run(plan.kernel, table, plan.threads)
    return torch.empty(0, dtype=wide, device=CPU) if gparams is None else gparams.sum(0)


@dataclass(frozen=True)
class _Plan:
    """How maps of one size are worked on: the kernel, and the part of its table that is always the same."""

    kernel: Kernel
    fixed: tuple[int, ...]
    scratch_bytes: int
    clear_scratch: bool
    threads: int


@functools.lru_cache(maxsize=4096)
def _plan(
    program: Program,
    geometry: Geometry,
    size: tuple[int, int, int, int],
    dtype: torch.dtype,
    channels_last: bool,
    derivative: bool,
    most_threads: int,
) -> _Plan:
    if math.prod(geometry.kernel_size) != program.size:
        raise ValueError(f"the window {geometry.kernel_size} must have {program.size} values for {program.name}")
    batch, channels, height, width = size
    lanes = _lanes(LANES[dtype], channels if channels_last else 0, geometry)
    vectors = channels // lanes
    # A thread takes whole images, or blocks of channels where there are too few of them.
    blocks = max(1, min(vectors, math.ceil(most_threads / batch))) if channels_last else 1
    spec = KernelSpec(
        derivative=derivative,
        channels_last=channels_last,
        dtype=str(dtype).removeprefix("torch."),
        kernel_size=geometry.kernel_size,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        lanes=lanes,
        masked=_masked(LANES[dtype], geometry, (height, width), channels_last),
        disjoint=geometry.is_disjoint,
        streaming=derivative and _streams(geometry, size, lanes, dtype, blocks if channels_last else 0),
        in_sums=_in_sums(program, geometry),
        tables=has_tables(),
    )
    threads = threads_for(math.prod(size), batch * (blocks if channels_last else channels), most_threads)
    across = math.ceil(vectors / blocks) * spec.lanes if channels_last else 1
    values = {
        "batch": batch,
        "channels": channels,
        "height": height,
        "width": width,
        "rows": geometry.shape[0],
        "columns": geometry.shape[1],
        "blocks": blocks,
        "zero_first": int(not (spec.disjoint and geometry.covers((height, width)))),
    }
    values["thread_of"], values["threads_of"] = addresses()
    wide = 8 if dtype is torch.float64 else 4
    held = spec.ring if channels_last else height
    scratch = held * width * across * wide + CACHE_LINE if spec.accumulates_apart else 0
    values["pitch"] = 0
    if spec.in_sums and program.sums is not None:
        buffers = Buffers(program.sums, spec, program.params)
        values["pitch"] = buffers.pitch(width, geometry.shape[1], across)
        scratch += buffers.places()["end"] * values["pitch"] * wide
    return _Plan(
        kernel(program, spec),
        tuple(values[name] for name in ARGUMENTS[8:]),
        # Whole cache lines, so that threads do not share one.
        math.ceil(scratch / CACHE_LINE) * CACHE_LINE,
        spec.in_sums or (spec.accumulates_apart and channels_last),
        threads,
    )


def _in_sums(program: Program, geometry: Geometry) -> bool:
    """Return whether a function of sums is run as such: where that saves slow operations in the derivative.

    It does where windows overlap, or where the derivative is simpler. No row may lie between two windows: a row is
    finished as soon as a window begins behind it, and then must have been prepared.
    """
    made = program.sums
    # Of a linear one the map is not kept, which the kernel reads.
    if (
        made is None
        or program.is_linear
        or geometry.stride[0] > (geometry.kernel_size[0] - 1) * geometry.dilation[0] + 1
    ):
        return False
    # A window has as many new values as there are steps from the one before it.
    return math.prod(geometry.stride) * made.summands.slow + made.cotangents.slow < program.derivative.slow


def _lanes(most: int, channels: int, geometry: Geometry) -> int:
    """Return how many results are worked on at a time: a vector of channels, or of windows in a row."""
    if channels:
        return math.gcd(channels, most)
    while most > 4 and (most * 2 > geometry.shape[1] * 3 or most * geometry.stride[1] > 64):
        most //= 2
    return most


def _streams(geometry: Geometry, size: tuple[int, ...], lanes: int, dtype: torch.dtype, blocks: int) -> bool:
    """Return whether gradients are better written past the caches: see `STREAMED`.

    Every vector is written whole, once, and fills aligned cache lines, by itself or together with the next of the same
    thread. `blocks` are those of an image's channels, 0 where contiguous.
    """
    width, bytes_each = size[3], dtype.itemsize
    if math.prod(size) * bytes_each < STREAMED:
        return False
    if blocks:
        least = CACHE_LINE // 2 if blocks == 1 else CACHE_LINE
        once = not geometry.is_disjoint or geometry.covers((size[2], size[3]))
        return lanes * bytes_each >= least and once
    return (
        geometry.is_disjoint
        and geometry.covers((size[2], size[3]))
        and geometry.stride[1] == geometry.kernel_size[1]
        and geometry.padding[1] == 0
        and width * bytes_each % CACHE_LINE == 0
        and lanes * geometry.stride[1] * bytes_each % CACHE_LINE == 0
    )


def _masked(most: int, geometry: Geometry, size: tuple[int, int], channels_last: bool) -> bool:
    """Return whether some windows need the border's code."""
    if geometry.has_border(size):
        return True
    if channels_last:
        return False
    lanes = _lanes(most, 0, geometry)
    stride, last = geometry.stride[1], (geometry.kernel_size[1] - 1) * geometry.dilation[1]
    return geometry.shape[1] % lanes > 0 or geometry.shape[1] * stride + last - last % stride > size[1]
