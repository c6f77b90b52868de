"""A program run by torch's own operations: everywhere, differentiable to any order."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.precision import memory_format, memory_format_of
from poolbench.kernels.program import Program
from poolbench.kernels.sizes import are_known, larger
from poolbench.kernels.tape import Tape
from poolbench.kernels.transforms import allows_custom_function, is_transformed
from poolbench.kernels.uniform import uniform

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "unordered": lambda a, b: a.isnan() | b.isnan(),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "not": lambda a: ~a,
    "where": torch.where,
    "stop_gradient": lambda a: a,
    "with_gradient_of": lambda a: a,
    "exp2": torch.exp2,
    "log2": torch.log2,
    "nan_where": lambda a, b: torch.where(b, torch.nan, a),
}


def pool_plain(
    x_BCHW: Tensor, params_PC: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry
) -> Tensor:
    """Return the windows' results (B, C, H', W'), in the dtype and memory layout of the map.

    Args:
        x_BCHW: the map.
        params_PC: learned parameters, one number for each channel or one (P, 1) for all; None where there are none.
        key: of the random numbers, None where none are drawn.
        program: what is computed.
        geometry: where the windows lie.
    """
    if not allows_custom_function(x_BCHW, params_PC):
        return plain_value(x_BCHW, params_PC, key, program, geometry)
    result: Tensor = _Plain.apply(x_BCHW, params_PC, key, program, geometry)
    return result


class _Plain(torch.autograd.Function):
    """Keeps the map alone; the derivative is made of differentiable operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry) -> Tensor:
        return plain_value(x, params, key, program, geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, params, key, ctx.program, ctx.geometry = inputs
        ctx.like = x.shape, x.dtype
        ctx.save_for_backward(x, params, key)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, params, key = ctx.saved_tensors
        gx, gparams = spread_plain(gradients[0], x, params, key, ctx.program, ctx.geometry)
        return gx, gparams, None, None, None


def pool_whole_numbers(x_BCHW: Tensor, program: Program, geometry: Geometry) -> Tensor:
    """Return the windows' results of a map of whole numbers, exactly, by a formula that chooses among its values."""
    limits = torch.iinfo(x_BCHW.dtype)

    def const(number: float) -> float | int:
        return number if math.isfinite(number) else limits.max if number > 0 else limits.min

    inputs = _inputs(x_BCHW, None, None, geometry) | {"const": const}
    (result,) = _run(
        _value_tape(x_BCHW, program, geometry), inputs, x_BCHW.dtype, OPERATIONS | {"nan_where": lambda a, _: a}
    )
    return cast(Tensor, result).contiguous(memory_format=memory_format_of(x_BCHW))


def plain_value(x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry) -> Tensor:
    """Return what `pool_plain` does, without a derivative of its own."""
    # Where torch differentiates by itself, what the result does not depend on must have no part in it.
    operations = OPERATIONS | {"stop_gradient": torch.detach} if is_transformed(x, params) else OPERATIONS
    (result,) = _run(
        _value_tape(x, program, geometry), _inputs(x, params, key, geometry), wide_dtype(x.dtype), operations
    )
    if are_known(*geometry.shape):
        result = result.expand(*x.shape[:-2], *geometry.shape)
    result = result.to(x.dtype)
    return result.contiguous(memory_format=memory_format_of(x))


def spread_plain(
    gradient: Tensor, x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry
) -> tuple[Tensor, Tensor | None]:
    """Return what the map and the parameters get of the gradient of the results."""
    size = x.shape[-2], x.shape[-1]
    tape = program.derivative_at_border if geometry.has_border(size) else program.derivative
    wide = wide_dtype(x.dtype)
    found = _run(tape, _inputs(x, params, key, geometry) | {"gradient": lambda _: gradient.to(wide)}, wide)
    (top, below), (left, right) = margins(size, geometry)
    layout = torch.contiguous_format if is_transformed(gradient) else memory_format_of(x)
    padded = _zeros((*x.shape[:-2], size[0] + top + below, size[1] + left + right), found[: program.size], x)
    padded = padded.to(wide).contiguous(memory_format=layout)
    for at in range(program.size):
        padded[_place(at, geometry)] += found[at]
    gx = padded.narrow(-2, top, size[0]).narrow(-1, left, size[1]).to(x.dtype)
    gparams = None
    if params is not None:
        zeros = torch.zeros((*x.shape[:-2], *geometry.shape), dtype=wide, device=x.device)
        gparams = torch.stack([(zeros + part).sum((0, 2, 3)) for part in found[program.size :]]).to(params.dtype)
        if params.shape[1] != gparams.shape[1]:
            gparams = gparams.sum(1, keepdim=True)
    return gx.contiguous(memory_format=layout), gparams


def _zeros(size: tuple[int, ...], added: Sequence[Any], like: Tensor) -> Tensor:
    """Return zeros of a size to which others are added in place: a batch of them where one of those is a batch."""
    parts = [part for part in added if isinstance(part, Tensor)]
    if not is_transformed(*parts):
        return like.new_zeros(size)
    return torch.stack([part.new_zeros(()) for part in (*parts, like)]).sum().new_zeros(size)


def _value_tape(x: Tensor, program: Program, geometry: Geometry) -> Tape:
    return program.value_at_border if geometry.has_border((x.shape[-2], x.shape[-1])) else program.value


def _run(
    tape: Tape,
    inputs: dict[str, Callable[[Any], Any]],
    wide: torch.dtype,
    operations: dict[str, Callable[..., Any]] = OPERATIONS,
) -> list[Any]:
    values: list[Any] = []
    for op, arguments, leaf in tape.operations:
        given = [values[at] for at in arguments]
        if op == "where" and not any(isinstance(number, Tensor) for number in given[1:]):
            # Of two numbers torch would make its default dtype, whatever the map's.
            given[1] = torch.full((), given[1], dtype=wide, device=given[0].device)
        values.append(inputs[op](leaf) if op in inputs else operations[op](*given))
    return [values[at] for at in tape.outputs]


def _inputs(
    x: Tensor, params: Tensor | None, key: Tensor | None, geometry: Geometry
) -> dict[str, Callable[[Any], Any]]:
    size = x.shape[-2], x.shape[-1]
    wide = wide_dtype(x.dtype)
    (top, below), (left, right) = margins(size, geometry)
    first: list[Tensor] = []
    if are_known(*size):
        padded = F.pad(x, (left, right, top, below)) if max(top, below, left, right) > 0 else x
    else:
        padded = F.pad(x, (left, right, top, below)) if geometry.has_border(size) else x
        first = [torch.arange(geometry.shape[a], device=x.device) * geometry.stride[a] for a in (0, 1)]
    inside_by_axis = [inside(axis, size[axis], geometry, x.device) for axis in (0, 1)]

    def draw(which: int) -> Tensor:
        assert key is not None
        return uniform(key + which, *x.shape[:-2], *geometry.shape).to(wide)

    def param(which: int) -> Tensor:
        assert params is not None
        return params[which].to(wide).view(-1, 1, 1)

    def tap(at: int) -> Tensor:
        if are_known(*size):
            return padded[_place(at, geometry)].to(wide)
        row, column = divmod(at, geometry.kernel_size[1])
        # Not by slices: their ends, and whether such steps lie side by side in memory, depend on what is not known.
        line = padded.index_select(-2, first[0] + row * geometry.dilation[0])
        return line.index_select(-1, first[1] + column * geometry.dilation[1]).to(wide)

    def valid(at: int) -> Tensor:
        row, column = divmod(at, geometry.kernel_size[1])
        return inside_by_axis[0][:, row, None] & inside_by_axis[1][None, :, column]

    return {
        "tap": tap,
        "valid": valid,
        "count": lambda _: (inside_by_axis[0].sum(1)[:, None] * inside_by_axis[1].sum(1)).to(wide),
        "param": param,
        "uniform": draw,
        "const": lambda number: number,
    }


def _place(at: int, geometry: Geometry) -> tuple[Any, ...]:
    """Return where value number `at` of every window lies in the padded map."""
    row, column = divmod(at, geometry.kernel_size[1])
    ends = []
    for axis, step in ((0, row), (1, column)):
        start, stride = step * geometry.dilation[axis], geometry.stride[axis]
        ends.append(slice(start, start + (geometry.shape[axis] - 1) * stride + 1, stride))
    return (..., *ends)


def margins(size: tuple[int, int], geometry: Geometry) -> list[tuple[int, int]]:
    """Return rows above and below, columns left and right that windows need beyond the map."""
    if geometry.hangs_over is False:
        return [(padding, padding) for padding in geometry.padding]
    beyond = [geometry.reach(axis) - geometry.padding[axis] - size[axis] for axis in (0, 1)]
    return [(geometry.padding[axis], larger(beyond[axis], 0)) for axis in (0, 1)]


def inside(axis: int, size: int, geometry: Geometry, device: torch.device) -> Tensor:
    """Return, for each window along an axis and each step within it, whether that is inside the map."""
    first = torch.arange(geometry.shape[axis], device=device) * geometry.stride[axis] - geometry.padding[axis]
    at = first[:, None] + torch.arange(geometry.kernel_size[axis], device=device) * geometry.dilation[axis]
    return (at >= 0) & (at < size)


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that is computed in: float32 for half precision, else its own."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def empty(like: Tensor, size: Any, channels_last: bool) -> Tensor:
    """Return an empty map of this size and layout, else like another one."""
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=memory_format(channels_last))
