"""The kernels as two operators of torch's: the results of all windows, and what the map gets of their gradient.

`torch.ops.poolbench.window` and `torch.ops.poolbench.window_gradient` know their shapes without running (fake
implementations) and how to be differentiated, so autograd, `torch.compile` and autocast treat them as torch's own.

`pooled` calls them where somebody looks: a compiler, a tracer, a mode. Else it calls what they stand for, without the
half of the way that leads through torch's dispatcher and Python's part of it: on a small map that is most of the time.
"""

import ctypes
import functools
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from poolbench.pooling.kernels import library
from poolbench.pooling.kernels.buffers import Buffers
from poolbench.pooling.kernels.geometry import CACHE_LINE, Geometry
from poolbench.pooling.kernels.library import Kernel, kernel
from poolbench.pooling.kernels.plain import layout_of, spread_plain, wide_dtype
from poolbench.pooling.kernels.program import Program
from poolbench.pooling.kernels.spec import ARGUMENTS, KernelSpec
from poolbench.pooling.kernels.team import addresses, run, threads_for

# Where there are kernels, and of which dtypes; LLVM knows some by other names.
DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}
# A longer formula would take many seconds to compile and keep nothing in registers.
MOST_OPERATIONS = 2500
# Bytes of a gradient that no cache of a core holds: to write it, a cache would first read what it replaces.
STREAMED = 8 * 2**20
LANES = {torch.float32: 16, torch.bfloat16: 16, torch.float64: 8}

_programs: dict[str, Program] = {}
_library = torch.library.Library("poolbench", "DEF")
_library.define(
    "window(Tensor x, Tensor? params, Tensor? key, str program, SymInt[] geometry) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_library.define(
    "window_gradient(Tensor gradient, Tensor? x, Tensor? params, Tensor? key, str program, SymInt[] geometry, "
    "SymInt[] size, bool channels_last) -> (Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def unavailable_on(device: str) -> str:
    """Return why there can be no kernels on a kind of device on this machine, "" where there can."""
    if device == "cpu":
        return library.unavailable()
    return "" if importlib.util.find_spec("triton") else "Triton is not installed"


def know(program: Program) -> None:
    """Make a program known to the operators, which are told its digest."""
    _programs[program.digest] = program


def _empty(like: Tensor, size: Any, channels_last: bool) -> Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=layout)


@torch.library.impl(_library, "window", "CPU")
def _window(x: Tensor, params: Tensor | None, key: Tensor | None, program: str, geometry: list[int]) -> Tensor:
    return _on("cpu")[0](x, params, key, _programs[program], Geometry.from_list(geometry))


@torch.library.impl(_library, "window_gradient", "CPU")
def _window_gradient(
    gradient: Tensor,
    x: Tensor | None,
    params: Tensor | None,
    key: Tensor | None,
    program: str,
    geometry: list[int],
    size: list[int],
    channels_last: bool,
) -> tuple[Tensor, Tensor]:
    place = Geometry.from_list(geometry)
    return _on("cpu")[1](gradient, x, params, key, _programs[program], place, size, channels_last)


@torch.library.impl(_library, "window", "CUDA")
def _window_cuda(x: Tensor, params: Tensor | None, key: Tensor | None, program: str, geometry: list[int]) -> Tensor:
    return _on("cuda")[0](x, params, key, _programs[program], Geometry.from_list(geometry))


@torch.library.impl(_library, "window_gradient", "CUDA")
def _window_gradient_cuda(
    gradient: Tensor,
    x: Tensor | None,
    params: Tensor | None,
    key: Tensor | None,
    program: str,
    geometry: list[int],
    size: list[int],
    channels_last: bool,
) -> tuple[Tensor, Tensor]:
    place = Geometry.from_list(geometry)
    return _on("cuda")[1](gradient, x, params, key, _programs[program], place, size, channels_last)


@torch.library.register_fake("poolbench::window", lib=_library)
def _(x: Tensor, params: Tensor | None, key: Tensor | None, program: str, geometry: list[Any]) -> Tensor:
    return _empty(x, (*x.shape[:2], *geometry[-2:]), layout_of(x) is torch.channels_last)


@torch.library.register_fake("poolbench::window_gradient", lib=_library)
def _(
    gradient: Tensor,
    x: Tensor | None,
    params: Tensor | None,
    key: Tensor | None,
    program: str,
    geometry: list[Any],
    size: list[Any],
    channels_last: bool,
) -> tuple[Tensor, Tensor]:
    return _empty(gradient, tuple(size), channels_last), gradient.new_empty(
        (0,) if params is None else params.shape, dtype=wide_dtype(gradient.dtype)
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, params, key, ctx.program, ctx.geometry = inputs
    ctx.size, ctx.channels_last = x.shape, layout_of(x) is torch.channels_last
    ctx.save_for_backward(None if _programs[ctx.program].is_linear else x, params, key)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    x, params, key = ctx.saved_tensors
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (gradient, x, params)):
        found = _differentiable(ctx, gradient, _programs[ctx.program], Geometry.from_list(ctx.geometry))
    else:
        found = torch.ops.poolbench.window_gradient(
            gradient, x, params, key, ctx.program, ctx.geometry, ctx.size, ctx.channels_last
        )
    return found[0], None if params is None else found[1], None, None, None


def _differentiable(ctx: Any, gradient: Tensor, program: Program, geometry: Geometry) -> tuple[Tensor, Tensor | None]:
    """Return the gradients by operations that can be differentiated in turn."""
    x, params, key = ctx.saved_tensors
    like = gradient.new_zeros(()).expand(ctx.size) if x is None else x
    return spread_plain(gradient, like, params, key, program, geometry)


torch.library.register_autograd("poolbench::window", _backward, setup_context=_keep, lib=_library)


def pooled(x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry) -> Tensor:
    """Return the results of all windows (B, C, H', W'); see `plain.pool_plain` for the arguments."""
    if _is_watched(x):
        y: Tensor = torch.ops.poolbench.window(x, params, key, program.digest, geometry.as_list())
        return y
    if torch.is_grad_enabled() and (x.requires_grad or (params is not None and params.requires_grad)):
        found: Tensor = _Pooled.apply(x, params, key, program, geometry)
        return found
    return _on(x.device.type)[0](x, params, key, program, geometry)


def _is_watched(x: Tensor) -> bool:
    """Return whether anything but autograd wants to see operators."""
    return (
        torch.compiler.is_compiling()
        or type(x) not in (Tensor, torch.nn.Parameter)
        or torch._C._len_torch_dispatch_stack() > 0  # torch has no public question for it
        or torch.jit.is_tracing()
    )


class _Pooled(torch.autograd.Function):
    """What `register_autograd` makes of the operators, called directly."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry
    ) -> Tensor:
        ctx.program, ctx.geometry = program, geometry
        ctx.size, ctx.channels_last = x.shape, _is_last(x)
        ctx.save_for_backward(None if program.is_linear else x, params, key)
        return _on(x.device.type)[0](x, params, key, program, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, params, key = ctx.saved_tensors
        (gradient,) = gradients
        found: tuple[Tensor, Tensor | None]
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (gradient, x, params)):
            found = _differentiable(ctx, gradient, ctx.program, ctx.geometry)
        else:
            found = _on(gradient.device.type)[1](
                gradient, x, params, key, ctx.program, ctx.geometry, ctx.size, ctx.channels_last
            )
        return found[0], None if params is None else found[1], None, None, None


@functools.cache
def _on(device: str) -> tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor]]]:
    """Return what computes results, and what computes gradients, on a kind of device."""
    if device == "cpu":
        return _window_on_cpu, _gradient_on_cpu
    from poolbench.pooling.kernels.gpu import launch

    return launch.window, launch.window_gradient


def _is_last(x: Tensor) -> bool:
    """Return what `is_channels_last` does, of a map that nothing transforms."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _window_on_cpu(
    x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry
) -> Tensor:
    last = _is_last(x)
    out = _empty(x, (*x.shape[:2], *geometry.shape), last)
    _run(program, geometry, x.shape, last, x=x, out=out, params=params, key=key)
    return out


def _gradient_on_cpu(
    gradient: Tensor,
    x: Tensor | None,
    params: Tensor | None,
    key: Tensor | None,
    program: Program,
    geometry: Geometry,
    size: Any,
    channels_last: bool,
) -> tuple[Tensor, Tensor]:
    gx = _empty(gradient, tuple(size), channels_last)
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
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, gradient = (t if t is None else t.contiguous(memory_format=layout) for t in (x, gradient))
    wide = wide_dtype(out.dtype)
    params = None if params is None else params.to(wide).contiguous()
    count = params.shape[0] if params is not None and gradient is not None else 0
    if out.numel() == 0 or min(size) == 0:
        out.zero_()
        return out.new_zeros((count, size[1]) if count else (0,), dtype=wide)
    plan = _plan(
        program, geometry, tuple(size), out.dtype, channels_last, gradient is not None, torch.get_num_threads()
    )
    # Of sums, rows begin and end with zeros that are never written, and shares begin at 0.
    make = torch.zeros if plan.clear_scratch else torch.empty
    scratch = make(plan.threads * plan.scratch_bytes, dtype=torch.uint8) if plan.scratch_bytes else None
    gparams = torch.zeros((plan.threads, count, size[1]), dtype=wide) if count else None
    table = (ctypes.c_int64 * (8 + len(plan.fixed)))(
        *map(_address, (x, out, gradient, params, gparams, scratch)),
        plan.scratch_bytes,
        0 if key is None else int(key),
        *plan.fixed,
    )
    run(plan.kernel, table, plan.threads)
    return out.new_empty(0, dtype=wide) if gparams is None else gparams.sum(0)


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
    batch, channels, height, width = size
    lanes = _lanes(LANES[dtype], channels if channels_last else 0, geometry)
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
        streaming=derivative and _streams(geometry, size, lanes, dtype, channels_last),
        in_sums=_in_sums(program, geometry),
    )
    vectors = channels // spec.lanes
    # A thread takes whole images, or blocks of channels where there are too few of them.
    blocks = max(1, min(vectors, math.ceil(most_threads / batch))) if channels_last else 1
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
    # Each window brings as many new values as it is steps away from the one before.
    return math.prod(geometry.stride) * made.summands.slow + made.shares.slow < program.derivative.slow


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _lanes(most: int, channels: int, geometry: Geometry) -> int:
    """Return how many results are worked on at a time: a vector of channels, or of windows in a row."""
    if channels:
        return math.gcd(channels, most)
    while most > 4 and (most * 2 > geometry.shape[1] * 3 or most * geometry.stride[1] > 64):
        most //= 2
    return most


def _streams(geometry: Geometry, size: tuple[int, ...], lanes: int, dtype: torch.dtype, channels_last: bool) -> bool:
    """Return whether gradients are better written past the caches: see `STREAMED`.

    Every vector is written whole, once, and fills aligned cache lines, by itself or together with the next.
    """
    width, bytes_each = size[3], dtype.itemsize
    if math.prod(size) * bytes_each < STREAMED:
        return False
    if channels_last:
        overlap = not geometry.is_disjoint
        return lanes * bytes_each >= CACHE_LINE // 2 and (overlap or geometry.covers((size[2], size[3])))
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
