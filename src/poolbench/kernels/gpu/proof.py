"""A kernel compared with torch's own operations before it is used for the first time.

A compiler's fault gives wrong gradients and says nothing, and no test of ours has run on every GPU with every version
of Triton.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.plain import plain_value, spread_plain, wide_dtype
from poolbench.kernels.precision import memory_format
from poolbench.kernels.program import Program

# Within which a kernel agrees with torch's own operations; a compiler's fault is off by whole numbers.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}


class Trial(NamedTuple):
    """What is compared.

    Args:
        program, geometry: the formula, and where its windows lie.
        size, channels_last, dtype, device: of the map.
        derivative: whether gradients are compared instead of results.
    """

    program: Program
    geometry: Geometry
    size: torch.Size
    channels_last: bool
    derivative: bool
    dtype: torch.dtype
    device: torch.device


def compare(
    window: Callable[..., Tensor], window_gradient: Callable[..., tuple[Tensor, Tensor | None]], trial: Trial
) -> None:
    """Run a kernel on a random map, and compare with torch's own operations.

    Args:
        window, window_gradient: what runs kernels, see `launch`.
        trial: what is compared.

    Raises:
        RuntimeError: they disagree.
    """
    program, _, size, _, derivative, dtype, _ = trial
    found, expected = _both_ways(window, window_gradient, trial)
    for one, other in zip(found, expected, strict=True):
        # What is NaN is off, too.
        off = ~((one - other).abs() <= TOLERANCES[dtype] * other.abs().max().clamp(min=1.0))
        # A number drawn close to a threshold may fall on either side.
        if int(off.sum()) > (off.numel() // 500 if program.draws else 0):
            what = "gradient" if derivative else "result"
            raise RuntimeError(
                f"the {what} of {program.name} by a kernel disagrees with torch's own operations on this GPU for "
                f"maps like {tuple(size)} in {dtype}: set implementation=fast for it, and please report this with "
                "the versions of torch and Triton"
            )


def _both_ways(
    window: Callable[..., Tensor], window_gradient: Callable[..., tuple[Tensor, Tensor | None]], trial: Trial
) -> tuple[list[Tensor], list[Tensor]]:
    """Return what a kernel and what torch's own operations make of random maps, in the dtype that is computed in."""
    program, geometry, size, channels_last, derivative, dtype, device = trial
    generator = torch.Generator(device).manual_seed(0)  # nobody else's numbers are shifted
    layout = memory_format(channels_last)
    wide = wide_dtype(dtype)

    def drawn(*sizes: int) -> Tensor:
        # Above 0, which every formula is for.
        return torch.rand(sizes, generator=generator, device=device, dtype=wide) + 0.1

    x = drawn(*size).to(dtype).contiguous(memory_format=layout)
    params = drawn(program.params, size[1]) if program.params else None
    key = torch.ones((), dtype=torch.int64, device=device)
    with torch.no_grad():
        if not derivative:
            y, z = window(x, params, key, program, geometry), plain_value(x, params, key, program, geometry)
            return [y.to(wide)], [z.to(wide)]
        gradient = drawn(*size[:2], *geometry.shape).to(dtype).contiguous(memory_format=layout)
        kept = None if program.is_linear else x
        gx, param_parts = window_gradient(gradient, kept, params, key, program, geometry, size, channels_last)
        hx, others = spread_plain(gradient, x, params, key, program, geometry)
    if param_parts is None or others is None:
        return [gx.to(wide)], [hx.to(wide)]
    # A sum over all windows, of which much cancels: seen beside what it would be if nothing did.
    count = math.prod(geometry.shape) * size[0]
    return [gx.to(wide), param_parts / count], [hx.to(wide), others.to(wide) / count]
