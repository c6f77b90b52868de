"""Means and maxima of a whole map that a forward method makes in several steps, such as `x.flatten(2).mean(-1)`.

What a chain of steps computes is seen by trying it: on random maps it gives what the mean or the maximum gives.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from poolbench.streams import stream

# A map on which mean and maximum differ, where the network's own has one place.
LEAST = (3, 4)


class MapMean2d(nn.Module):
    """The mean of each channel over a whole map, as x.mean((2, 3)) gives it: (B, C, H, W) → (B, C)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Average the map."""
        return x_BCHW.mean((2, 3))


class MapMax2d(nn.Module):
    """The largest value of each channel in a whole map, as x.amax((2, 3)) gives it: (B, C, H, W) → (B, C)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Take the maximum of the map."""
        return x_BCHW.amax((2, 3))


class MapMean1d(nn.Module):
    """The mean of each channel over a whole sequence, as x.mean(2) gives it: (B, C, L) → (B, C)."""

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Average the sequence."""
        return x_BCL.mean(2)


class MapMax1d(nn.Module):
    """The largest value of each channel in a whole sequence, as x.amax(2) gives it: (B, C, L) → (B, C)."""

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Take the maximum of the sequence."""
        return x_BCL.amax(2)


# What pools a whole map of so many dimensions: to features, or to a map of one place.
MEANS: dict[int, tuple[type[nn.Module], type[nn.Module]]] = {
    1: (MapMean1d, nn.AdaptiveAvgPool1d), 2: (MapMean2d, nn.AdaptiveAvgPool2d),
}  # fmt: skip
MAXIMA: dict[int, tuple[type[nn.Module], type[nn.Module]]] = {
    1: (MapMax1d, nn.AdaptiveMaxPool1d), 2: (MapMax2d, nn.AdaptiveMaxPool2d),
}  # fmt: skip


def whole_map_chains(
    module: nn.Module, graph: fx.Graph, inputs: Callable[[], tuple[Any, ...]], spatial: int
) -> Iterator[tuple[list[fx.Node], nn.Module]]:
    """Yield what computes the mean or the maximum of a whole map: its nodes, the map's first, and a module for them.

    Args:
        module: whose forward method it is.
        graph: that method, as torch.fx follows it.
        inputs: gives what the method is called with.
        spatial: in how many dimensions the network's maps extend.
    """
    values = _values(module, graph, inputs())
    done: set[fx.Node] = set()
    for end in list(graph.nodes):
        value = values.get(end)
        if end.op not in ("call_function", "call_method") or not isinstance(value, Tensor):
            continue
        keeps = _is_one_place(value, spatial)
        if value.ndim != 2 and not keeps:
            continue
        chain = _chain(end, values, spatial)
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


def _is_one_place(value: Tensor, spatial: int) -> bool:
    return value.ndim == spatial + 2 and set(value.shape[2:]) == {1}


def _chain(end: fx.Node, values: Mapping[fx.Node, Any], spatial: int) -> list[fx.Node] | None:
    """Return the nodes from a map (B, C, H, W) or (B, C, L) to `end`, each made of the one before it and of sizes."""
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
        if not isinstance(value, Tensor) or value.ndim != spatial + 2:
            continue
        if not _is_one_place(value, spatial):
            return chain
        if tensors[0].op not in ("call_function", "call_method"):
            return chain  # the network's map is as small as that


def _holds_tensor(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))


def _pool_of(
    module: nn.Module, graph: fx.Graph, values: Mapping[fx.Node, Any], source: fx.Node, end: fx.Node, *, keeps: bool
) -> nn.Module | None:
    """Return the module that gives what `end` gives of the map of `source`, None where it is neither."""
    shape = tuple(values[source].shape)
    spatial = len(shape) - 2
    sides = shape[2:] if set(shape[2:]) != {1} else LEAST[-spatial:]
    x = torch.randn(*shape[:2], *sides, generator=stream(0, "chain"))
    x = x.to(values[source].dtype)
    try:
        found = _run(module, graph, values, source, end, x)
    except Exception:  # whatever the chain makes of another map
        return None
    places = x.flatten(2)
    for expected, (plain, kept) in ((places.mean(2), MEANS[spatial]), (places.amax(2), MAXIMA[spatial])):
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
