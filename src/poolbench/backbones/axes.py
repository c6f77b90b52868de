"""What the dimensions of a tensor inside a network stand for: the batch, channels, or places of a map.

A layer may hold its map as (B, C, H, W), as (B, H, W, C), as tokens (B, N, C) or in windows: only what was done to the
image since tells how many places a tensor has. So each operation that torch dispatches takes the meaning of its
input's dimensions over to its output's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

BATCH, CHANNEL, PLACE = "batch", "channel", "place"


@dataclass(frozen=True)
class Part:
    """One factor of a dimension.

    Args:
        kind: `batch`, `channel` or `place`.
        size: how many values it has.
        places: how many of them are places of the map; those of a padding and added tokens are none.
    """

    kind: str
    size: int
    places: float = 0


# For each dimension its factors, the outermost first; none for a dimension of size 1.
Axes = tuple[tuple[Part, ...], ...]
# An input of an operation: its shape, and its axes where they are known.
Known = tuple[Sequence[int], Axes | None]


def axes_of_images(shape: Sequence[int]) -> Axes:
    """Return the axes of images (B, C, H, W), or of sequences (B, C, L).

    >>> places(axes_of_images((2, 3, 8, 8))), places(axes_of_images((2, 3, 100)))
    (64, 100)
    """
    batch, channels, *sizes = shape
    return ((Part(BATCH, batch),), (Part(CHANNEL, channels),), *((Part(PLACE, size, size),) for size in sizes))


def places(axes: Axes) -> float:
    """Return the number of places of a map; 1 of features."""
    return math.prod(part.places for parts in axes for part in parts if part.kind == PLACE)


def channels_are_last(axes: Axes) -> bool:
    """Whether a map is (B, H, W, C), or (B, L, C).

    >>> images = axes_of_images((2, 3, 8, 8))
    >>> channels_are_last(images), channels_are_last((images[0], *images[2:], images[1]))
    (False, True)
    """
    if len(axes) not in (3, 4):
        return False
    of_places = [_has_places(parts) for parts in axes[1:]]
    of_channels = [any(part.kind == CHANNEL for part in parts) for parts in axes[1:]]
    return any(of_places) and not of_places[-1] and of_channels == [*[False] * (len(axes) - 2), True]


def follow(operation: str, arguments: Mapping[str, Any], inputs: Sequence[Known], shape: Sequence[int]) -> Axes | None:
    """Return the axes of an operation's output, None where they are not known.

    Args:
        operation: its name in torch's dispatcher, such as `view` or `convolution`.
        arguments: its arguments by name.
        inputs: its tensors, in order.
        shape: of the output.
    """
    if operation in _PRODUCTS:
        return _PRODUCTS[operation](inputs, shape)
    known = [(len(given), axes) for given, axes in inputs if axes is not None]
    if not known:
        return None
    rule = _RULES.get(operation)
    if rule is not None:
        return rule(known[0][1], arguments, shape)
    same = [axes for ndim, axes in known if ndim == len(shape)]
    if same:
        # What pads, and what appends tokens to a map, makes no new places.
        keeps = any(word in operation for word in ("pad", "conv", "pool", "cat")) and not arguments.get("transposed")
        return _of_sizes(max(same, key=places), shape, keeps=keeps)
    if "dim" in arguments and known[0][0] > len(shape):
        return _without(known[0][1], arguments["dim"])
    return None


def _has_places(parts: Sequence[Part]) -> bool:
    return any(part.kind == PLACE for part in parts)


def _of_sizes(axes: Axes, shape: Sequence[int], *, keeps: bool) -> Axes:
    """Return the axes of an output that has its input's dimensions, in other sizes."""
    return tuple(
        _of_size(parts, size, keeps=keeps, unknown=PLACE if len(shape) == 4 and index > 1 else CHANNEL)
        for index, (parts, size) in enumerate(zip(axes, shape, strict=True))
    )


def _of_size(parts: tuple[Part, ...], size: int, *, keeps: bool, unknown: str = CHANNEL) -> tuple[Part, ...]:
    before = math.prod(part.size for part in parts)
    if size == before:
        return parts
    if _has_places(parts) or (not parts and unknown == PLACE):
        own = math.prod(part.places for part in parts if part.kind == PLACE)
        return (Part(PLACE, size, min(own, size) if size < before or keeps else size),)
    return (Part(parts[0].kind if parts else unknown, size),)


def _at(axes: Axes, dim: int, more: int = 0) -> int:
    return dim % (len(axes) + more)


def _without(axes: Axes, dims: Any) -> Axes:
    """Return the axes without some dimensions; None are all."""
    if dims is None:
        return ()
    gone = {_at(axes, dim) for dim in ([dims] if isinstance(dims, int) else dims)}
    return tuple(parts for index, parts in enumerate(axes) if index not in gone)


def _view(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes | None:
    """Return the axes of the same values in other dimensions: factors are split and merged in their order."""
    left = [part for parts in axes for part in parts if part.size > 1]
    found: list[tuple[Part, ...]] = []
    for size in shape:
        parts: list[Part] = []
        need = size
        while need > 1:
            if not left:
                return None
            part = left.pop(0)
            if need % part.size == 0:
                parts.append(part)
            elif part.size % need == 0:
                inner = part.size // need
                parts.append(replace(part, size=need, places=min(part.places, need)))
                left.insert(0, replace(part, size=inner, places=part.places / need))
                part = parts[-1]
            else:
                return None
            need //= part.size
        found.append(_folded(parts))
    return tuple(found)


def _folded(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return a dimension's factors; places that stand beside channels, not rows of a batch, are channels now."""
    kinds = {part.kind for part in parts}
    if CHANNEL in kinds and BATCH not in kinds:
        return tuple(Part(CHANNEL, part.size) for part in parts)
    return tuple(parts)


def _permute(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    return tuple(axes[_at(axes, dim)] for dim in arguments["dims"])


def _transpose(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    first, second = (_at(axes, arguments.get(key, index)) for index, key in enumerate(("dim0", "dim1")))
    order = list(range(len(axes)))
    order[first], order[second] = second, first
    return tuple(axes[index] for index in order)


def _unsqueeze(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    dim = _at(axes, arguments.get("dim", 0), 1)
    return (*axes[:dim], (), *axes[dim:])


def _stack(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    dim = _at(axes, arguments.get("dim", 0), 1)
    return (*axes[:dim], _of_size((), shape[dim], keeps=True), *axes[dim:])


def _squeeze(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    dims = arguments.get("dim", list(range(len(axes))))
    dims = [dims] if isinstance(dims, int) else dims
    return _without(axes, [dim for dim in dims if math.prod(part.size for part in axes[_at(axes, dim)]) == 1])


def _select(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    return _without(axes, arguments.get("dim", 0))


def _unfold(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    """Return the axes of windows along one dimension, their values along a new last one."""
    dim = _at(axes, arguments["dimension"])
    sized = _of_size(axes[dim], shape[dim], keeps=True)
    return (*axes[:dim], sized, *axes[dim + 1 :], _of_size((), shape[-1], keeps=True))


def _im2col(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    own = places(axes)
    return (axes[0], (Part(CHANNEL, shape[1]),), (Part(PLACE, shape[2], min(own, shape[2])),))


def _col2im(axes: Axes, arguments: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    return axes_of_images(shape)


_RULES: dict[str, Callable[[Axes, Mapping[str, Any], Sequence[int]], Axes | None]] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy"), _view),
    **dict.fromkeys(("permute", "permute_copy"), _permute),
    **dict.fromkeys(("transpose", "t", "transpose_copy", "numpy_T"), _transpose),
    "unsqueeze": _unsqueeze, "stack": _stack, "squeeze": _squeeze, "select": _select, "unbind": _select,
    "unfold": _unfold, "im2col": _im2col, "col2im": _col2im,
}  # fmt: skip


def _mm(inputs: Sequence[Known], shape: Sequence[int]) -> Axes | None:
    """Return the axes of a matrix product, the last two of an operation's inputs."""
    (_, first), (_, second) = inputs[-2:]
    rows, columns = shape[-2:]
    if first is None and second is None:
        return None
    if second is None:  # weights that mix what stands along the last dimension
        assert first is not None
        return (*first[:-1], _of_size(first[-1], columns, keeps=True))
    if first is None:
        return (*second[:-2], _of_size(second[-2], rows, keeps=True), second[-1])
    if _has_places(first[-2]) and _has_places(second[-1]):
        return None  # of each place for each place, as in attention: no map
    if not _has_places(first[-2]) and not _has_places(second[-1]) and first[-2] and _has_places(first[-1]):
        return None  # of each channel for each channel
    batch = max((first[:-2], second[:-2]), key=len)
    if _has_places(second[-2]) and rows == math.prod(part.size for part in second[-2]):
        return (*batch, *second[-2:])  # each place gets a mean over places
    return (*batch, _of_size(first[-2], rows, keeps=True), _of_size(second[-1], columns, keeps=True))


_PRODUCTS: dict[str, Callable[[Sequence[Known], Sequence[int]], Axes | None]] = dict.fromkeys(
    ("mm", "addmm", "bmm", "baddbmm", "matmul", "linear"), _mm
)
