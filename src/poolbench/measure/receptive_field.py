"""How far a value of a map sees: the side of the patch of the image that it depends on, and its step there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from poolbench.pooling import (
    BlurPool2d,
    BlurringPool2d,
    ConvMaxPool2d,
    HaarWaveletPool2d,
    LIPPool2d,
    PolyphasePool2d,
    S3Pool2d,
    SpaceToDepthConv2d,
    TIPSPool2d,
    WaveletPool2d,
)

MARK = "_poolbench_receptive_field"


@dataclass(frozen=True)
class ReceptiveField:
    """What one value of a map sees of the example: in pixels, rows and columns; of a sequence, in places.

    Args:
        size: sides of the patch.
        step: between the patches of neighbouring values.
    """

    size: tuple[float, ...] = (1, 1)
    step: tuple[float, ...] = (1, 1)

    def through(self, kernel: Any, stride: Any, dilation: Any = 1) -> "ReceptiveField":
        """Return what a value sees behind a window.

        >>> ReceptiveField().through(7, 2).through(3, 2)
        ReceptiveField(size=(11, 11), step=(4, 4))
        """
        axes = range(len(self.size))
        # In one dimension an operator's window is one row, of which the last number is the length.
        k, s, d = (_pair(value)[-len(self.size) :] for value in (kernel, stride, dilation))
        size = tuple(self.size[a] + (k[a] - 1) * d[a] * self.step[a] for a in axes)
        return ReceptiveField(size, tuple(self.step[a] * s[a] for a in axes))


@contextmanager
def watching(network: nn.Module) -> Iterator[dict[str, ReceptiveField]]:
    """Note, while a network runs on marked images (see `marked`), what the output of each of its modules sees.

    Convolutions and windows are followed through every other operation; of operands of several sizes, as where a gate
    scales a map, the largest map counts. So do not: attention, products of whole maps and what pools a whole map; a
    value behind those depends on more.
    """
    found: dict[str, ReceptiveField] = {}
    with ExitStack() as stack:
        for name, module in network.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
                stack.callback(module.register_forward_hook(partial(_leave, found, name)).remove)
        stack.enter_context(_Following())
        yield found


def marked(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) or sequences (B, C, L) whose values see themselves alone."""
    alone = (1,) * (images.ndim - 2)
    setattr(images, MARK, ReceptiveField(alone, alone))
    return images


def _leave(
    found: dict[str, ReceptiveField], name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any
) -> None:
    if not isinstance(output, Tensor):
        return
    kernel, stride = getattr(module, "kernel_size", None), getattr(module, "stride", None)
    before = getattr(inputs[0], MARK, None) if inputs else None
    if before is not None and kernel is not None and type(module).__module__.startswith("poolbench.pooling"):
        # An operator runs in many ways: as its geometry says.
        field = before.through(_reach(module), stride, getattr(module, "dilation", 1))
        setattr(output, MARK, field)
    field = getattr(output, MARK, None)
    if field is not None:
        found[name] = field


def _reach(operator: nn.Module) -> tuple[float, float]:
    """Return the sides of what a result depends on: the window, widened by what filters or weights around it.

    Where the window lies may depend on more, as with polyphase and fractional pooling, and so may what normalises
    the weights.
    """
    if isinstance(operator, BlurPool2d):  # its window only says where the filter lies
        sides: list[Any] = [operator.blur.kernel_size]
    elif isinstance(operator, WaveletPool2d):  # likewise
        sides = [(len(operator.taps[0]), len(operator.taps[1]))]
    elif isinstance(operator, SpaceToDepthConv2d):  # likewise
        sides = [operator.weight.shape[2:]]
    elif isinstance(operator, HaarWaveletPool2d | TIPSPool2d):  # what is mixed lies in a block as large as the stride
        sides = [operator.stride]
    elif isinstance(operator, PolyphasePool2d) and operator.maxima is None:  # one value, wherever it lies
        sides = [1]
    else:
        sides = [operator.kernel_size, *_around(operator)]
    return (1 + sum(_pair(side)[0] - 1 for side in sides), 1 + sum(_pair(side)[1] - 1 for side in sides))


def _around(operator: nn.Module) -> list[Any]:
    """Return the sides of what an operator applies at every place, before its window or behind it, in evaluation."""
    if isinstance(operator, BlurringPool2d):
        return [operator.blur.kernel_size]
    if isinstance(operator, S3Pool2d):
        return [operator.mean.kernel_size]
    if isinstance(operator, ConvMaxPool2d):
        return [operator.conv.kernel_size]
    layers: list[Any] = list(operator.logit) if isinstance(operator, LIPPool2d) else []
    return [layer.conv.kernel_size for layer in layers]


def _pair(value: Any) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, tuple | list | torch.Size) else (value, value)
    return (pair[0], pair[-1])


def _window(func: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[Any, Any, Any] | None:
    """Return kernel, stride and dilation of what a call does, None where it is no window."""
    if func in (torch.conv2d, torch.conv1d):
        weight = arguments["weight"]
        return weight.shape[2:], arguments.get("stride", 1), arguments.get("dilation", 1)
    if func in _NAMES:
        kernel = arguments["kernel_size"]
        return kernel, arguments.get("stride") or kernel, arguments.get("dilation", 1)
    return None


_MAX = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
_NAMES: dict[Callable[..., Any], tuple[str, ...]] = {
    torch.conv2d: ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    torch.conv1d: ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    torch.max_pool2d: _MAX,
    # What torch writes in Python arrives under its own name, and nothing of what it calls.
    F.max_pool2d: _MAX,
    F.max_pool2d_with_indices: _MAX,
    F.lp_pool2d: ("input", "norm_type", "kernel_size", "stride", "ceil_mode"),
    F.avg_pool2d: ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    torch.max_pool1d: _MAX,
    F.max_pool1d: _MAX,
    F.max_pool1d_with_indices: _MAX,
    F.lp_pool1d: ("input", "norm_type", "kernel_size", "stride", "ceil_mode"),
    F.avg_pool1d: ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
}
# What boils a map down to features keeps no places to speak of.
_BLIND = {
    F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.adaptive_avg_pool1d, F.adaptive_max_pool1d, torch.bmm,
}  # fmt: skip


class _Following(TorchFunctionMode):
    """Carries the mark of a function's largest operand over to what it returns."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # A linear layer along the last dimension of a map, the channels, is a convolution of side 1.
        if func in _BLIND or (func is F.linear and args[0].ndim != 4):
            return result
        seen = [t for t in tree_leaves((args, dict(kwargs))) if isinstance(t, Tensor) and getattr(t, MARK, None)]
        if not seen:
            return result
        most = max(_places(t) for t in seen)
        fields = [getattr(t, MARK) for t in seen if _places(t) == most]
        field = ReceptiveField(
            tuple(map(max, *(s.size for s in fields))) if len(fields) > 1 else fields[0].size,
            tuple(map(max, *(s.step for s in fields))) if len(fields) > 1 else fields[0].step,
        )
        window = _window(func, {**dict(zip(_NAMES.get(func, ()), args, strict=False)), **kwargs})
        if window is not None:
            field = field.through(*window)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                setattr(leaf, MARK, field)
        return result


def _places(tensor: Tensor) -> int:
    field: ReceptiveField = getattr(tensor, MARK)
    is_map = tensor.ndim == 4 or tensor.ndim == len(field.size) + 2
    return int(tensor.shape[2:].numel()) if is_map else 1
