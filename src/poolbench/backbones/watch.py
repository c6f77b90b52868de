"""Calls of a network's modules, those of TorchScript too, which take no hooks of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

Enter = Callable[[str, nn.Module, tuple[Any, ...]], None]
Leave = Callable[[str, nn.Module, tuple[Any, ...], Any], None]


@contextmanager
def watching_calls(network: nn.Module, enter: Enter, leave: Leave) -> Iterator[None]:
    """Call `enter` before each call of a module of the network inside the block, and `leave` after it.

    Both are given the module's name, the module and its positional arguments, `leave` also its output, None where the
    call failed. Modules that are called inside TorchScript are not seen.
    """
    names = {id(module): name for name, module in network.named_modules()}

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if id(module) in names:
            enter(names[id(module)], module, inputs)

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if id(module) in names:
            leave(names[id(module)], module, inputs, output)

    hooks = [register_module_forward_pre_hook(before), register_module_forward_hook(after, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
