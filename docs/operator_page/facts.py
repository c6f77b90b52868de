"""What can be counted and asked of an operator: parameters, work, bytes, declared properties, compiled kernels."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import poolbench.pooling
from operator_page.catalogue import Entry
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.bases.work import Work

CHANNELS = 64
WINDOW_MAP = (32, 32)
HEAD_MAP = (8, 8)
# One so large that a head with a kernel takes it.
LARGE_MAP = (64, 64)
# The other window of which the work is told, with the stride and padding that it has in networks.
WIDER = {"kernel_size": 3, "stride": 2, "padding": 1}
# What `implementation_for` says of a machine, not of an operator.
NO_COMPILER = "no kernels on this machine"
NO_KERNEL = "the operator has no kernel"
# Operations of a traced formula in a reader's words.
WORDS = {
    "add": "additions",
    "sub": "additions",
    "mul": "products",
    "div": "divisions",
    "exp": "exponentials",
    "exp2": "exponentials",
    "log": "logarithms",
    "log2": "logarithms",
    "sqrt": "square roots",
    "gt": "comparisons",
    "ge": "comparisons",
}


@dataclass(frozen=True)
class Facts:
    """What is said of one operator at 64 channels, a window of 2 with stride 2 (or a last map of 8×8).

    Args:
        parameters: how many learned numbers it adds.
        shapes: name and shape of each parameter.
        operations: which operations one result takes, None where its formula is not traced.
        work: of one image, None for what is not poolbench's own.
        wider: operations for one result of a window of 3x3 with stride 2 and padding 1, None for a head.
        outputs: results for one image.
        kernel: whether there is a compiled kernel.
        kernel_reason: why there is none.
        output_shape: of (8, 64, 32, 32) for a window operator, of (8, 64, 8, 8) for a head.
        operator: what all this was asked of.
    """

    parameters: int
    shapes: Mapping[str, tuple[int, ...]]
    operations: Mapping[str, int] | None
    work: Work | None
    wider: float | None
    outputs: int
    kernel: bool
    kernel_reason: str
    output_shape: tuple[int, ...]
    operator: nn.Module

    def says(self, name: str, default: Any = None) -> Any:
        """Return what the operator declares, `default` where it declares nothing."""
        return getattr(self.operator, name, default)

    @property
    def exports(self) -> bool | None:
        """Whether it can be exported to ONNX, None where nothing is declared."""
        return self.says("onnx") is None if hasattr(self.operator, "onnx") else None

    @property
    def is_random(self) -> bool:
        """Whether it draws in training."""
        return bool(self.says("is_random", False))

    @property
    def of_a_result(self) -> float | None:
        """How many operations one result of a window operator takes."""
        return None if self.work is None else self.work.operations / self.outputs


def facts(entry: Entry) -> Facts:
    """Return what can be said of an operator."""
    window = entry.kind == "window"
    height, width = map_size = WINDOW_MAP if window else HEAD_MAP
    operator = entry.built(geometry_of(entry), map_size=map_size)
    with torch.no_grad():
        shape = tuple(operator(torch.zeros(8, CHANNELS, height, width)).shape)
    given: Any = entry.as_users_build_it()
    choice, reason = "torch", NO_KERNEL
    if hasattr(given, "implementation_for"):
        choice, reason = given.implementation_for(torch.zeros(1, CHANNELS, *(HEAD_MAP if window else LARGE_MAP)))
    operations = getattr(given, "operations", None)
    return Facts(
        parameters=sum(parameter.numel() for parameter in operator.parameters()),
        shapes={name: tuple(p.shape) for name, p in operator.named_parameters()},
        operations=None if operations is None else in_words(operations),
        work=_work(operator, map_size),
        wider=_wider(entry) if window else None,
        outputs=torch.Size(shape[1:]).numel(),
        kernel=choice == "fast" or reason.startswith(NO_COMPILER),
        kernel_reason=reason,
        output_shape=shape,
        operator=operator,
    )


def _work(operator: Any, map_size: tuple[int, int]) -> Work | None:
    """Return what an operator says of its work, None where it says nothing."""
    return operator.work((CHANNELS, *map_size)) if hasattr(operator, "work") else None


def _wider(entry: Entry) -> float | None:
    """Return how many operations a result takes in a window of 3x3 with stride 2, None where that is not served."""
    served = getattr(entry.target, "geometries", None)
    if served is not None and not any(_is_served(WIDER, geometry) for geometry in served):
        return None
    operator: Any = entry.built(WIDER, map_size=WINDOW_MAP)
    work = _work(operator, WINDOW_MAP)
    return None if work is None else work.operations / (CHANNELS * math.prod(operator.output_shape(*WINDOW_MAP)))


def in_words(operations: Mapping[str, int]) -> dict[str, int]:
    """Return how often each kind of operation is done, under a reader's word for it.

    >>> in_words({"sub": 1, "add": 2, "gt": 3})
    {'additions': 3, 'comparisons': 3}
    """
    found: dict[str, int] = {}
    for name in sorted(operations, key=lambda name: (list(WORDS).index(name) if name in WORDS else len(WORDS), name)):
        word = WORDS.get(name, name)
        found[word] = found.get(word, 0) + operations[name]
    return found


def geometry_of(entry: Entry, size: int = 2) -> dict[str, Any]:
    """Return a window of `size` with as large a stride, or what the operator serves first, at a size of 2."""
    if entry.kind == "head":
        return {}
    wanted = {"kernel_size": size, "stride": size}
    served = getattr(entry.target, "geometries", None)
    if served is None or any(_is_served(wanted, geometry) for geometry in served):
        return wanted
    return {"kernel_size": 2, "stride": 2, **served[0]}


def one_dimensional(entry: Entry) -> str:
    """Return the name of the same operator for sequences, "" where there is none."""
    for name, found in sorted(vars(poolbench.pooling).items()):
        is_class = inspect.isclass(found) and inspect.isclass(entry.target)
        if is_class and issubclass(found, WindowPool1d) and issubclass(found, entry.target):
            return name
    return ""


def both(value: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) of one number or two.

    >>> both(2), both([2, 3])
    ((2, 2), (2, 3))
    """
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def shown_count(number: float | None) -> str:
    """Return a number with its thousands apart, with one decimal unless that is 0.

    >>> shown_count(16384), shown_count(2.5), shown_count(None)
    ('16,384', '2.5', '–')
    """
    if number is None:
        return "–"
    return f"{number:,.1f}".removesuffix(".0")


def _is_served(wanted: Mapping[str, Any], served: Mapping[str, Any]) -> bool:
    return all(both(wanted[key]) == both(value) for key, value in served.items() if key in wanted)
