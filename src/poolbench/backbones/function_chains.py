"""Means and maxima of a whole map that a forward method makes in several steps, such as `x.flatten(2).mean(-1)`.

What a chain of steps computes is seen by trying it: on random maps it gives what the mean or the maximum gives.
"""

from collections.abc import Iterator, Mapping
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


class MapMeanLast2d(nn.Module):
    """The mean of each channel over a whole map whose channels come last: (B, H, W, C) → (B, C)."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Average the map."""
        return x_BHWC.mean((1, 2))


class MapMaxLast2d(nn.Module):
    """The largest value of each channel in a whole map whose channels come last: (B, H, W, C) → (B, C)."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Take the maximum of the map."""
        return x_BHWC.amax((1, 2))


class MapMeanLast1d(nn.Module):
    """The mean of each channel over a whole sequence whose channels come last: (B, L, C) → (B, C)."""

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Average the sequence."""
        return x_BLC.mean(1)


class MapMaxLast1d(nn.Module):
    """The largest value of each channel in a whole sequence whose channels come last: (B, L, C) → (B, C)."""

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Take the maximum of the sequence."""
        return x_BLC.amax(1)


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
# The same of maps whose channels come last: mean and maximum.
LAST: dict[int, tuple[type[nn.Module], type[nn.Module]]] = {
    1: (MapMeanLast1d, MapMaxLast1d), 2: (MapMeanLast2d, MapMaxLast2d),
}  # fmt: skip


def whole_map_chains(
    module: nn.Module, graph: fx.Graph, values: Mapping[fx.Node, Any], spatial: int
) -> Iterator[tuple[list[fx.Node], nn.Module]]:
    """Yield what computes the mean or the maximum of a whole map: its nodes, the map's first, and a module for them.

    Args:
        module: whose forward method it is.
        graph: that method, as torch.fx follows it.
        values: what each node gives.
        spatial: in how many dimensions the network's maps extend.
    """
    done: set[fx.Node] = set()
    for end in list(graph.nodes):
        value = values.get(end)
        if end.op not in ("call_function", "call_method") or not isinstance(value, Tensor):
            continue
        keeps = _is_one_place(value, spatial)
        if value.ndim != 2 and not keeps:
            continue
        chains = [chain for chain in _chains(end, values, spatial) if not done.intersection(chain)]
        # The map may be turned on the way, as in `x.permute(0, 2, 3, 1).mean((1, 2))`; else its channels may come last.
        tries = [(chain, False) for chain in chains] + [(chain, True) for chain in chains[:1] if not keeps]
        for chain, last in tries:
            pool = _pool_of(module, graph, values, chain[0], end, keeps=keeps, last=last)
            if pool is not None:
                done.update(chain[1:])
                yield chain, pool
                break


def _is_one_place(value: Tensor, spatial: int) -> bool:
    return value.ndim == spatial + 2 and set(value.shape[2:]) == {1}


def _chains(end: fx.Node, values: Mapping[fx.Node, Any], spatial: int) -> Iterator[list[fx.Node]]:
    """Yield the nodes from each map (B, C, H, W) or (B, C, L) before `end`, the nearest first, to `end`.

    Each is made of the one before it and of sizes.
    """
    chain = [end]
    while chain[0].op in ("call_function", "call_method"):
        tensors = [one for one in chain[0].all_input_nodes if _holds_tensor(values.get(one))]
        if len(tensors) != 1:
            return
        chain = [tensors[0], *chain]
        value = values[tensors[0]]
        # A map of one place is what the network's map is only where no call has made it one.
        is_called = tensors[0].op in ("call_function", "call_method")
        if (
            isinstance(value, Tensor)
            and value.ndim == spatial + 2
            and not (_is_one_place(value, spatial) and is_called)
        ):
            yield chain


def _holds_tensor(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))


def _pool_of(
    module: nn.Module,
    graph: fx.Graph,
    values: Mapping[fx.Node, Any],
    source: fx.Node,
    end: fx.Node,
    *,
    keeps: bool,
    last: bool,
) -> nn.Module | None:
    """Return the module that gives what `end` gives of the map of `source`, None where it is neither.

    `last` says that the map's channels are to be its last dimension.
    """
    shape = tuple(values[source].shape)
    spatial = len(shape) - 2
    kinds: tuple[tuple[type[nn.Module], type[nn.Module]], ...]
    if last:
        sides, kinds = shape[1:-1], tuple((kind, kind) for kind in LAST[spatial])
    else:
        sides, kinds = shape[2:], (MEANS[spatial], MAXIMA[spatial])
    if set(sides) == {1}:
        sides = LEAST[-spatial:]
    x = torch.randn(*((shape[0], *sides, shape[-1]) if last else (*shape[:2], *sides)), generator=stream(0, "chain"))
    x = x.to(values[source].dtype)
    half = x.to(torch.bfloat16)
    try:
        found, of_half = (_run(module, graph, values, source, end, given) for given in (x, half))
    except Exception:  # whatever the chain makes of another map
        return None
    if of_half.dtype != half.dtype:  # it asks for a type, which a module would not give under autocast
        return None
    places = x.flatten(1, -2).transpose(1, 2) if last else x.flatten(2)
    for expected, (plain, kept) in zip((places.mean(2), places.amax(2)), kinds, strict=True):
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
