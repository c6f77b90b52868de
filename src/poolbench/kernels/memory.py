"""Memory that compiled code reads and writes: checked here, and nowhere else, before it is handed over.

Compiled code believes an address. What torch's own operations would refuse, parameters on another device for example,
would end the process.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def checked(
    what: str,
    tensor: Tensor | None,
    device: torch.device,
    dtype: torch.dtype,
    shape: Sequence[int],
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Return a tensor whose memory is what a kernel takes it for.

    Args:
        what: it is, for messages: `"the map"`.
        tensor: what was given; None is an error, too.
        device, dtype, shape, layout: as the kernel needs them.

    Raises:
        RuntimeError: it is something else.
    """
    address(what, tensor, device, dtype, shape, layout)
    assert tensor is not None
    return tensor


def address(
    what: str,
    tensor: Tensor | None,
    device: torch.device,
    dtype: torch.dtype,
    shape: Sequence[int],
    layout: torch.memory_format = torch.contiguous_format,
) -> int:
    """Return where a tensor lies in memory, checked as `checked` does: at every call, so by the cheapest questions."""
    if (
        tensor is not None
        and tensor.device == device
        and tensor.dtype is dtype
        and tensor.shape == shape
        and tensor.is_contiguous(memory_format=layout)
        and not tensor.is_neg()
    ):
        place = tensor.data_ptr()
        if place or tensor.numel() == 0:
            return place
    raise RuntimeError(_fault(what, tensor, device, dtype, tuple(shape), layout))


def placed(
    what: str,
    tensor: Tensor | None,
    device: torch.device,
    dtype: torch.dtype,
    shape: Sequence[int],
    layout: torch.memory_format,
) -> tuple[Tensor, int]:
    """Return a tensor in the memory layout that a kernel needs, and its `address`: hold the one to use the other."""
    if tensor is not None and (tensor.is_neg() or not tensor.is_contiguous(memory_format=layout)):
        tensor = arranged(tensor, layout)
    return tensor, address(what, tensor, device, dtype, shape, layout)  # type: ignore[return-value]


def made(like: Tensor, size: Sequence[int], strides: Sequence[int]) -> tuple[Tensor, int]:
    """Return memory to be written, where a checked tensor lies and of its dtype, and the address.

    Raises:
        RuntimeError: there is none, as for a tensor without memory.
    """
    tensor = like.new_empty_strided(size, strides)
    place = tensor.data_ptr()
    if not place and tensor.numel() > 0:
        raise RuntimeError(_fault("the result", tensor, like.device, like.dtype, tuple(size), torch.preserve_format))
    return tensor, place


def arranged(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    """Return a tensor in a memory layout, its numbers as they count (torch may keep a sign apart from them)."""
    return (tensor.resolve_neg() if tensor.is_neg() else tensor).contiguous(memory_format=layout)


def _fault(
    what: str,
    tensor: Tensor | None,
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    layout: torch.memory_format,
) -> str:
    """Return what is wrong with a tensor, in torch's words where torch has some."""
    if tensor is None:
        return f"Expected {what}, of shape {shape} and {dtype} on {device}, got none"
    if tensor.device != device:
        return (
            f"Expected all tensors to be on the same device, but found at least two devices, {device} and "
            f"{tensor.device}! {what.capitalize()} must be moved to {device} with `.to`"
        )
    if tensor.dtype is not dtype:
        return f"Expected {what} to be {dtype}, got {tensor.dtype}"
    if tensor.shape != shape:
        return f"Expected {what} to have shape {shape}, got {tuple(tensor.shape)}"
    if not tensor.is_contiguous(memory_format=layout) or tensor.is_neg():
        return f"Expected {what} to lie in memory as {layout}, got strides {tensor.stride()}"
    return f"Expected {what} to have memory of its own, got a tensor without any (its storage was released or deferred)"
