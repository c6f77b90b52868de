"""Mixed precision: torch's autocast, and on a processor without instructions for bfloat16 the same by way of float32.

Where a processor lacks them (most without AVX-512), convolutions and matrix products in bfloat16 take torch 5 to 6
times as long as in float32, forward and backward: `python benchmarks/half_precision.py`. The product of two numbers of
bfloat16 is exact in float32, and sums are made in float32 either way. So operands are rounded to bfloat16, multiplied
in float32, and the result is rounded: equal up to the order of the sums, at about float32's speed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What autocast computes in bfloat16 on a CPU: functions, and the methods of tensors by which they are called, too.
PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.conv1d, torch.conv2d, torch.conv3d),
        *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
        *(F.linear, torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.addbmm, torch.baddbmm, torch.einsum),
        *(Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm, Tensor.addmm, Tensor.addbmm, Tensor.baddbmm),
        *(torch.linalg.matmul, torch.inner, torch.tensordot, F.scaled_dot_product_attention),
        torch._VF.lstm,
    }
)


class ProductsInFloat32(TorchFunctionMode):
    """While autocast to bfloat16 is on for the CPU, products are those of float32 with operands rounded to bfloat16."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, a product with rounded operands."""
        kwargs = kwargs or {}
        if func not in PRODUCTS or not _is_on():
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            found = func(*map(_rounded, args), **{name: _rounded(value) for name, value in kwargs.items()})
        return tuple(map(_halved, found)) if isinstance(found, tuple) else _halved(found)


def _halved(found: Tensor) -> Tensor:
    return found.to(torch.bfloat16) if found.dtype is torch.float32 else found


def _is_on() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16


def _rounded(value: Any) -> Any:
    """Return an operand of float32 or bfloat16 as float32 with the values of bfloat16, anything else as it is."""
    if isinstance(value, Tensor):
        on_cpu = value.device.type == "cpu" and value.dtype in (torch.float32, torch.bfloat16)
        return value.to(torch.bfloat16).float() if on_cpu else value
    if isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):  # einsum's operands
        return type(value)(map(_rounded, value))
    return value


@cache
def has_bfloat16() -> bool:
    """Whether torch multiplies bfloat16 by instructions of this CPU."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a build without oneDNN, which is what has them
        return False


def products_in_float32(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether autocast to `dtype` on this device takes its products in float32."""
    return device.type == "cpu" and dtype is torch.bfloat16 and not has_bfloat16()


def products(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return the context in which a network is called where autocast is on already."""
    return ProductsInFloat32() if products_in_float32(device, dtype) else nullcontext()


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute in `dtype` by autocast: `torch.bfloat16` or `torch.float16`; nothing is done for `torch.float32`."""
    with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32), products(device, dtype):
        yield
