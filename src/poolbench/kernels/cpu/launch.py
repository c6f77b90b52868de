"""Kernels run on the CPU: which one a map gets, how it is shared out between threads, and what it needs beside it."""

import functools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from poolbench.kernels.cpu.buffers import Buffers
from poolbench.kernels.cpu.library import Kernel, has_tables, kernel
from poolbench.kernels.cpu.spec import ARGUMENTS, KernelSpec
from poolbench.kernels.cpu.team import addresses, run_by_team, threads_for
from poolbench.kernels.geometry import CACHE_LINE, Geometry
from poolbench.kernels.memory import made, placed
from poolbench.kernels.plain import wide_dtype
from poolbench.kernels.precision import lies_channels_last, memory_format
from poolbench.kernels.program import Program

# Bytes of a gradient that no cache of a core holds: to write it, a cache would first read what it replaces.
STREAMED = 8 * 2**20
CPU = torch.device("cpu")
LANES = {torch.float32: 16, torch.bfloat16: 16, torch.float64: 8}
# What of a kernel's table differs from call to call: the first eight of `ARGUMENTS`.
CHANGING = struct.Struct("8q")


def window(x: Tensor, params: Tensor | None, key: Tensor | int | None, program: Program, geometry: Geometry) -> Tensor:
    """Return the results of all windows (B, C, H', W'); see `plain.pool_plain` for the arguments."""
    return ready(x, params, program, geometry).window(x, params, key)


def window_gradient(
    gradient: Tensor,
    x: Tensor | None,
    params: Tensor | None,
    key: Tensor | int | None,
    program: Program,
    geometry: Geometry,
    size: Sequence[int],
    channels_last: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return what the map and the parameters get of the gradient of the results; None where there are none."""
    shared = params is not None and params.shape[-1] == 1
    found = _ready(program, geometry, torch.Size(size), gradient.dtype, channels_last, shared)
    return found.window_gradient(gradient, x, params, key)


def ready(x: Tensor, params: Tensor | None, program: Program, geometry: Geometry) -> "Ready":
    """Return what runs a program on maps like this one, with parameters like these."""
    shared = params is not None and params.shape[-1] == 1
    return _ready(program, geometry, x.shape, x.dtype, lies_channels_last(x), shared)


class Ready:
    """What runs a program on maps of one size, dtype and layout: decided once, since a small map takes less time.

    Args:
        program, geometry, size, dtype, channels_last: what, and on which maps.
        shared: whether all channels have the same parameters.
    """

    def __init__(
        self,
        program: Program,
        geometry: Geometry,
        size: torch.Size,
        dtype: torch.dtype,
        channels_last: bool,
        shared: bool,
    ) -> None:
        self.program, self.geometry, self.size = program, geometry, size
        self._decided = program, geometry, size, dtype, channels_last, shared
        # For the number of threads that there were.
        self._value: tuple[int, _Plan] | None = None
        self._derivative: tuple[int, _Plan] | None = None

    def window(self, x: Tensor, params: Tensor | None, key: Tensor | int | None) -> Tensor:
        """Return the results of all windows."""
        threads = torch.get_num_threads()
        if self._value is None or self._value[0] != threads:
            self._value = threads, _plan(*self._decided, derivative=False, most_threads=threads)
        plan = self._value[1]
        if plan.kernel is None:
            return made(x, plan.size, plan.strides)[0].zero_()
        x, of_x = placed("the map", x, CPU, plan.dtype, plan.map_size, plan.layout)
        out, of_out = made(x, plan.size, plan.strides)
        if plan.params_size:
            params, of_params = _read(params, plan)
            _run(plan, of_x, of_out, 0, of_params, 0, key)
        else:
            _run(plan, of_x, of_out, 0, 0, 0, key)
        return out

    def window_gradient(
        self, gradient: Tensor, x: Tensor | None, params: Tensor | None, key: Tensor | int | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the map and the parameters get of the gradient of the results; None where there are none."""
        threads = torch.get_num_threads()
        if self._derivative is None or self._derivative[0] != threads:
            self._derivative = threads, _plan(*self._decided, derivative=True, most_threads=threads)
        plan = self._derivative[1]
        if plan.kernel is None:
            gx = made(gradient, plan.size, plan.strides)[0].zero_()
            return gx, None if params is None else params.new_zeros(params.shape, dtype=plan.wide)
        gradient, of_gradient = placed("the gradient", gradient, CPU, plan.dtype, plan.gradient_size, plan.layout)
        of_x = 0
        if plan.map_size:
            x, of_x = placed("the map", x, CPU, plan.dtype, plan.map_size, plan.layout)
        gx, of_gx = made(gradient, plan.size, plan.strides)
        if not plan.params_size:
            _run(plan, of_x, of_gx, of_gradient, 0, 0, key)
            return gx, None
        params, of_params = _read(params, plan)
        # A thread sums for itself.
        parts = torch.zeros_like(params) if plan.threads == 1 else params.new_zeros((plan.threads, *params.shape))
        _run(plan, of_x, of_gx, of_gradient, of_params, parts.data_ptr(), key)
        return gx, parts if plan.threads == 1 else parts.sum(0)


_ready = functools.lru_cache(maxsize=4096)(Ready)


def _read(params: Tensor | None, plan: "_Plan") -> tuple[Tensor, int]:
    """Return parameters as a kernel reads them, and where they lie. One may come without its dimension."""
    size = plan.params_size
    if params is not None:
        if params.ndim == 1 and size[0] == 1:
            size = size[1:]
        if params.dtype is not plan.wide:
            params = params.to(plan.wide)
    return placed("the parameters", params, CPU, plan.wide, size, torch.contiguous_format)


def _run(
    plan: "_Plan",
    of_x: int,
    of_out: int,
    of_gradient: int,
    of_params: int,
    of_gparams: int,
    key: Tensor | int | None,
) -> None:
    """Run a kernel on what lies at these addresses, 0 where there is nothing."""
    assert plan.kernel is not None
    of_scratch = 0
    if plan.scratch_bytes:
        # Of sums, rows begin and end with zeros that are never written; cotangents, and a ring of rows, begin at 0.
        make = torch.zeros if plan.clear_scratch else torch.empty
        scratch = make((plan.threads * plan.scratch_bytes,), dtype=torch.uint8, device=CPU)
        of_scratch = scratch.data_ptr()
    number = 0 if key is None else int(key)
    changing = CHANGING.pack(of_x, of_out, of_gradient, of_params, of_gparams, of_scratch, plan.scratch_bytes, number)
    if plan.threads == 1:
        plan.kernel.call_part(changing + plan.fixed, 0, 1)
    else:
        run_by_team(plan.kernel, changing + plan.fixed, plan.threads)


@dataclass(frozen=True)
class _Plan:
    """How maps of one size are worked on.

    Args:
        kernel: what does it; None where there is no value or no result.
        fixed: the part of its table that is always the same.
        scratch_bytes: of the memory that each thread needs beside the maps.
        clear_scratch: whether that begins at 0.
        threads: how many.
        size, strides: of what is written.
        map_size, gradient_size, params_size: of what is read; () where it is not.
        layout, dtype: of all maps.
        wide: the dtype that is computed in.
    """

    kernel: Kernel | None
    fixed: bytes
    scratch_bytes: int
    clear_scratch: bool
    threads: int
    size: tuple[int, ...]
    strides: tuple[int, ...]
    map_size: tuple[int, ...]
    gradient_size: tuple[int, ...]
    params_size: tuple[int, ...]
    layout: torch.memory_format
    dtype: torch.dtype
    wide: torch.dtype


def _plan(
    program: Program,
    geometry: Geometry,
    size: torch.Size,
    dtype: torch.dtype,
    channels_last: bool,
    shared: bool,
    *,
    derivative: bool,
    most_threads: int,
) -> _Plan:
    if math.prod(geometry.kernel_size) != program.size:
        raise ValueError(f"the window {geometry.kernel_size} must have {program.size} values for {program.name}")
    batch, channels, height, width = size
    results = (batch, channels, *geometry.shape)
    written = size if derivative else results
    layout, wide = memory_format(channels_last), wide_dtype(dtype)
    strides = torch.empty(written, device="meta", memory_format=layout).stride()
    if min(*size, *geometry.shape) == 0:
        return _Plan(None, b"", 0, False, 1, written, strides, (), (), (), layout, dtype, wide)
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
        shared=shared,
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
    held = spec.ring if channels_last else height
    scratch = held * width * across * wide.itemsize + CACHE_LINE if spec.accumulates_apart else 0
    values["pitch"] = 0
    if spec.in_sums and program.sums is not None:
        buffers = Buffers(program.sums, spec, program.params)
        values["pitch"] = buffers.pitch(width, geometry.shape[1], across)
        scratch += buffers.places()["end"] * values["pitch"] * wide.itemsize
    fixed = [values[name] for name in ARGUMENTS[8:]]
    return _Plan(
        kernel(program, spec),
        struct.pack(f"{len(fixed)}q", *fixed),
        # Whole cache lines, so that threads do not share one.
        math.ceil(scratch / CACHE_LINE) * CACHE_LINE,
        spec.in_sums or (spec.accumulates_apart and channels_last),
        threads,
        written,
        strides,
        () if derivative and program.is_linear else size,
        results if derivative else (),
        (program.params, 1 if shared else channels) if program.params else (),
        layout,
        dtype,
        wide,
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
