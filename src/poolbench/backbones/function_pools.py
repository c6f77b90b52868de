"""Poolings that a network calls as functions: made modules, so that surgery can reach them.

Only the forward method that holds such a call is rewritten, by torch.fx and with everything that it calls left as it
is; so a network need not be traceable as a whole.
"""

import itertools
import operator
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from poolbench.backbones.flow import following
from poolbench.backbones.function_chains import LAST, MAXIMA, MEANS, whole_map_chains
from poolbench.backbones.function_graph import Inputs, graphs_of, positional, require_same, values_of
from poolbench.backbones.trace import pass_zeros
from poolbench.backbones.watch import watching_calls
from poolbench.checks import is_whole

# What torch calls when a function pools, whatever name it was called by.
CALLED = {
    F.max_pool2d, torch.max_pool2d, torch._C._nn.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d,
    torch._C._nn.adaptive_max_pool2d, F.max_pool1d, torch.max_pool1d, torch.avg_pool1d, torch.adaptive_avg_pool1d,
    F.adaptive_avg_pool1d, F.adaptive_max_pool1d, torch.adaptive_max_pool1d,
    torch.mean, torch.Tensor.mean, torch.amax, torch.Tensor.amax,
}  # fmt: skip
# By how torch dispatches what may pool a whole map in several steps.
REDUCTIONS = {"mean", "sum", "amax", "max", "avg_pool2d", "max_pool2d_with_indices", "_adaptive_avg_pool2d"}


def expose_pools(network: nn.Module, image_shape: Sequence[int]) -> tuple[nn.Module, dict[str, str]]:
    """Return a network with the poolings that it calls as functions made modules, and why some could not be.

    The modules are named as torch.fx names calls (`max_pool2d`, `max_pool2d_1`, `mean`), inside of the module whose
    forward method called them. That method alone is exchanged, on the module itself, whose class, hooks, parameters
    and buffers stay.

    Args:
        network: changed in place; its own name is "".
        image_shape: (C, H, W) of an image or (C, L) of a sequence, passed through once to see which functions
            are called.

    Returns:
        the network, and the reason by the name of each module (the network's own is "") that could not be rewritten.
    """
    reasons: dict[str, str] = {}
    called, reducing = _callers(network, image_shape)
    inputs = _inputs_of(network, {**called, **reducing}, image_shape)
    # Those inside first, so that what is taken over by the outer one is rewritten already.
    for name in sorted(inputs, key=lambda name: -(name.count(".") + bool(name))):
        try:
            _rewrite(network.get_submodule(name), inputs.pop(name), len(image_shape) - 1)
        except Exception as error:  # torch.fx raises what the forward method makes of a stand-in
            if name in called:
                first = str(error).strip().splitlines()[:1]
                reasons[name] = f"its forward method cannot be rewritten: {type(error).__name__}: {''.join(first)}"
    return network, reasons


class _Calls(TorchFunctionMode):
    """Notes in which module a function pools."""

    def __init__(self, stack: list[str], spatial: int) -> None:
        super().__init__()
        self.stack, self.spatial, self.found = stack, spatial, list[str]()

    def __torch_function__(
        self, func: Callable[..., Any], kinds: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in CALLED and args and isinstance(args[0], Tensor) and args[0].ndim in (4, self.spatial + 2):
            self.found.append(self.stack[-1] if self.stack else "")
        return func(*args, **(kwargs or {}))


def _callers(network: nn.Module, image_shape: Sequence[int]) -> tuple[dict[str, None], dict[str, None]]:
    """Return the modules that pool by a function in their own forward method, and those that reduce a map to one place.

    The latter may do so by several steps, as in `x.flatten(2).mean(-1)`.
    """
    stack: list[str] = []
    calls = _Calls(stack, len(image_shape) - 1)

    def enter(name: str, *_: Any) -> None:
        stack.append(name)

    def leave(*_: Any) -> None:
        stack.pop()

    try:
        with watching_calls(network, enter, leave), calls, following(network) as flow:
            pass_zeros(network, image_shape)
    except Exception:  # the trace that follows meets it, too, and tells where
        return {}, {}
    to_one = [step.module for step in flow.steps if step.reduces and step.after == 1 and step.operation in REDUCTIONS]
    modules = dict(network.named_modules())
    called, reducing = (
        {name: None for name in names if not _is_torchs(modules[name])} for names in (calls.found, to_one)
    )
    return called, reducing


def _is_torchs(module: nn.Module) -> bool:
    """Whether a module computes by code of torch's or of an operator: it is a pooling itself."""
    if isinstance(module, torch.jit.ScriptModule):
        return True
    written = getattr(type(module).forward, "__module__", None) or ""
    return written.startswith(("torch.nn.", "poolbench.pooling"))


def _inputs_of(network: nn.Module, names: Iterable[str], image_shape: Sequence[int]) -> dict[str, Inputs]:
    """Return what modules are given in their first calls of a pass, by their names."""
    found: dict[str, Inputs] = {}

    def note(name: str, module: nn.Module, args: Inputs, kwargs: dict[str, Any]) -> None:
        found.setdefault(name, positional(module, args, kwargs))

    hooks = [
        network.get_submodule(name).register_forward_pre_hook(partial(note, name), with_kwargs=True) for name in names
    ]
    try:
        if hooks:
            pass_zeros(network, image_shape)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _rewrite(module: nn.Module, inputs: Inputs, spatial: int) -> None:
    """Exchange the forward method of a module for one in which its calls of poolings are calls of modules.

    A method that does something else in training than in evaluation, such as to drop out, is exchanged for two.
    """
    graphs = graphs_of(module, inputs)
    alike = str(graphs[True]) == str(graphs[False])
    own = dict(module._modules)
    try:
        made = _exchange(module, graphs[False], inputs, spatial)
        if not alike:
            module._modules.clear()
            module._modules.update(own)
            if str(_exchange(module, graphs[True], inputs, spatial)) != str(made):
                raise RuntimeError("it pools otherwise in training than in evaluation")
        if not made:
            return
        # Only the functions are taken from torch.fx: another class would lose methods and hooks of the module's own.
        kind = type(module).__name__
        forward, training = (type(fx.GraphModule(module, graphs[mode], kind)).forward for mode in (False, True))
        both = forward if alike else _by_mode(forward, training)
        require_same(module, both, inputs)
    except Exception:
        module._modules.clear()
        module._modules.update(own)
        raise
    module.forward = types.MethodType(both, module)


def _by_mode(evaluation: Callable[..., Any], training: Callable[..., Any]) -> Callable[..., Any]:
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return (training if self.training else evaluation)(self, *args, **kwargs)

    return forward


def _exchange(module: nn.Module, graph: fx.Graph, inputs: Inputs, spatial: int) -> dict[str, nn.Module]:
    """Let modules stand for the poolings of a graph, register them and return them by name."""
    taken = {name for name, _ in itertools.chain(module.named_children(), module.named_parameters(recurse=False))}
    values = values_of(module, graph, inputs)
    made: dict[str, nn.Module] = {}

    def put(node: fx.Node, pool: nn.Module, source: fx.Node) -> None:
        """Let a module stand for a node."""
        name = next(n for n in _numbered(_word(node)) if n not in taken and not hasattr(module, n))
        taken.add(name)
        made[name] = pool.train(module.training)
        module.add_module(name, pool)
        with graph.inserting_after(node):
            call = graph.call_module(name, (source,))
        values[call] = values[node]
        node.replace_all_uses_with(call)
        graph.erase_node(node)

    for node in reversed(graph.nodes):  # as of the indices in `values, indices = x.max(-1)`
        if node.target is operator.getitem and not node.users:
            graph.erase_node(node)
    for node in list(graph.nodes):
        pool = _module_for(node, values, spatial)
        if pool is not None:
            put(node, pool, _bound(node)["input"])
    for chain, pool in whole_map_chains(module, graph, values, spatial):
        put(chain[-1], pool, chain[0])
        for node in reversed(chain[1:-1]):
            if not node.users:
                graph.erase_node(node)
    graph.lint()
    return made


def _numbered(word: str) -> Any:
    return itertools.chain([word], (f"{word}_{number}" for number in itertools.count(1)))


def _word(node: fx.Node) -> str:
    return str(node.target if node.op == "call_method" else getattr(node.target, "__name__", node.target)).strip("_")


def _module_for(node: fx.Node, values: Mapping[fx.Node, Any], spatial: int) -> nn.Module | None:
    """Return the module that does what a call does, None where it is no pooling of a whole map or by windows."""
    if node.op not in ("call_function", "call_method"):
        return None
    kind = node.target if node.op == "call_method" else _NAMES.get(cast(Callable[..., Any], node.target))
    bound = _bound(node)
    known, given = {key: value for key, value in bound.items() if key != "input"}, bound.get("input")
    if not isinstance(given, fx.Node) or len(node.all_input_nodes) > 1:
        return None
    if kind in ("mean", "amax"):
        value = values[given]
        is_map = isinstance(value, Tensor) and value.ndim == spatial + 2
        return _whole(str(kind), known, spatial) if is_map else None
    if known.pop("return_indices", False):
        return None
    return _MODULES[kind](**known) if kind in _MODULES else None


def _whole(kind: str, arguments: Mapping[str, Any], spatial: int) -> nn.Module | None:
    """Return the module of a mean or maximum over dimensions, None where they are not all of the map's."""
    dim = arguments.get("dim")
    dims = [dim] if is_whole(dim) else dim
    if not isinstance(dims, list | tuple) or not all(isinstance(d, int) for d in dims) or arguments.get("dtype"):
        return None
    over, keeps = sorted(d % (spatial + 2) for d in dims), arguments.get("keepdim", False)
    if over == list(range(1, spatial + 1)) and not keeps:
        return LAST[spatial][kind != "mean"]()
    if over != list(range(2, spatial + 2)):
        return None
    plain, kept = (MEANS if kind == "mean" else MAXIMA)[spatial]
    return kept(1) if keeps else plain()


_MODULES: dict[Any, type[nn.Module]] = {
    "max_pool2d": nn.MaxPool2d, "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d, "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
    "max_pool1d": nn.MaxPool1d, "avg_pool1d": nn.AvgPool1d,
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d, "adaptive_max_pool1d": nn.AdaptiveMaxPool1d,
}  # fmt: skip
_NAMES: dict[Callable[..., Any], str] = {
    F.max_pool2d: "max_pool2d", torch.max_pool2d: "max_pool2d",
    F.avg_pool2d: "avg_pool2d", F.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
    F.max_pool1d: "max_pool1d", torch.max_pool1d: "max_pool1d", F.avg_pool1d: "avg_pool1d",
    F.adaptive_avg_pool1d: "adaptive_avg_pool1d", F.adaptive_max_pool1d: "adaptive_max_pool1d",
    torch.mean: "mean", torch.amax: "amax",
}  # fmt: skip
_PARAMETERS = {
    "max_pool1d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool1d": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    "adaptive_avg_pool1d": ("input", "output_size"),
    "adaptive_max_pool1d": ("input", "output_size", "return_indices"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": (
        "input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"
    ),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "adaptive_max_pool2d": ("input", "output_size", "return_indices"),
    "mean": ("input", "dim", "keepdim", "dtype"),
    "amax": ("input", "dim", "keepdim"),
}  # fmt: skip


def _bound(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call by name; the map is `input`."""
    name = node.target if node.op == "call_method" else _NAMES.get(cast(Callable[..., Any], node.target))
    names = _PARAMETERS.get(str(name), ())
    return {"input": node.kwargs.get("self"), **dict(zip(names, node.args, strict=False)), **node.kwargs}
