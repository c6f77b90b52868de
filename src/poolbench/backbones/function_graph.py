"""One forward method as graphs of torch.fx, in evaluation and in training, or why it cannot be such a graph."""

import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

Inputs = tuple[Any, ...]
# What torch.fx calls tensors that a method makes, and keeps on the module for the graph.
CONSTANT = "_tensor_constant"


def graphs_of(module: nn.Module, inputs: Inputs) -> dict[bool, fx.Graph]:
    """Return what a module's forward method does, in evaluation (False) and in training (True).

    Args:
        module: left as it is.
        inputs: what the method is called with.

    Raises:
        Exception: whatever the method makes of a stand-in; `RuntimeError` where a graph would drop what it does: keep a
            random number, forget an attribute that it sets, or leave a block without gradients or under autocast.
    """
    before, drawn = _attributes(module), _drawn()
    try:
        graphs = {training: _graph(module, inputs, training) for training in (False, True)}
    finally:
        changed = _restored(module, before)
    draws = _drawn() != drawn
    if changed or draws:
        for key in [key for key in vars(module) if key not in before]:
            delattr(module, key)
        raise RuntimeError(
            f"it sets {', '.join(changed)} of its module" if changed else "it draws random numbers by no layer"
        )
    return graphs


def values_of(
    module: nn.Module, graph: fx.Graph, inputs: Inputs, known: Mapping[fx.Node, Any] | None = None
) -> dict[fx.Node, Any]:
    """Return what each node gives in evaluation mode, beside what is `known`; the graph may be an unfinished one."""
    interpreter = fx.Interpreter(module, garbage_collect_values=False, graph=graph)
    interpreter.env = dict(known or {})
    interpreter.args_iter = iter(inputs[sum(node.op == "placeholder" for node in interpreter.env) :])
    modes = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module.eval()
            for node in graph.nodes:
                if node not in interpreter.env:
                    interpreter.env[node] = interpreter.run_node(node)
    finally:
        for part, training in modes:
            part.training = training
    return interpreter.env


def positional(module: nn.Module, args: Inputs, kwargs: dict[str, Any]) -> Inputs:
    """Return the arguments of a call in the order of the forward method's parameters."""
    return tuple(inspect.signature(module.forward).bind(*args, **kwargs).args) if kwargs else args


def require_default(given: Any, name: str, default: Any) -> None:
    """Raise `RuntimeError` where a parameter is not the default with which its method was rewritten."""
    if given is not default and (isinstance(given, Tensor) or given != default):
        raise RuntimeError(
            f"`{name}` must be its default {default!r}: this method was rewritten for calls without it, got "
            f"{type(given).__name__}; give it in the network's first pass, too, or pool by modules"
        )


def require_same(module: nn.Module, forward: Callable[..., Any], inputs: Inputs) -> None:
    """Raise `RuntimeError` where `forward`, called with the module, computes other than its own method.

    Both are given random numbers in the place of those in `inputs`, in evaluation and in training.
    """
    generator = torch.Generator().manual_seed(0)

    def drawn(value: Any) -> Any:
        is_number = isinstance(value, Tensor) and value.is_floating_point()
        return torch.randn(value.shape, generator=generator).to(value) if is_number else value

    given = tree_map(drawn, inputs)
    modes = [(part, part.training) for part in module.modules()]
    state = [(tensor, tensor.clone()) for tensor in module.buffers()]
    try:
        for training in (False, True):
            results = []
            for method in (module.forward, partial(forward, module)):
                module.train(training)
                with torch.no_grad(), torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    try:
                        results.append([one for one in tree_leaves(method(*given)) if isinstance(one, Tensor)])
                    except Exception:  # what the module's own makes of random numbers is no matter of this
                        if not results:
                            return
                        raise
                    finally:
                        for tensor, before in state:
                            tensor.copy_(before)
            own, other = results
            if [one.shape for one in own] != [one.shape for one in other] or not all(map(_are_close, own, other)):
                raise RuntimeError("it would compute something else: it asks of what kind its arguments are")
    finally:
        for part, was in modes:
            part.training = was


def _are_close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=1e-3, atol=1e-5, equal_nan=True)


class _Ranked(fx.Proxy):
    """A stand-in that knows what is the same for any input: how many dimensions it has, how many sizes these are."""

    def __len__(self) -> int:
        value = self._known()
        if not isinstance(value, tuple | list):
            raise TypeError("the length of a tensor is not known beforehand")
        return len(value)

    def __getattr__(self, k: str) -> Any:
        value = self._known() if k in ("ndim", "dim") else None
        return getattr(value, k) if isinstance(value, Tensor) else _RankedAttribute(self, k)

    def _known(self) -> Any:
        assert isinstance(self.tracer, _Tracer)
        return self.tracer.known(self.node)


class _RankedAttribute(_Ranked, fx.proxy.Attribute):
    """An attribute of one, such as its shape."""


class _Tracer(fx.Tracer):
    """Follows one forward method, and into nothing that it calls but modules that it makes itself."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs, self.surroundings, self.parts = inputs, _surroundings(), set[int]()
        self.looks, self.values = False, dict[fx.Node, Any]()

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        self.parts = {id(part) for part in root.modules()}
        return super().trace(root, concrete_args)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        follows = id(m) in self.parts and not self.looks
        return super().call_module(m, forward, args, kwargs) if follows else forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self.looks else super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Ranked(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *further: Any, **named: Any
    ) -> Any:
        """Return a stand-in; of a parameter that the call leaves at its default, the default: code may ask for it."""
        made = super().create_proxy(kind, target, args, kwargs, *further, **named)
        places = sum(node.op == "placeholder" for node in self.graph.nodes) if kind == "placeholder" else 0
        if not args or places <= len(self.inputs):
            return made
        super().create_proxy("call_function", require_default, (made, str(target), args[0]), {})
        return args[0]

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if _surroundings() != self.surroundings:
            raise RuntimeError("part of it runs without gradients, under autocast or recomputed")
        return super().create_node(*args, **kwargs)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Yield the items of sizes or a tuple, whose number is no matter of the input's values."""
        value = self.known(obj.node)
        if not isinstance(value, tuple | list):
            return super().iter(obj)
        of: Any = obj
        return (of[index] for index in range(len(value)))

    def known(self, node: fx.Node) -> Any:
        """Return what a node gives for the inputs."""
        self.looks = True
        try:
            if node not in self.values:
                self.values = values_of(self.root, self.graph, self.inputs, self.values)
            return self.values[node]
        finally:
            self.looks = False


def _graph(module: nn.Module, inputs: Inputs, training: bool) -> fx.Graph:
    was, module.training = module.training, training
    try:
        return _Tracer(inputs).trace(module)
    finally:
        module.training = was


def _surroundings() -> tuple[bool, ...]:
    """Return what blocks around an operation change of it."""
    autocast = (torch.is_autocast_enabled(device) for device in ("cpu", "cuda"))
    recomputes = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
    return (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *autocast, recomputes)


def _drawn() -> tuple[bytes, ...]:
    """Return the states of the generators that code may draw from."""
    states = (torch.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state(legacy=False))
    return tuple(state if isinstance(state, bytes) else repr(state).encode() for state in states)


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return a module's attributes, with what lists and dictionaries hold."""
    return {
        key: (value, list(value) if isinstance(value, list) else dict(value) if isinstance(value, dict) else None)
        for key, value in vars(module).items()
    }


def _restored(module: nn.Module, before: dict[str, tuple[Any, Any]]) -> list[str]:
    """Give a module its attributes of before again; return which had changed."""
    own, changed = vars(module), []
    for key in [key for key in own if key not in before and not key.startswith(CONSTANT)]:
        changed.append(key)
        del own[key]
    for key, (value, held) in before.items():
        if own.get(key) is not value:
            changed.append(key)
            own[key] = value
        if isinstance(value, list) and [id(one) for one in value] != [id(one) for one in held]:
            changed.append(key)
            value[:] = held
        elif isinstance(value, dict) and {k: id(v) for k, v in value.items()} != {k: id(v) for k, v in held.items()}:
            changed.append(key)
            value.clear()
            value.update(held)
    return changed
