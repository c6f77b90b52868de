"""Kernels for GPUs: the same programs, compiled by Triton.

Triton reads the source of what it compiles, so the text of a kernel (`gpu/blocks.py`) is kept as a module in the cache
folder; the machine code is in Triton's own cache.
"""

import functools
import hashlib
import importlib.util
import linecache
import math
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poolbench.kernels.compiled import COMPILED, cache_folder, kept
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.gpu.blocks import Block, Text
from poolbench.kernels.gpu.proof import Trial, compare
from poolbench.kernels.memory import arranged, checked
from poolbench.kernels.plain import empty, wide_dtype
from poolbench.kernels.precision import lies_channels_last, memory_format
from poolbench.kernels.program import Program

# Of a block; rows of cells that a derivative walks down; bytes that a thread loads at once.
THREADS = 128
ROWS = 8
WIDE_LOAD = 16
# Lanes of a thread at most; what Triton knows a number to be a multiple of, or does not.
MOST_EACH, ALIGNED = 4, 16


def window(x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry) -> Tensor:
    """Return the results of all windows (B, C, H', W'); see `plain.pool_plain` for the arguments.

    Raises:
        RuntimeError: what Triton made of the formula disagrees with torch's own operations.
    """
    last = lies_channels_last(x)
    out = empty(x, (*x.shape[:2], *geometry.shape), last)
    launch = _launch_of(program, geometry, x.shape, last, False, x.dtype)
    if x.is_cuda and not launch.is_proven:
        prove(program, geometry, x.shape, last, False, x.dtype, x.device)
    _launch(launch, arranged(x, memory_format(last)), None, params, key, out, None)
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
) -> tuple[Tensor, Tensor | None]:
    """Return what the map and the parameters get of the gradient of the results; None where there are none.

    Raises:
        RuntimeError: what Triton made of the formula disagrees with torch's own operations.
    """
    layout = memory_format(channels_last)
    gx = empty(gradient, tuple(size), channels_last)
    launch = _launch_of(program, geometry, torch.Size(size), channels_last, True, gradient.dtype)
    if gradient.is_cuda and not launch.is_proven:
        prove(program, geometry, torch.Size(size), channels_last, True, gradient.dtype, gradient.device)
    param_parts = gradient.new_empty(launch.param_parts, dtype=launch.wide)
    x = None if x is None else arranged(x, layout)
    _launch(launch, x, arranged(gradient, layout), params, key, gx, param_parts)
    if params is None:
        return gx, None
    # (lanes, P, lanes, C) channels-last, else (lanes, P, B, C, lanes)
    gparams = param_parts.sum((0, 2) if channels_last else (0, 2, 4))
    return gx, gparams if params.shape[1] == gparams.shape[1] else gparams.sum(1, keepdim=True)


def prove(
    program: Program,
    geometry: Geometry,
    size: torch.Size,
    channels_last: bool,
    derivative: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Compare a kernel with torch's own operations, unless that was done: some milliseconds for each and process.

    Raises:
        RuntimeError: they disagree.
    """
    launch = _launch_of(program, geometry, size, channels_last, derivative, dtype)
    kind, proven = (launch.settings["R"], launch.settings["Q"], dtype, device), launch.kernel.proven
    if kind not in proven and launch.grid[0] > 0:
        small = torch.Size((min(size[0], 2), *size[1:]))
        _launch_of(program, geometry, small, channels_last, derivative, dtype).is_proven = True  # it is about to be
        try:
            trial = Trial(program, geometry, small, channels_last, derivative, dtype, device)
            compare(window, window_gradient, trial)
        except BaseException:  # also what Triton raises, or somebody's Ctrl-C: nothing is proven then
            _launch_of.cache_clear()
            raise
        proven.add(kind)
    launch.is_proven = True


@dataclass(frozen=True, eq=False)
class _Kernel:
    """A kernel, and what of it has been compared with torch's own operations.

    Args:
        function: Triton's.
        proven: block sizes, dtype and device of each comparison.
    """

    function: Any
    proven: set[tuple[Any, ...]] = field(default_factory=set)


@dataclass
class _Launch:
    """How maps of one size are worked on.

    Args:
        kernel: what is run.
        pointers: which tensors it takes, as places among those of `_launch`.
        sizes: the numbers that it takes.
        grid: blocks.
        settings: constants and options.
        wide: the dtype that is computed in.
        param_parts: shape of what lanes say the parameters get; (0,) where there are none.
        expected: shape, dtype and layout of each tensor that there may be, in the order of `NAMES`.
        launched: whether it has been run in this process, so that nothing is left to compile.
        is_proven: whether its kernel has been compared with torch's own operations.
    """

    kernel: _Kernel
    pointers: tuple[int, ...]
    sizes: tuple[int, ...]
    grid: tuple[int]
    settings: dict[str, Any]
    wide: torch.dtype
    param_parts: tuple[int, ...]
    expected: tuple[tuple[tuple[int, ...], torch.dtype, torch.memory_format], ...]
    launched: bool = False
    is_proven: bool = False

    def checked(self, at: int, tensor: Tensor | None, device: torch.device) -> Tensor:
        """Return tensor number `at` of those in `NAMES`, if it is what the kernel takes it for."""
        shape, dtype, layout = self.expected[at]
        return checked(CALLED[at], tensor, device, dtype, shape, layout)


# In the order of what `_launch` is given: as a kernel calls them, and as messages do.
NAMES = ("x", "gradient", "learned", "key", "out", "partial")
CALLED = ("the map", "the gradient", "the parameters", "the key", "the result", "the parameters' gradients")


def _launch(
    launch: _Launch,
    x: Tensor | None,
    gradient: Tensor | None,
    params: Tensor | None,
    key: Tensor | None,
    out: Tensor,
    param_parts: Tensor | None,
) -> None:
    """Run a kernel."""
    if launch.grid[0] == 0:  # no windows, or no values
        return
    if params is not None:
        params = arranged(params.to(launch.wide).expand(-1, launch.sizes[1]), torch.contiguous_format)
    given = (x, gradient, params, key, out, param_parts)
    arguments = (*[launch.checked(at, given[at], out.device) for at in launch.pointers], *launch.sizes)
    if launch.launched and out.device.index == torch.cuda.current_device():
        launch.kernel.function[launch.grid](*arguments, **launch.settings)
        return
    with torch.cuda.device(out.device) if out.is_cuda else nullcontext(), _counted():
        launch.kernel.function[launch.grid](*arguments, **launch.settings)
    launch.launched = out.is_cuda


@contextmanager
def _counted() -> Iterator[None]:
    """Add to `COMPILED` what Triton compiles, or takes from its cache, and the seconds of it."""
    from triton import knobs

    others = knobs.compilation.listener

    def listen(*, cache_hit: bool, **more: Any) -> None:
        COMPILED.loaded += cache_hit
        COMPILED.made += not cache_hit
        if others is not None:
            others(cache_hit=cache_hit, **more)

    began = time.perf_counter()
    knobs.compilation.listener = listen
    try:
        yield
    finally:
        knobs.compilation.listener = others
        COMPILED.seconds += time.perf_counter() - began


@functools.lru_cache(maxsize=4096)
def _launch_of(
    program: Program,
    geometry: Geometry,
    size: torch.Size,
    channels_last: bool,
    derivative: bool,
    dtype: torch.dtype,
) -> _Launch:
    import triton.language as tl

    batch, channels, height, width = size
    place = Geometry(geometry.kernel_size, geometry.stride, geometry.padding, geometry.dilation, (0, 0))
    text = Text(program, place, geometry.outside((height, width)), channels_last, derivative)
    down, across = geometry.shape
    if derivative:
        down, across = (-(-size[2 + a] // geometry.stride[a]) for a in (0, 1))
    maps = batch * channels
    rows = (channels,) if channels_last else (width, geometry.shape[1])
    is_wide = all(row % ALIGNED == 0 for row in rows) and (channels_last or geometry.stride[1] == 1)
    block = _block(text, dtype if is_wide else None, *((channels, across) if channels_last else (across, maps)))
    down = -(-down // block.rows)
    param_parts: tuple[int, ...] = (0,)
    if channels_last:
        blocks = batch * down * -(-across // block.outer) * -(-channels // block.inner)
        if derivative and program.params:
            param_parts = (batch * down, program.params, across, channels)
    else:
        blocks = down * -(-across // block.inner) * -(-maps // block.outer)
        if derivative and program.params:
            param_parts = (down, program.params, batch, channels, across)
    wide, layout = wide_dtype(dtype), memory_format(channels_last)
    maps_shape, results_shape = tuple(size), (batch, channels, *geometry.shape)
    expected = (
        (maps_shape, dtype, layout),
        (results_shape, dtype, layout),
        ((program.params, channels), wide, torch.contiguous_format),
        ((), torch.int64, torch.contiguous_format),
        (maps_shape if derivative else results_shape, dtype, layout),
        (param_parts, wide, torch.contiguous_format),
    )
    settings = {"WIDE": tl.float64 if wide is torch.float64 else tl.float32, "R": block.outer, "Q": block.inner}
    if derivative:
        settings["ROWS"] = block.rows
    return _Launch(
        kernel=_kernel(text),
        pointers=tuple(NAMES.index(name) for name in text.pointers),
        sizes=(*size, *geometry.shape),
        grid=(blocks,),
        # A product and a sum are fused, whatever a version of Triton does by itself, but where products must cancel.
        settings={**settings, "num_warps": block.warps, "enable_fp_fusion": not derivative},
        wide=wide,
        param_parts=param_parts,
        expected=expected,
    )


def _block(text: Text, dtype: torch.dtype | None, inner: int, outer: int) -> Block:
    """Return how a kernel is cut for so many lanes along Q and along R.

    A thread does as many lanes as one wide load brings, where neighbouring lanes are neighbours in memory and rows
    begin at whole ones; else one (`dtype` is None), so that neighbouring threads read neighbours. In between Triton
    would have to move values between threads. A lane that walks down the map holds rows in registers: two a thread.
    """
    each = 1 if dtype is None else min(MOST_EACH, WIDE_LOAD // dtype.itemsize)
    if text.walks:
        each = min(each, 2)
    lanes = THREADS * each
    q = min(_power(inner), lanes)
    r = min(_power(outer), lanes // q)
    return Block(r, q, ROWS if text.walks else 1, max(1, min(THREADS, r * q) // 32))


def _power(size: int) -> int:
    """Return the power of two that holds so many."""
    return 1 << max(0, math.ceil(math.log2(max(1, size))))


@functools.lru_cache(maxsize=1024)
def _kernel(text: Text) -> _Kernel:
    """Return the kernel of a text."""
    source = text.written()
    name, folder = f"kernel_{hashlib.sha256(source.encode()).hexdigest()[:24]}", cache_folder()
    path = None if folder is None else folder / "triton" / f"{name}.py"
    if path is not None and (_holds(path, source) or kept(path, source.encode())):
        return _Kernel(_imported(path).kernel)
    if path is None:
        kept(None, b"")  # notes why
    return _Kernel(_unkept(name, source)["kernel"])


def _holds(path: Path, source: str) -> bool:
    """Return whether a file is there and has this content."""
    try:
        return path.read_text(encoding="utf-8") == source
    except (OSError, ValueError):
        return False


def _unkept(name: str, source: str) -> dict[str, Any]:
    """Return what a source defines, without a file; Triton asks Python's cache of source lines for its text."""
    linecache.cache[f"<{name}>"] = (len(source), None, source.splitlines(keepends=True), f"<{name}>")
    module = types.ModuleType(name)
    sys.modules[name] = module  # where Python looks for the source of a function
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module.__dict__


def _imported(path: Path) -> Any:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
