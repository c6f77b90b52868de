"""Sizes of a map that are not known yet: those of what torch exports or traces, to hold for any size.

A size that is not known must decide nothing in Python: no branch, no `max`, no loop. Or else it is taken for that of
the example, without a word by `torch.jit.trace`, with an error by `torch.export`.
"""

import warnings
from typing import Any

import torch


def are_known(*sizes: Any) -> bool:
    """Return whether all sizes are numbers.

    >>> are_known(3, 4)
    True
    """
    # `torch.export` with strict=True gives what is not known out for numbers.
    return not _is_exported_strictly() and all(type(size) is int for size in sizes)


def larger(a: Any, b: Any) -> Any:
    """Return the larger of two sizes.

    >>> larger(3, 4)
    4
    """
    if are_known(a, b):
        return max(a, b)
    return torch.sym_max(a, b) if not _is_traced(a, b) else torch.maximum(*_as_tensors(a, b))


def smaller(a: Any, b: Any) -> Any:
    """Return the smaller of two sizes.

    >>> smaller(3, 4)
    3
    """
    if are_known(a, b):
        return min(a, b)
    return torch.sym_min(a, b) if not _is_traced(a, b) else torch.minimum(*_as_tensors(a, b))


def are_surely_equal(a: Any, b: Any) -> bool:
    """Return whether two sizes are equal whatever the map is; False where that is not known.

    >>> are_surely_equal(3, 3)
    True
    """
    if are_known(a, b):
        return bool(a == b)
    if _is_traced(a, b):
        return False
    # Loads sympy, which only a size that is not known needs.
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(a == b)


def _is_exported_strictly() -> bool:
    return torch.compiler.is_dynamo_compiling() and torch.compiler.is_exporting()


def _is_traced(*sizes: Any) -> bool:
    """Return whether one is what `torch.jit.trace` gives for a size."""
    return not torch.compiler.is_compiling() and any(isinstance(size, torch.Tensor) for size in sizes)


def _as_tensors(*sizes: Any) -> tuple[torch.Tensor, ...]:
    with warnings.catch_warnings():
        # A plain number among them is the same for every map: it may be traced as a constant.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return tuple(size if isinstance(size, torch.Tensor) else torch.tensor(size) for size in sizes)
