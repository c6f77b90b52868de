"""What an operator computes from the values of one window, as a graph of elementary operations.

An operator writes its formula once, with Python's own operators on `Value`s. The graph is then run by torch, turned
into a compiled kernel, differentiated and counted, always the same one. Equal operations are held once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Union

Number = Union["Value", float, int]

# What an operation takes and gives: f numbers, b booleans.
SIGNATURES = {
    "add": "ff:f",
    "sub": "ff:f",
    "mul": "ff:f",
    "div": "ff:f",
    "exp": "f:f",
    "log": "f:f",
    "sqrt": "f:f",
    "gt": "ff:b",
    "ge": "ff:b",
    "unordered": "ff:b",
    "and": "bb:b",
    "or": "bb:b",
    "not": "b:b",
    "where": "bff:f",
    "nan_where": "fb:f",
    "stop_gradient": "f:f",
    "with_gradient_of": "ff:f",
    "exp2": "f:f",
    "log2": "f:f",
}
KINDS = {op: (list(signature[:-2]), signature[-1]) for op, signature in SIGNATURES.items()}
# What counts as no operation: choices, logic, checks for NaN, and what is there for the derivative alone.
FREE = ("where", "and", "or", "not", "unordered", "nan_where", "stop_gradient", "with_gradient_of")
# What takes many times as long as an addition.
SLOW = ("exp", "log", "sqrt", "exp2", "log2", "div")
LEAVES = (
    "tap",
    "valid",
    "count",
    "param",
    "uniform",
    "gradient",
    "const",
    "sum",
    "cotangent",
    "kept",
    "summand",
    "per_channel",
)


class Value:
    """One number (or boolean) of a window: a node of a `Graph`."""

    __slots__ = ("args", "graph", "index", "kind", "leaf", "op")

    def __init__(
        self, graph: "Graph", index: int, op: str, kind: str, args: tuple["Value", ...], leaf: float | int | None
    ) -> None:
        self.graph, self.index, self.op, self.kind, self.args, self.leaf = graph, index, op, kind, args, leaf

    def __add__(self, other: Number) -> "Value":
        return self.graph.node("add", self, other)

    def __radd__(self, other: Number) -> "Value":
        return self.graph.node("add", other, self)

    def __sub__(self, other: Number) -> "Value":
        return self.graph.node("sub", self, other)

    def __rsub__(self, other: Number) -> "Value":
        return self.graph.node("sub", other, self)

    def __mul__(self, other: Number) -> "Value":
        return self.graph.node("mul", self, other)

    def __rmul__(self, other: Number) -> "Value":
        return self.graph.node("mul", other, self)

    def __truediv__(self, other: Number) -> "Value":
        return self.graph.node("div", self, other)

    def __rtruediv__(self, other: Number) -> "Value":
        return self.graph.node("div", other, self)

    def __neg__(self) -> "Value":
        return self.graph.node("sub", 0.0, self)

    def __gt__(self, other: Number) -> "Value":
        return self.graph.node("gt", self, other)

    def __ge__(self, other: Number) -> "Value":
        return self.graph.node("ge", self, other)

    def __lt__(self, other: Number) -> "Value":
        return self.graph.node("gt", other, self)

    def __le__(self, other: Number) -> "Value":
        return self.graph.node("ge", other, self)

    def __and__(self, other: "Value") -> "Value":
        return self.graph.node("and", self, other)

    def __or__(self, other: "Value") -> "Value":
        return self.graph.node("or", self, other)

    def __invert__(self) -> "Value":
        return self.graph.node("not", self)

    __hash__ = object.__hash__


class Graph:
    """The operations of one formula, in the order in which they were written."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._known: dict[tuple[object, ...], Value] = {}
        # Of a choice that was written as one of another condition: how it was put.
        self._chosen: dict[int, tuple[Value, ...]] = {}

    def leaf(self, op: str, which: float | int = 0) -> Value:
        """Return an input: tap, valid, param, uniform by number, count, gradient, or a constant by its value."""
        return self._held(op, "b" if op == "valid" else "f", (), which)

    def const(self, number: float) -> Value:
        """Return a constant."""
        return self.leaf("const", float(number))

    def node(self, op: str, *arguments: Number) -> Value:
        """Return an operation, simplified where that changes no result."""
        args = tuple([a if isinstance(a, Value) else self.const(a) for a in arguments])
        kinds, kind = KINDS[op]
        if [a.kind for a in args] != kinds:
            raise TypeError(f"{op} takes {''.join(kinds)}, got {''.join(a.kind for a in args)}")
        return self._simpler(op, args) or self._held(op, kind, args, None)

    def _held(self, op: str, kind: str, args: tuple[Value, ...], leaf: float | int | None) -> Value:
        # −0.0 and 0.0 are equal but not the same; NaN is not equal to itself.
        key: tuple[object, ...] = (op, *[a.index for a in args]) if args else (op, repr(leaf))
        if key not in self._known:
            self._known[key] = Value(self, len(self.values), op, kind, args, leaf)
            self.values.append(self._known[key])
        return self._known[key]

    def _simpler(self, op: str, args: tuple[Value, ...]) -> Value | None:
        """Return an equal value without this operation, if there is one.

        x·0 is taken for 0 only in derivatives, where a zero means that nothing depends on it: see `gradient`.
        """
        first, second = args[0], args[-1]
        if op == "add":
            if is_const(first, 0.0):
                return second
            if is_const(second, 0.0):
                return first
            exchanged = self._exchange(first, second)
            if exchanged is not None:
                return exchanged
        if op == "sub" and is_const(second, 0.0):
            return first
        if op in ("mul", "div") and is_const(second, 1.0):
            return first
        if op == "mul" and is_const(first, 1.0):
            return second
        if op == "where":
            return args[1] if args[1] is args[2] else self._choice(*args)
        if op in ("add", "sub", "mul", "div") and first.op == second.op == "const":
            return self._constant(op, float(first.leaf or 0), float(second.leaf or 0))
        return None

    def _choice(self, condition: Value, value: Value, other: Value) -> Value | None:
        """Return a choice between 0 and a choice between 0 and a number as one choice: conditions are cheap."""
        inner = value if is_const(other, 0.0) else other if is_const(value, 0.0) else None
        if inner is None or inner.op != "where":
            return None
        also, number, rest = inner.args
        if is_const(rest, 0.0):
            both = (condition if inner is value else ~condition) & also
            result = self.node("where", both, number, rest)
        elif is_const(number, 0.0) and inner is value:
            result = self.node("where", condition & ~also, rest, number)
        elif is_const(number, 0.0):
            result = self.node("where", condition | also, number, rest)
        else:
            return None
        self._chosen[result.index] = (condition, value, other)
        return result

    def _exchange(self, first: Value, second: Value) -> Value | None:
        """Return a sum of what is there when a condition holds and what is there when it does not as one choice."""
        for one in (first, second):
            other = second if one is first else first
            for condition, value, rest in self._ways(one):
                for opposite, nothing, instead in self._ways(other):
                    if condition is opposite and is_const(rest, 0.0) and is_const(nothing, 0.0):
                        return self.node("where", condition, value, instead)
        return None

    def _ways(self, value: Value) -> list[tuple[Value, ...]]:
        """Return how a choice can be put."""
        ways = [value.args] if value.op == "where" else []
        return ways + ([self._chosen[value.index]] if value.index in self._chosen else [])

    def _constant(self, op: str, a: float, b: float) -> Value | None:
        if op == "div" and b == 0:
            return None
        return self.const({"add": a + b, "sub": a - b, "mul": a * b, "div": a / b if b else 0}[op])


def is_const(value: Value, number: float) -> bool:
    """Whether a value is this very constant (−0.0 is not 0.0)."""
    return value.op == "const" and repr(value.leaf) == repr(number)


@dataclass
class Window:
    """The values of one window, as a formula sees them.

    Args:
        graph: what the formula is written into.
        values: the n values in the order of reading; where `valid` says no, it is an arbitrary number.
        valid: whether each is inside the map; None where all are.
    """

    graph: Graph
    values: list[Value]
    valid: list[Value] | None = None
    uniforms: int = field(default=0)

    @classmethod
    def of(cls, size: int, *, masked: bool) -> "Window":
        """Return a window of `size` values, all of them inside the map unless `masked`."""
        graph = Graph()
        valid = [graph.leaf("valid", at) for at in range(size)] if masked else None
        return cls(graph, [graph.leaf("tap", at) for at in range(size)], valid)

    @property
    def size(self) -> int:
        """How many values a whole window has."""
        return len(self.values)

    @property
    def count(self) -> Value:
        """How many of the values are inside the map."""
        return self.graph.const(self.size) if self.valid is None else self.graph.leaf("count")

    def masked_fill(self, number: Number) -> list[Value]:
        """Return the values, with a number where they are outside the map."""
        return self.mask(self.values, number)

    def mask(self, values: Sequence[Value], number: Number) -> list[Value]:
        """Return values that belong to the window's, with a number for those outside the map."""
        if self.valid is None:
            return list(values)
        return [self.graph.node("where", ok, value, number) for ok, value in zip(self.valid, values, strict=True)]

    def sums(self, count: int) -> list[Value]:
        """Return the sums of `count` functions of the window's values, see `kernels.sums`."""
        return [self.graph.leaf("sum", at) for at in range(count)]

    def param(self, number: int) -> Value:
        """Return a learned parameter: the operator's `params()` has one for each number."""
        return self.graph.leaf("param", number)

    def uniform(self) -> Value:
        """Return a number in [0, 1), drawn for this window; a second call gives another one."""
        self.uniforms += 1
        return self.graph.leaf("uniform", self.uniforms - 1)


# ---- operations in the words of a formula ----


def where(condition: Value, value: Number, other: Number) -> Value:
    """Return `value` where the condition holds, else `other`."""
    return condition.graph.node("where", condition, value, other)


def exp(value: Value) -> Value:
    """Return e^value."""
    return value.graph.node("exp", value)


def log(value: Value) -> Value:
    """Return the natural logarithm: −∞ of 0, NaN of negative numbers."""
    return value.graph.node("log", value)


def sqrt(value: Value) -> Value:
    """Return the square root."""
    return value.graph.node("sqrt", value)


def stop_gradient(value: Value) -> Value:
    """Return the value as if it were a constant: where a result does not depend on it, no gradient need flow there."""
    return value.graph.node("stop_gradient", value)


def with_gradient_of(value: Value, same: Value) -> Value:
    """Return `value`, with the derivative of `same`, which is equal but cheaper to differentiate."""
    return value.graph.node("with_gradient_of", value, same)


def custom_gradient(value: Value, *slopes: tuple[Value, Value]) -> Value:
    """Return `value`, whose derivative is known: pairs of something it depends on and the slope along that."""
    return with_gradient_of(value, sum_of([something * stop_gradient(slope) for something, slope in slopes]))


def within(value: Value, bound: float) -> Value:
    """Return whether −bound ≤ value ≤ bound; NaN is not."""
    return (value <= bound) & (value >= -bound)


def exp2(value: Value) -> Value:
    """Return 2^value."""
    return value.graph.node("exp2", value)


def log2(value: Value) -> Value:
    """Return the logarithm to base 2 of a positive normal number; a NaN stays."""
    return value.graph.node("log2", value)


def is_nan(value: Value) -> Value:
    """Return whether a value is NaN."""
    return value.graph.node("unordered", value, value)


def reduce(operation: Callable[[Value, Value], Value], values: Sequence[Value]) -> Value:
    """Return ((a ∘ b) ∘ c) ∘ …, from the left, so that of equal values the first is kept."""
    result = values[0]
    for value in values[1:]:
        result = operation(result, value)
    return result


def sum_of(values: Sequence[Value]) -> Value:
    """Return the sum."""
    return reduce(lambda a, b: a + b, values)


def maximum(a: Value, b: Number) -> Value:
    """Return the larger of two, the first where they are equal; see `propagate_nan` for NaN."""
    return a.graph.node("where", a.graph.node("gt", b, a), b, a)


def minimum(a: Value, b: Number) -> Value:
    """Return the smaller of two, the first where they are equal."""
    return a.graph.node("where", a.graph.node("gt", a, b), b, a)


def propagate_nan(result: Value, window: Window) -> Value:
    """Return `result`, but NaN where a value of the window is: comparisons alone let NaN slip through.

    The gradient passes as if nothing had been done.
    """
    values = window.masked_fill(0.0)
    pairs = [*zip(values[::2], values[1::2], strict=False)] + [(values[-1], values[-1])] * (len(values) % 2)
    found = [window.graph.node("unordered", a, b) for a, b in pairs]
    return window.graph.node("nan_where", result, reduce(lambda a, b: a | b, found))
