"""Kernels for GPUs: the same programs, compiled by Triton.

Triton reads the source of what it compiles, so the text of a kernel (`gpu/blocks.py`) is kept as a module in the cache
folder; the machine code is in Triton's own cache.
"""

import functools
import hashlib
import importlib.util
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poolbench.pooling.kernels.gpu.blocks import Block, Text
from poolbench.pooling.kernels.geometry import Geometry
from poolbench.pooling.kernels.library import cache_folder
from poolbench.pooling.kernels.plain import layout_of, wide_dtype
from poolbench.pooling.kernels.program import Program
from poolbench.whole_file import replacing

# Lanes of a block: see `_block`.
THREADS = 128
LONG, VERY_LONG = 60, 250
ROWS = 8


def window(x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry) -> Tensor:
    """Return the results of all windows (B, C, H', W'); see `plain.pool_plain` for the arguments."""
    layout = layout_of(x)
    out = torch.empty((*x.shape[:2], *geometry.shape), dtype=x.dtype, device=x.device, memory_format=layout)
    tensors = {"x": x, "out": out, "params": params, "key": key}
    _launch(program, geometry, tuple(x.shape), layout is torch.channels_last, tensors)
    return out


def window_gradient(
    gradient: Tensor,
    x: Tensor | None,
    params: Tensor | None,
    key: Tensor | None,
    program: Program,
    geometry: Geometry,
    size: Any,
    layout: torch.memory_format,
) -> tuple[Tensor, Tensor]:
    """Return what the map and the parameters get of the gradient of the results."""
    gx = torch.empty(tuple(size), dtype=gradient.dtype, device=gradient.device, memory_format=layout)
    gradient = gradient.contiguous(memory_format=layout)
    tensors = {"x": x, "out": gx, "gradient": gradient, "params": params, "key": key}
    partial = _launch(program, geometry, tuple(size), layout is torch.channels_last, tensors, derivative=True)
    if partial is None:
        return gx, gradient.new_empty(0, dtype=wide_dtype(gradient.dtype))
    # (blocks, P, C) channels-last, else (blocks, P, B·C)
    return gx, partial.sum(0).view(program.params, -1, size[1]).sum(1)


def _launch(
    program: Program,
    geometry: Geometry,
    size: tuple[int, ...],
    channels_last: bool,
    tensors: dict[str, Tensor | None],
    *,
    derivative: bool = False,
) -> Tensor | None:
    """Run a kernel; return what each block says the parameters get."""
    out = tensors["out"]
    assert out is not None
    wide = wide_dtype(out.dtype)
    kernel, names, block, blocks, share_of = _plan(program, geometry, size, channels_last, derivative)
    partial = None
    if program.params and derivative:
        partial = torch.empty((share_of, program.params, size[1] if channels_last else size[0] * size[1]), dtype=wide, device=out.device)
        tensors["partial"] = partial
    if blocks == 0:
        return None if partial is None else partial.zero_()
    if (params := tensors.get("params")) is not None:
        tensors["params"] = params.to(wide).contiguous()
    import triton.language as tl

    with torch.cuda.device_of(out):
        kernel[(blocks,)](
            *(tensors[name] for name in names),
            *size,
            *geometry.shape,
            WIDE=tl.float64 if wide is torch.float64 else tl.float32,
            R=block.outer,
            Q=block.inner,
            **({"ROWS": block.rows} if derivative else {}),
            num_warps=block.warps,
            enable_fp_fusion=True,
        )
    return partial


@functools.lru_cache(maxsize=4096)
def _plan(
    program: Program, geometry: Geometry, size: tuple[int, ...], channels_last: bool, derivative: bool
) -> tuple[Any, tuple[str, ...], Block, int, int]:
    """Return the kernel for maps of one size, the tensors that it takes, how it is cut, and in how many blocks."""
    batch, channels, height, width = size
    place = Geometry(geometry.kernel_size, geometry.stride, geometry.padding, geometry.dilation, (0, 0))
    text = Text(program, place, geometry.outside((height, width)), channels_last, derivative)
    down, across = geometry.shape
    if derivative:
        down, across = (-(-size[2 + a] // geometry.stride[a]) for a in (0, 1))
    block = _block(text, channels if channels_last else across, across if channels_last else batch * channels)
    down = -(-down // block.rows)
    if channels_last:
        inner, outer = -(-channels // block.inner), -(-across // block.outer)
        shares = batch * down * outer
        blocks = shares * inner
    else:
        inner, outer = -(-across // block.inner), -(-batch * channels // block.outer)
        shares = down * inner
        blocks = shares * outer
    return _kernel(text), tuple(text.pointers), block, blocks, shares


def _block(text: Text, inner: int, outer: int) -> Block:
    """Return how a kernel is cut for so many lanes along Q and along R.

    Short formulas do several lanes a thread, whose loads are then wide; long ones need their registers.
    """
    each = 4 if text.operations < LONG else 2 if text.operations < VERY_LONG else 1
    if text.in_pairs:
        each = min(each, 2)
    lanes = THREADS * each
    q = min(_power(inner), lanes)
    r = min(_power(outer), lanes // q)
    return Block(r, q, ROWS if text.waiting else 1, max(1, min(THREADS, r * q) // 32))


def _power(size: int) -> int:
    """Return the power of two that holds so many."""
    return 1 << max(0, math.ceil(math.log2(max(1, size))))


@functools.lru_cache(maxsize=1024)
def _kernel(text: Text) -> Any:
    """Return the compiled function of a text."""
    source = text.written()
    folder = cache_folder() / "triton"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"kernel_{hashlib.sha256(source.encode()).hexdigest()[:24]}.py"
    if not path.is_file() or path.read_text(encoding="utf-8") != source:
        with replacing(path) as file:
            file.write(source.encode())
    return _imported(path).kernel


def _imported(path: Path) -> Any:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
