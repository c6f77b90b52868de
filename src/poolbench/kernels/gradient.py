"""The derivative of a formula, as a further part of its graph (reverse mode)."""

import math
from collections.abc import Sequence

from poolbench.kernels.graph import Graph, Value, is_const
from poolbench.kernels.order import needed


def gradients(result: Value, leaves: Sequence[Value], above_all: Value | None = None) -> list[Value]:
    """Return d result / d leaf · g for each leaf, where g is the gradient that comes from above: `above_all`, if given.

    Comparisons are constants: what a choice did not take gets nothing, and with equal values the gradient goes where
    the value came from, so it is never lost or doubled.
    """
    graph = result.graph
    above: dict[int, Value] = {result.index: graph.leaf("gradient") if above_all is None else above_all}
    for value in reversed(needed([result], gradient=True)):
        g = above.get(value.index)
        if g is None or value.kind != "f":
            continue
        for argument, part in _parts(graph, value, g):
            if not is_const(part, 0.0) and argument.op != "const":
                known = above.get(argument.index)
                above[argument.index] = part if known is None else known + part
    zero = graph.const(0.0)
    return [above.get(leaf.index, zero) for leaf in leaves]


def _parts(graph: Graph, value: Value, g: Value) -> list[tuple[Value, Value]]:
    """Return what each argument of one operation gets of the gradient `g` of its value."""
    zero = graph.const(0.0)
    a = value.args[0] if value.args else value
    b = value.args[1] if len(value.args) > 1 else value
    match value.op:
        case "add":
            return [(a, g), (b, g)]
        case "sub":
            return [(a, g), (b, -g)]
        case "mul":
            return [(a, g * b), (b, g * a)]
        case "div":
            cotangent = g / b
            return [(a, cotangent), (b, -(cotangent * value))]
        case "exp":
            return [(a, g * value)]
        case "log":
            return [(a, g / a)]
        case "sqrt":
            return [(a, g * 0.5 / value)]
        case "where":
            return [
                (b, graph.node("where", a, g, zero)),
                (value.args[2], graph.node("where", a, zero, g)),
            ]
        case "nan_where":
            return [(a, g)]
        case "with_gradient_of":
            return [(b, g)]
        case "exp2":
            return [(a, g * value * math.log(2))]
        case "log2":
            # 1 / a, without a division.
            return [(a, g * (graph.node("exp2", -value) * (1 / math.log(2))))]
    return []
