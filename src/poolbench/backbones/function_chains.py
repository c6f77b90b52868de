"""Means and maxima of a whole map that a forward method makes in several steps, such as `x.flatten(2).mean(-1)`.

What a chain of steps computes is seen by trying it: on random maps it gives what the mean or the maximum gives.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from poolbench.streams import stream

MAP = (2, 3)
# A map on which mean and maximum differ, where the network's own has one place.
LEAST = (3, 4)


class MapMean2d(nn.Module):
    """The mean of each channel over a whole map, as x.mean((2, 3)) gives it: (B, C, H, W) → (B, C)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Average the map."""
        return x_BCHW.mean(MAP)


class MapMax2d(nn.Module):
    """The largest value of each channel in a whole map, as x.amax((2, 3)) gives it: (B, C, H, W) → (B, C)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Take the maximum of the map."""
        return x_BCHW.amax(MAP)


def whole_map_chains(
    module: nn.Module, graph: fx.Graph, inputs: Callable[[], tuple[Any, ...]]
) -> Iterator[tuple[list[fx.Node], nn.Module]]:
    """Yield what computes the mean or the maximum of a whole map: its nodes, the map's first, and a module for them.

    Args:
        module: whose forward method it is.
        graph: that method, as torch.fx follows it.
        inputs: gives what the method is called with.
    """
    values = _values(module, graph, inputs())
    done: set[fx.Node] = set()
    for end in list(graph.nodes):
        value = values.get(end)
        if end.op not in ("call_function", "call_method") or not isinstance(value, Tensor):
            continue
        keeps = value.ndim == 4 and tuple(value.shape[2:]) == (1, 1)
        if value.ndim != 2 and not keeps:
            continue
        chain = _chain(end, values)
        if chain is None or any(node in done for node in chain):
            continue
        source = chain[0]
        pool = _pool_of(module, graph, values, source, end, keeps=keeps)
        if pool is not None:
            done.update(chain[1:])
            yield chain, pool


def _values(module: nn.Module, graph: fx.Graph, inputs: tuple[Any, ...]) -> dict[fx.Node, Any]:
    """Return what each node gives."""
    interpreter = fx.Interpreter(module, garbage_collect_values=False, graph=graph)
    was = module.training
    try:
        with torch.no_grad():
            module.eval()
            interpreter.run(*inputs)
    finally:
        module.train(was)
    return interpreter.env


def _chain(end: fx.Node, values: Mapping[fx.Node, Any]) -> list[fx.Node] | None:
    """Return the nodes from a map (B, C, H, W) to `end`, each made of the one before it and of sizes."""
    chain = [end]
    while True:
        node = chain[0]
        if node.op not in ("call_function", "call_method"):
            return None
        tensors = [one for one in node.all_input_nodes if _holds_tensor(values.get(one))]
        if len(tensors) != 1:
            return None
        chain.insert(0, tensors[0])
        value = values[tensors[0]]
        if isinstance(value, Tensor) and value.ndim == 4 and tuple(value.shape[2:]) != (1, 1):
            return chain
        if isinstance(value, Tensor) and value.ndim == 4 and tensors[0].op not in ("call_function", "call_method"):
            return chain  # the network's map is as small as that


def _holds_tensor(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))


def _pool_of(
    module: nn.Module, graph: fx.Graph, values: Mapping[fx.Node, Any], source: fx.Node, end: fx.Node, *, keeps: bool
) -> nn.Module | None:
    """Return the module that gives what `end` gives of the map of `source`, None where it is neither."""
    shape = tuple(values[source].shape)
    sides = shape[2:] if shape[2:] != (1, 1) else LEAST
    x = torch.randn(*shape[:2], *sides, generator=stream(0, "chain"))
    x = x.to(values[source].dtype)
    try:
        found = _run(module, graph, values, source, end, x)
    except Exception:  # whatever the chain makes of another map
        return None
    for expected, plain, kept in (
        (x.mean(MAP), MapMean2d, nn.AdaptiveAvgPool2d),
        (x.amax(MAP), MapMax2d, nn.AdaptiveMaxPool2d),
    ):
        given = found.flatten(1) if keeps else found
        if given.shape == expected.shape and torch.allclose(given, expected, rtol=1e-4, atol=1e-6):
            return kept(1) if keeps else plain()
    return None


def _run(
    module: nn.Module, graph: fx.Graph, values: Mapping[fx.Node, Any], source: fx.Node, end: fx.Node, x: Tensor
) -> Tensor:
    """Return what `end` gives where `source` gives `x`."""
    interpreter = fx.Interpreter(module, garbage_collect_values=False, graph=graph)
    env: dict[fx.Node, Any] = {source: x}
    for node in graph.nodes:
        if any(one in env for one in node.all_input_nodes) and node.op in ("call_function", "call_method"):
            if node is source:
                continue
            interpreter.env = {**values, **env}
            env[node] = interpreter.run_node(node)
        if node is end:
            break
    return env[end]
