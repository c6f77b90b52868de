"""Formulas as graphs: what is simplified, how they are differentiated, what a program knows of itself."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from poolbench.kernels.graph import (
    Graph,
    Value,
    Window,
    exp,
    exp2,
    log,
    log2,
    maximum,
    minimum,
    propagate_nan,
    reduce,
    sqrt,
    stop_gradient,
    sum_of,
    where,
    with_gradient_of,
)
from poolbench.kernels.order import digest, needed
from poolbench.kernels.plain import OPERATIONS
from poolbench.kernels.program import Program, Tape, program
from poolbench.pooling.shared.ranks import largest


def run(tape: Tape, taps: list[Tensor], gradient: Tensor | None = None, params: tuple[Tensor, ...] = ()) -> list[Any]:
    values: list[Any] = []
    for op, arguments, leaf in tape.operations:
        if op == "tap":
            values.append(taps[leaf])
        elif op == "param":
            values.append(params[leaf])
        elif op == "gradient":
            values.append(gradient)
        elif op == "const":
            values.append(leaf)
        else:
            values.append(OPERATIONS[op](*[values[at] for at in arguments]))
    return [values[at] for at in tape.outputs]


def test_equal_operations_are_held_once() -> None:
    graph = Graph()
    a, b = graph.leaf("tap", 0), graph.leaf("tap", 1)
    assert a + b is a + b
    assert a + b is not b + a
    assert graph.const(0.0) is not graph.const(-0.0)


def test_what_changes_nothing_is_left_out() -> None:
    graph = Graph()
    a = graph.leaf("tap", 0)
    assert a + 0.0 is a
    assert 0.0 + a is a
    assert a - 0.0 is a
    assert a * 1.0 is a
    assert 1.0 * a is a
    assert a / 1.0 is a
    assert where(a > 0.0, a, a) is a
    assert (graph.const(2.0) * 3.0).leaf == 6.0
    assert (graph.const(2.0) + 3.0).leaf == 5.0
    assert (graph.const(1.0) / 0.0).op == "div"  # left to the machine


def test_a_choice_between_nothing_and_a_choice_is_one_choice() -> None:
    graph = Graph()
    a, b = graph.leaf("tap", 0), graph.leaf("tap", 1)
    first, second = a > 0.0, b > 0.0
    for condition in (first, second):
        assert where(condition, a, 0.0) + where(condition, 0.0, b) is where(condition, a, b)
    inner, outer = where(second, b, 0.0), where(second, 0.0, b)
    assert where(first, inner, 0.0) is where(first & second, b, 0.0)
    assert where(first, outer, 0.0) is where(first & ~second, b, 0.0)
    assert where(first, 0.0, inner) is where(~first & second, b, 0.0)
    assert where(first, 0.0, outer) is where(first | second, 0.0, b)
    # Put as one choice or not, the halves of an exchange are found.
    assert where(first, inner, 0.0) + where(first, 0.0, a) is where(first, inner, a)


def test_kinds_are_checked() -> None:
    graph = Graph()
    a = graph.leaf("tap", 0)
    with pytest.raises(TypeError, match="add takes ff, got fb"):
        a + (a > 0.0)
    with pytest.raises(TypeError, match="where takes bff, got fff"):
        where(a, a, a)


def test_only_what_is_needed_is_done() -> None:
    graph = Graph()
    a, b = graph.leaf("tap", 0), graph.leaf("tap", 1)
    _ = exp(b)
    assert [value.op for value in needed([a + b])] == ["tap", "tap", "add"]


def test_a_digest_tells_formulas_apart() -> None:
    def of(formula: Callable[[Value, Value], Value]) -> str:
        graph = Graph()
        return digest([formula(graph.leaf("tap", 0), graph.leaf("tap", 1))])

    assert of(lambda a, b: a + b) == of(lambda a, b: a + b) != of(lambda a, b: b + a)
    assert of(lambda a, b: a * 2.0) != of(lambda a, b: a * 2.5)


FORMULAS: dict[str, Callable[[Window], Value]] = {
    "sum of products": lambda w: w.values[0] * w.values[1] + w.values[2] - w.values[3],
    "quotient": lambda w: w.values[0] / (w.values[1] + 3.0) - 2.0 / (w.values[2] + 3.0),
    "exponentials": lambda w: exp(w.values[0]) * exp2(w.values[1]),
    "logarithms": lambda w: log(w.values[0]) + log2(w.values[1] + 1.0) * sqrt(w.values[2]),
    "largest": lambda w: reduce(maximum, w.values) * 2.0 + reduce(minimum, w.values),
    "in order": lambda w: sum_of([value * float(rank + 1) for rank, value in enumerate(largest(w, 4))]),
    "parameter": lambda w: w.values[0] * w.param(0) + w.param(0) * w.param(1),
    "used twice": lambda w: (w.values[0] + w.values[1]) * (w.values[0] - w.values[1]) * w.values[0],
}


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_are_those_of_autograd(name: str) -> None:
    made = program(name, 4, 2, FORMULAS[name])
    draw = torch.Generator().manual_seed(1)
    leaves = [torch.rand(50, generator=draw, dtype=torch.float64).add(0.1).requires_grad_() for _ in range(6)]
    gradient = torch.randn(50, generator=draw, dtype=torch.float64)
    (value,) = run(made.value, leaves[:4], params=tuple(leaves[4:]))
    expected = torch.autograd.grad(value, leaves, gradient, materialize_grads=True)
    found = run(made.derivative, [leaf.detach() for leaf in leaves[:4]], gradient, tuple(leaves[4:]))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(one, dtype=torch.float64).expand(50), other)


def test_a_stopped_value_gets_no_gradient() -> None:
    made = program("stopped", 1, 0, lambda w: stop_gradient(w.values[0]) * w.values[0])
    x = torch.tensor([3.0])
    assert run(made.value, [x])[0].item() == 9
    assert run(made.derivative, [x], torch.ones(1))[0].item() == 3


def test_the_derivative_goes_via_the_other_formula_and_the_value_does_not_compute_it() -> None:
    made = program("with_gradient_of", 2, 0, lambda w: with_gradient_of(w.values[0] * w.values[1], exp(w.values[0])))
    assert made.value.count() == {"mul": 1, "with_gradient_of": 1}
    x = [torch.tensor([2.0]), torch.tensor([5.0])]
    assert run(made.value, x)[0].item() == 10
    assert run(made.derivative, x, torch.ones(1))[0].item() == pytest.approx(math.exp(2))


def test_nan_spreads_and_its_gradient_passes() -> None:
    made = program("nan", 3, 0, lambda w: propagate_nan(reduce(maximum, w.values), w))
    taps = [torch.tensor([1.0, math.nan, 1.0]), torch.tensor([2.0, 2.0, 2.0]), torch.tensor([0.0, 0.0, math.nan])]
    value = run(made.value, taps)[0]
    assert value[0].item() == 2
    assert value[1:].isnan().all()
    parts = run(made.derivative, taps, torch.ones(3))
    torch.testing.assert_close(sum(parts), torch.ones(3))


@pytest.mark.parametrize("choice", [maximum, minimum])
def test_of_two_equal_values_the_first_is_taken(choice: Callable[[Value, Value], Value]) -> None:
    made = program("either", 2, 0, lambda w: choice(*w.values))
    taps = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0])]
    first = [1, 0, 1] if choice is maximum else [1, 1, 0]
    assert [part.tolist() for part in run(made.derivative, taps, torch.ones(3))] == [first, [1 - at for at in first]]


def test_largest_keeps_the_order_of_reading_among_equals() -> None:
    made = program("second", 3, 0, lambda w: largest(w, 2)[1])
    taps = [torch.tensor([1.0, 5.0, 1.0]), torch.tensor([1.0, 5.0, 1.0]), torch.tensor([0.0, 5.0, 9.0])]
    assert [part.tolist() for part in run(made.derivative, taps, torch.ones(3))] == [[0, 0, 1], [1, 1, 0], [0, 0, 0]]


def mean() -> Program:
    return program("mean", 4, 0, lambda w: sum_of(w.masked_fill(0.0)) / w.count)


def test_a_program_knows_what_it_needs() -> None:
    made, drawn = mean(), program("drawn", 2, 0, lambda w: where(w.uniform() < 0.5, w.values[0], w.values[1]))
    assert made.is_linear
    assert not made.draws
    assert not made.value.uses("valid")
    assert made.value_at_border.uses("valid")
    assert drawn.draws
    assert drawn.is_linear  # which of the two it is depends on the draw alone
    assert not program("product", 2, 0, lambda w: w.values[0] * w.values[1]).is_linear


def test_programs_are_what_they_compute() -> None:
    assert mean() == mean()
    assert hash(mean()) == hash(mean())
    assert mean() != program("mean", 4, 0, lambda w: sum_of(w.masked_fill(0.0)) * 0.25)
    assert mean() != "mean"


def test_every_operation_can_be_run_by_torch_and_by_a_kernel() -> None:
    from poolbench.kernels.graph import SIGNATURES

    assert set(OPERATIONS) == set(SIGNATURES)
