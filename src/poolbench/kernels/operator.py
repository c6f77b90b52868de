"""The kernels as two operators of torch's: the results of all windows, and what the map gets of their gradient.

`torch.ops.poolbench.window` and `torch.ops.poolbench.window_gradient` have a derivative, and fake implementations that
give their shapes without running; so autograd, `torch.compile` and autocast treat them as torch's own.

`pooled` calls them where a compiler, a tracer or a mode must see them. Else it calls the kernels directly, without
torch's dispatcher and its part in Python: on a small map these take most of the time.
"""

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from poolbench.kernels.cpu import launch, library
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.plain import empty, spread_plain, wide_dtype
from poolbench.kernels.precision import is_channels_last, lies_channels_last, upcast
from poolbench.kernels.program import Program
from poolbench.kernels.programs import Programs
from poolbench.kernels.transforms import is_only_recorded, is_transformed

# Where the kernels of an implementation run, and of which dtypes.
KERNELS = {
    "fast": ("cpu", (torch.float32, torch.float64, torch.bfloat16)),
    "triton": ("cuda", (torch.float32, torch.float64, torch.bfloat16, torch.float16)),
}
# A longer formula would take many seconds to compile and keep nothing in registers.
MOST_OPERATIONS = 2500

# torch has one set of operators in a process, and they have one set of programs.
PROGRAMS = Programs()
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


def unavailable(implementation: str) -> str:
    """Return why this machine can compile no kernels of an implementation, "" where it can."""
    if implementation == "fast":
        return library.unavailable()
    return "" if importlib.util.find_spec("triton") else "Triton is not installed"


@torch.library.impl(_library, "window", "CPU")
def _window(x: Tensor, params: Tensor | None, key: Tensor | None, program: str, geometry: list[int]) -> Tensor:
    return launch.window(x, params, key, PROGRAMS.of(program), Geometry.from_list(geometry))


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
    return _whole(*launch.window_gradient(gradient, x, params, key, PROGRAMS.of(program), place, size, channels_last))


@torch.library.impl(_library, "window", "CUDA")
def _window_cuda(x: Tensor, params: Tensor | None, key: Tensor | None, program: str, geometry: list[int]) -> Tensor:
    return _on_gpu()[0](x, params, key, PROGRAMS.of(program), Geometry.from_list(geometry))


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
    return _whole(*_on_gpu()[1](gradient, x, params, key, PROGRAMS.of(program), place, size, channels_last))


def _whole(gx: Tensor, gparams: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return gradients as an operator of torch's must: an empty tensor where there are no parameters."""
    return gx, gx.new_empty(0, dtype=wide_dtype(gx.dtype)) if gparams is None else gparams


@torch.library.register_fake("poolbench::window", lib=_library)
def _(x: Tensor, params: Tensor | None, key: Tensor | None, program: str, geometry: list[Any]) -> Tensor:
    return empty(x, (*x.shape[:2], *geometry[-2:]), is_channels_last(x))


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
    return empty(gradient, tuple(size), channels_last), gradient.new_empty(
        (0,) if params is None else params.shape, dtype=wide_dtype(gradient.dtype)
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, params, key, ctx.program, ctx.geometry = inputs
    ctx.size, ctx.channels_last = x.shape, is_channels_last(x)
    ctx.save_for_backward(None if PROGRAMS.of(ctx.program).is_linear else x, params, key)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    x, params, key = ctx.saved_tensors
    if _needs_torch(gradient, x, params):
        found = spread_plain(
            gradient,
            _map_of(ctx.size, gradient, x),
            params,
            key,
            PROGRAMS.of(ctx.program),
            Geometry.from_list(ctx.geometry),
        )
    else:
        found = torch.ops.poolbench.window_gradient(
            gradient, x, params, key, ctx.program, ctx.geometry, ctx.size, ctx.channels_last
        )
    return found[0], None if params is None else found[1], None, None, None


def _needs_torch(gradient: Tensor, x: Tensor | None, params: Tensor | None) -> bool:
    """Return whether the derivative will be differentiated in turn, or is asked for many gradients at once."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (gradient, x, params)):
        return True
    return is_transformed(gradient)


def _map_of(size: Any, gradient: Tensor, x: Tensor | None) -> Tensor:
    """Return the map, or where none was kept one of its size: nothing is asked of its values."""
    return gradient.new_zeros(()).expand(size) if x is None else x


torch.library.register_autograd("poolbench::window", _backward, setup_context=_keep, lib=_library)


def pooled(x: Tensor, params: Tensor | None, key: Tensor | None, program: Program, geometry: Geometry) -> Tensor:
    """Return the results of all windows (B, C, H', W'); see `plain.pool_plain` for the arguments."""
    if not is_only_recorded(x):
        y: Tensor = torch.ops.poolbench.window(x, params, key, program.digest, geometry.as_list())
        return y
    return recorded(x, params, key, runner(x, params, program, geometry))


class Runner(Protocol):
    """What runs a program on maps like one that was there: on the CPU, `kernels.cpu.launch.Ready`.

    Parameters are (P, 1) or (P, C), or one of them without its dimension, in any dtype of floating point; their
    gradients have the same shape, and the dtype that is computed in.
    """

    @property
    def program(self) -> Program:
        """What is run."""
        ...

    @property
    def geometry(self) -> Geometry:
        """Where the windows lie."""
        ...

    @property
    def size(self) -> torch.Size:
        """That of the map."""
        ...

    def window(self, x: Tensor, params: Tensor | None, key: Tensor | None) -> Tensor:
        """Return the results of all windows."""
        ...

    def window_gradient(
        self, gradient: Tensor, x: Tensor | None, params: Tensor | None, key: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the map and the parameters get of the gradient of the results; None where there are none."""
        ...


def runner(x: Tensor, params: Tensor | None, program: Program, geometry: Geometry) -> Runner:
    """Return what runs a program on maps like this one, with parameters like these."""
    if x.is_cpu:
        return launch.ready(x, params, program, geometry)
    return _OnGpu(program, geometry, x.shape, lies_channels_last(x))


def recorded(x: Tensor, params: Tensor | None, key: Tensor | None, run: Runner) -> Tensor:
    """Return what `pooled` does, of a map that `is_only_recorded`: without torch's dispatcher.

    Args:
        x, key: see `plain.pool_plain`.
        params: the parameters, as a `Runner` takes them.
        run: what `runner` gave for such a map.
    """
    if torch.is_grad_enabled() and (x.requires_grad or (params is not None and params.requires_grad)):
        found: Tensor = _Pooled.apply(x, params, key, run)
        return found
    return run.window(x, params, key)


class _Pooled(torch.autograd.Function):
    """What `register_autograd` makes of the operators, called directly."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, params: Tensor | None, key: Tensor | None, run: Runner) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(None if run.program.is_linear else x, params, key)
        return run.window(x, params, key)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, params, key = ctx.saved_tensors
        (gradient,) = gradients
        if _needs_torch(gradient, x, params):
            program, geometry = ctx.run.program, ctx.run.geometry
            x = _map_of(ctx.run.size, gradient, x)
            gx, found = spread_plain(gradient, x, _by_number(params), key, program, geometry)
        else:
            gx, found = ctx.run.window_gradient(gradient, x, params, key)
        if found is not None and (found.dtype is not params.dtype or found.ndim != params.ndim):
            found = found.view(params.shape).to(params.dtype)
        return gx, found, None, None


def _by_number(params: Tensor | None) -> Tensor | None:
    """Return parameters as (P, 1) or (P, C), in at least float32."""
    return params if params is None or params.ndim == 2 else upcast(params).unsqueeze(0)


@dataclass(frozen=True)
class _OnGpu:
    """A `Runner` of Triton's kernels, which keep by themselves what they have decided."""

    program: Program
    geometry: Geometry
    size: torch.Size
    channels_last: bool

    def window(self, x: Tensor, params: Tensor | None, key: Tensor | None) -> Tensor:
        return _on_gpu()[0](x, _by_number(params), key, self.program, self.geometry)

    def window_gradient(
        self, gradient: Tensor, x: Tensor | None, params: Tensor | None, key: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        place = self.program, self.geometry, self.size, self.channels_last
        gx, found = _on_gpu()[1](gradient, x, _by_number(params), key, *place)
        return gx, None if found is None or params is None else found.view(params.shape)


@functools.cache
def _on_gpu() -> tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor | None]]]:
    """Return what computes results, and what computes gradients, on a GPU."""
    from poolbench.kernels.gpu import launch as gpu_launch

    return gpu_launch.window, gpu_launch.window_gradient
