"""The same programs as Triton kernels for GPUs: `implementation=triton`.

A block of results at a time, in the order of memory. The derivative adds what windows share by atomic operations, in
float32, so its last bits depend on their order; side by side, windows write directly.

The text of a kernel is generated from the program's tape and kept as a module in the cache folder, because Triton reads
the source of what it compiles.
"""

import functools
import hashlib
import importlib.util
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poolbench.pooling.kernels.geometry import Geometry
from poolbench.pooling.kernels.library import cache_folder
from poolbench.pooling.kernels.plain import layout_of, wide_dtype
from poolbench.pooling.kernels.program import Program
from poolbench.pooling.kernels.tape import Tape
from poolbench.whole_file import replacing

BLOCK = 256

HEAD = '''"""Generated from a formula."""

import triton
import triton.language as tl


@triton.jit
def mixed(x):
    x = (x ^ (x >> 16)) * 0x85EBCA6B
    x = (x ^ (x >> 13)) * 0xC2B2AE35
    return x ^ (x >> 16)


@triton.jit
def kernel(
    x, out, gradient, params, param_gradients, key, count_all, C, H, W, OH, OW,
    x_b, x_c, x_h, x_w, y_b, y_c, y_h, y_w, LAST: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = p < count_all
    if LAST:
        c = p % C
        ox = (p // C) % OW
        oy = (p // C // OW) % OH
        b = p // C // OW // OH
    else:
        ox = p % OW
        oy = (p // OW) % OH
        c = (p // OW // OH) % C
        b = p // OW // OH // C
    here = b * y_b + c * y_c + oy * y_h + ox * y_w
    map_ = b * x_b + c * x_c
    place = (((b * C + c) * OH + oy) * OW + ox).to(tl.uint32)
'''

WORDS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "exp": "tl.exp({})",
    "log": "tl.log({})",
    "exp2": "tl.exp2({})",
    "log2": "tl.log2({})",
    "sqrt": "tl.sqrt({})",
    "gt": "{} > {}",
    "ge": "{} >= {}",
    "unordered": "({0} != {0}) | ({1} != {1})",
    "and": "{} & {}",
    "or": "{} | {}",
    "not": "{} == 0",
    "where": "tl.where({}, {}, {})",
    "poison": "tl.where({1}, float('nan'), {0})",
    "stop": "{}",
    "via": "{}",
}


def text(program: Program, geometry: Geometry, *, border: bool, derivative: bool) -> str:
    """Return a kernel's source: of the results, or of what the map and the parameters get of their gradient."""
    tape = _tape(program, border=border, derivative=derivative)
    lines = []
    for axis, name, size, at in ((0, "row", "H", "oy"), (1, "column", "W", "ox")):
        for step in range(geometry.kernel_size[axis]):
            offset = step * geometry.dilation[axis] - geometry.padding[axis]
            lines.append(f"{name}{step} = {at} * {geometry.stride[axis]} + {offset}")
            lines.append(f"{name}_ok{step} = ({name}{step} >= 0) & ({name}{step} < {size})")
    for tap in range(program.size):
        row, column = divmod(tap, geometry.kernel_size[1])
        lines.append(f"at{tap} = map_ + row{row} * x_h + column{column} * x_w")
        lines.append(f"ok{tap} = row_ok{row} & column_ok{column}")
    lines += [f"v{at} = {_word(*operation)}" for at, operation in enumerate(tape.operations)]
    for number, output in enumerate(tape.outputs):
        if not derivative:
            lines.append(f"tl.store(out + here, v{output} + tl.zeros([BLOCK], WIDE), mask=there)")
        elif number < program.size:
            part = f"v{output} + tl.zeros([BLOCK], WIDE)"
            write = "tl.store" if geometry.is_disjoint else "tl.atomic_add"
            lines.append(f"{write}(out + at{number}, {part}, mask=there & ok{number})")
        else:
            which = number - program.size
            part = f"v{output} + tl.zeros([BLOCK], WIDE)"
            lines.append(f"tl.atomic_add(param_gradients + {which} * C + c, {part}, mask=there)")
    return HEAD + "".join(f"    {line}\n" for line in lines)


def _tape(program: Program, *, border: bool, derivative: bool) -> Tape:
    if derivative:
        return program.derivative_at_border if border else program.derivative
    return program.value_at_border if border else program.value


def _word(op: str, arguments: tuple[int, ...], leaf: Any) -> str:
    if op == "const":
        return repr(float(leaf)) if math.isfinite(leaf) else f"float('{leaf}')"
    if op == "tap":
        return f"tl.load(x + at{leaf}, mask=there & ok{leaf}, other=0.0).to(WIDE)"
    if op == "valid":
        return f"ok{leaf}"
    if op == "count":
        return "COUNT"
    if op == "param":
        return f"tl.load(params + {leaf} * C + c, mask=there, other=0.0).to(WIDE)"
    if op == "gradient":
        return "tl.load(gradient + here, mask=there, other=0.0).to(WIDE)"
    if op == "uniform":
        return f"(mixed(mixed(place) ^ (tl.load(key) + {leaf}).to(tl.uint32)) >> 8).to(WIDE) * {2.0**-24!r}"
    return WORDS[op].format(*(f"v{at}" for at in arguments))


@functools.lru_cache(maxsize=1024)
def _kernel(program: Program, geometry: Geometry, border: bool, derivative: bool) -> Any:
    """Return the compiled function of a program; `geometry` without the number of windows."""
    source = text(program, geometry, border=border, derivative=derivative)
    rows, columns = ([f"{n}_ok{k}.to(tl.int32)" for k in range(geometry.kernel_size[a])] for a, n in _AXES)
    source = source.replace("COUNT", f"(({' + '.join(rows)}) * ({' + '.join(columns)})).to(WIDE)")
    folder = cache_folder() / "triton"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"kernel_{hashlib.sha256(source.encode()).hexdigest()[:24]}.py"
    if not path.is_file() or path.read_text(encoding="utf-8") != source:
        with replacing(path) as file:
            file.write(source.encode())
    return _imported(path).kernel


_AXES = ((0, "row"), (1, "column"))


def _imported(path: Path) -> Any:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def window(x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry) -> Tensor:
    """Return the results of all windows (B, C, H', W'); see `plain.pool_plain` for the arguments."""
    out = torch.empty((*x.shape[:2], *geometry.shape), dtype=x.dtype, device=x.device, memory_format=layout_of(x))
    _launch(program, geometry, x=x, like=x, out=out, results=out, params=params, key=key)
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
    wide = wide_dtype(gradient.dtype)
    kind = gradient.dtype if geometry.is_disjoint else wide
    gx = torch.zeros(tuple(size), dtype=kind, device=gradient.device).contiguous(memory_format=layout)
    count = 0 if params is None else params.shape[0]
    gparams = torch.zeros((count, size[1]) if count else (0,), dtype=wide, device=gradient.device)
    gradient = gradient.contiguous(memory_format=layout)
    _launch(
        program, geometry, x=x, like=gx, out=gx, results=gradient, gradient=gradient, params=params, key=key,
        param_gradients=gparams,
    )  # fmt: skip
    return gx.to(gradient.dtype), gparams


def _launch(
    program: Program,
    geometry: Geometry,
    *,
    x: Tensor | None,
    like: Tensor,
    out: Tensor,
    results: Tensor,
    gradient: Tensor | None = None,
    params: Tensor | None = None,
    key: Tensor | None = None,
    param_gradients: Tensor | None = None,
) -> None:
    """Run a kernel: `like` has the map's strides, `results` those of its results."""
    import triton.language as tl

    if results.numel() == 0:
        return
    if x is not None and x.stride() != like.stride():
        like = x
    border = geometry.has_border((like.shape[-2], like.shape[-1]))
    place = Geometry(geometry.kernel_size, geometry.stride, geometry.padding, geometry.dilation, (0, 0))
    wide = wide_dtype(results.dtype)
    kernel = _kernel(program, place, border, gradient is not None)
    unused = results
    kernel[((results.numel() + BLOCK - 1) // BLOCK,)](
        unused if x is None else x,
        out,
        unused if gradient is None else gradient,
        unused if params is None else params.to(wide).contiguous(),
        unused if param_gradients is None else param_gradients,
        unused if key is None else key,
        results.numel(),
        *like.shape[1:],
        *geometry.shape,
        *like.stride(),
        *results.stride(),
        LAST=layout_of(results) is torch.channels_last,
        WIDE=tl.float64 if wide is torch.float64 else tl.float32,
        BLOCK=BLOCK,
    )
