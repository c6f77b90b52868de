"""The precision and the memory layout in which operators compute, and those of their results."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from poolbench.kernels.transforms import is_transformed

# Memory formats and dtypes by their names.
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def upcast(x: Tensor) -> Tensor:
    """Return half precision as float32, for sums that half precision would lose or overflow; the rest as it is.

    >>> upcast(torch.zeros(1, dtype=torch.bfloat16)).dtype, upcast(torch.zeros(1, dtype=torch.float64)).dtype
    (torch.float32, torch.float64)
    """
    if x.dtype in (torch.float32, torch.float64):  # asked at every call
        return x
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast leaves products of float32 as they are.

    >>> with torch.autocast("cpu", torch.bfloat16), without_autocast(torch.zeros(1)):
    ...     print((torch.ones(1, 1) @ torch.ones(1, 1)).dtype)
    torch.float32
    """
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def is_channels_last(x: Tensor) -> bool:
    """Whether a map (B, C, H, W) has its channels side by side in memory, and could not as well have its columns."""
    # Where a map may be a stack of maps, torch does not say.
    return not is_transformed(x) and lies_channels_last(x)


def lies_channels_last(x: Tensor) -> bool:
    """Return what `is_channels_last` does, of a map that nothing transforms."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def memory_format(channels_last: bool) -> torch.memory_format:
    """Return the memory format of a map whose channels lie side by side, or not."""
    return FORMATS["channels_last" if channels_last else "contiguous"]


def laid_out(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Return a batch in a memory format: only maps (B, C, H, W) can be channels-last, sequences stay contiguous."""
    return x.contiguous(memory_format=memory_format if x.ndim == 4 else torch.contiguous_format)


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Return the memory format that results get: channels-last only where the map is it and nothing else."""
    return memory_format(is_channels_last(x))


def match_input(x: Tensor, y: Tensor) -> Tensor:
    """Return `y` in the dtype of `x`, and channels-last if `x` is.

    >>> x = torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    >>> y = match_input(x, torch.zeros(1, 3, 2, 2))
    >>> y.dtype, y.is_contiguous(memory_format=torch.channels_last)
    (torch.bfloat16, True)
    """
    return y.to(x.dtype).contiguous(memory_format=memory_format_of(x))
