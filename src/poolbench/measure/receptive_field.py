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

MARK = "_poolbench_sight"


@dataclass(frozen=True)
class Sight:
    """What one value of a map sees of the image, in pixels, rows and columns.

    Args:
        size: sides of the patch.
        step: between the patches of neighbouring values.
    """

    size: tuple[float, float] = (1, 1)
    step: tuple[float, float] = (1, 1)

    def through(self, kernel: Any, stride: Any, dilation: Any = 1) -> "Sight":
        """Return what a value sees behind a window.

        >>> Sight().through(7, 2).through(3, 2)
        Sight(size=(11, 11), step=(4, 4))
        """
        k, s, d = (_pair(value) for value in (kernel, stride, dilation))
        size = tuple(self.size[a] + (k[a] - 1) * d[a] * self.step[a] for a in (0, 1))
        return Sight((size[0], size[1]), (self.step[0] * s[0], self.step[1] * s[1]))


@contextmanager
def watching(network: nn.Module) -> Iterator[dict[str, Sight]]:
    """Note, while a network runs on marked images (see `marked`), what the output of each of its modules sees.

    Convolutions and windows are followed through every other operation; of operands of several sizes, as where a gate
    scales a map, the largest map counts. So do not: attention, products of whole maps and what pools a whole map; a
    value behind those depends on more.
    """
    found: dict[str, Sight] = {}
    with ExitStack() as stack:
        for name, module in network.named_modules():
            stack.callback(module.register_forward_hook(partial(_leave, found, name)).remove)
        stack.enter_context(_Following())
        yield found


def marked(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) whose values see themselves alone."""
    setattr(images, MARK, Sight())
    return images


def _leave(found: dict[str, Sight], name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if not isinstance(output, Tensor):
        return
    kernel, stride = getattr(module, "kernel_size", None), getattr(module, "stride", None)
    before = getattr(inputs[0], MARK, None) if inputs else None
    if before is not None and kernel is not None and type(module).__module__.startswith("poolbench.pooling"):
        # An operator runs in many ways: as its geometry says.
        sight = before.through(_reach(module), stride, getattr(module, "dilation", 1))
        setattr(output, MARK, sight)
    sight = getattr(output, MARK, None)
    if sight is not None:
        found[name] = sight


def _reach(operator: nn.Module) -> tuple[float, float]:
    """Return the values that a result depends on: the window, and what is blurred or weighted around it."""
    more = int(getattr(operator, "blur_size", 1)) + int(getattr(operator, "logit_size", 1)) - 2
    rows, columns = _pair(operator.kernel_size)
    return rows + (more if rows > 1 or columns == 1 else 0), columns + more


def _pair(value: Any) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, tuple | list | torch.Size) else (value, value)
    return (pair[0], pair[-1])


def _window(func: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[Any, Any, Any] | None:
    """Return kernel, stride and dilation of what a call does, None where it is no window."""
    if func is torch.conv2d:
        weight = arguments["weight"]
        return weight.shape[2:], arguments.get("stride", 1), arguments.get("dilation", 1)
    if func is torch.max_pool2d or func is torch._C._nn.avg_pool2d:
        kernel = arguments["kernel_size"]
        return kernel, arguments.get("stride") or kernel, arguments.get("dilation", 1)
    return None


_NAMES: dict[Callable[..., Any], tuple[str, ...]] = {
    torch.conv2d: ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    torch.max_pool2d: ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    torch._C._nn.avg_pool2d: ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
}
# What boils a map down to features keeps no places to speak of.
_BLIND = {F.linear, F.adaptive_avg_pool2d, torch.bmm}


class _Following(TorchFunctionMode):
    """Carries the mark of a function's largest operand over to what it returns."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in _BLIND:
            return result
        seen = [t for t in tree_leaves((args, dict(kwargs))) if isinstance(t, Tensor) and getattr(t, MARK, None)]
        if not seen:
            return result
        most = max(_places(t) for t in seen)
        sights = [getattr(t, MARK) for t in seen if _places(t) == most]
        sight = Sight(
            (max(s.size[0] for s in sights), max(s.size[1] for s in sights)),
            (max(s.step[0] for s in sights), max(s.step[1] for s in sights)),
        )
        window = _window(func, {**dict(zip(_NAMES.get(func, ()), args, strict=False)), **kwargs})
        if window is not None:
            sight = sight.through(*window)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                setattr(leaf, MARK, sight)
        return result


def _places(tensor: Tensor) -> int:
    return int(tensor.shape[2:].numel()) if tensor.ndim == 4 else 1
