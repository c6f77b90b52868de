"""A formula as a function of sums: what is summed is computed once for each value of the map, not for each window.

Where windows overlap, several of them need x^p or e^x of one value, and its derivative is computed once, from the sum
of their cotangents. A formula guards against overflow by the largest value of its window; sums have no such guard, so
each value is tested for whether it fits. Where one does not, the formula itself is run.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from poolbench.kernels.gradient import gradients
from poolbench.kernels.graph import SLOW, Value, Window, sum_of
from poolbench.kernels.order import digest, in_turn, needed
from poolbench.kernels.tape import Tape


@dataclass(frozen=True)
class Summands:
    """What is summed over each window, of one value.

    Args:
        values: its functions.
        fits: whether the value is one for which the sums neither overflow nor vanish. It must be asked of the value
            itself, too: where it is NaN or ∞, logarithms and exponentials of it are any number here.
    """

    values: list[Value]
    fits: Value


@dataclass(frozen=True)
class Sums:
    """The tapes of a formula of sums.

    Args:
        count: how many sums there are.
        kept: how many results of `summands`, beside what is summed, the derivative needs again.
        per_channel: what depends on parameters alone, so that it is done once for each channel.
        summands: of one value: what is summed, whether it fits, then what is kept.
        derivative: of one value, what was summed of it, what is kept and the cotangents of all its windows together:
            its gradient, then what each parameter gets.
        result: of a window's sums.
        cotangents: of a window's sums and its gradient: what each sum gets of it, then what each parameter does.
        result_at_border, cotangents_at_border: likewise where the window has fewer values.
        digest: of all that is computed.
    """

    count: int
    kept: int
    per_channel: Tape
    summands: Tape
    derivative: Tape
    result: Tape
    cotangents: Tape
    result_at_border: Tape
    cotangents_at_border: Tape
    digest: str


def sums(
    size: int,
    params: int,
    summands: Callable[[Window], Summands],
    of_sums: Callable[[Window, Sequence[Value]], Value],
) -> Sums:
    """Return the tapes of a formula of sums.

    Args:
        size: values of a whole window.
        params: learned parameters.
        summands: what is summed, given a window of one value.
        of_sums: the result of a window from its sums.

    >>> from poolbench.kernels.graph import exp, log, within
    >>> raised = lambda one: Summands([exp(one.values[0])], within(one.values[0], 60.0))
    >>> made = sums(4, 0, raised, lambda window, sums: log(sums[0]))
    >>> made.summands.count()["exp"], made.derivative.count()  # e^x is kept
    (1, {'mul': 1})
    """
    one = Window.of(1, masked=False)
    made = summands(one)
    derived, kept = _derivative(one, made.values, params)
    whole = Window(one.graph, [one.graph.leaf("tap", at) for at in range(size)])
    at_border = Window(one.graph, whole.values, [one.graph.leaf("valid", at) for at in range(size)])
    outputs = [[*made.values, made.fits, *kept], derived]
    for window in (whole, at_border):
        found = window.sums(len(made.values))
        of_window = of_sums(window, found)
        outputs += [[of_window], gradients(of_window, [*found, *(window.param(at) for at in range(params))])]
    there = {_itself(value): ("summand", at) for at, value in enumerate(made.values)}
    there |= {value: ("kept", at) for at, value in enumerate(kept)}
    givens: list[dict[Value, tuple[str, int]]] = [there if found is derived else {} for found in outputs]
    per_channel = _per_channel(in_turn(found, given) for found, given in zip(outputs, givens, strict=True))
    given_by_channel = {value: ("per_channel", at) for at, value in enumerate(per_channel)}
    tapes = [Tape.of(found, given_by_channel | given) for found, given in zip(outputs, givens, strict=True)]
    of_one, derivative, result, cotangents, result_at_border, cotangents_at_border = tapes
    return Sums(
        count=len(made.values),
        kept=len(kept),
        per_channel=Tape.of(per_channel),
        summands=of_one,
        derivative=derivative,
        result=result,
        cotangents=cotangents,
        result_at_border=result_at_border,
        cotangents_at_border=cotangents_at_border,
        digest="-".join(digest(found)[:8] for found in outputs),
    )


def _derivative(one: Window, values: Sequence[Value], params: int) -> tuple[list[Value], list[Value]]:
    """Return what a value and each parameter get of the cotangents of what is summed, and what is kept to find it."""
    leaves = [one.values[0], *(one.param(at) for at in range(params))]
    cotangents = [one.graph.leaf("cotangent", at) for at in range(len(values))]
    shared = sum_of([value * cotangent for value, cotangent in zip(values, cotangents, strict=True)])
    derived = gradients(shared, leaves, one.graph.const(1.0))
    # What is summed is there for the derivative; what else is slow is kept and not computed anew.
    summed = [_itself(value) for value in values]
    again = in_turn(derived, summed)
    kept = [value for value in needed(values) if value.op in SLOW and value in again and value not in summed]
    # Or else the slopes are kept, where there are fewer of them than of what it takes to find them once more.
    slopes = [gradients(value, leaves, one.graph.const(1.0)) for value in values]
    alone = _of_params_alone(needed(slope for found in slopes for slope in found))
    varying = list(dict.fromkeys(slope for found in slopes for slope in found if slope not in alone))
    if len(varying) >= len(kept) + any(value.op == "tap" for value in again):
        return derived, kept
    zero = one.graph.const(0.0)
    parts = [
        [cotangent * slope for cotangent, slope in zip(cotangents, found, strict=True) if slope is not zero]
        for found in zip(*slopes, strict=True)
    ]
    return [sum_of(found or [zero]) for found in parts], varying


def _itself(value: Value) -> Value:
    """Return what a value is without what is there for its derivative alone."""
    while value.op in ("with_gradient_of", "stop_gradient"):
        value = value.args[0]
    return value


def _per_channel(tapes: Iterable[Sequence[Value]]) -> list[Value]:
    """Return the numbers that depend on parameters alone, of each tape, and are asked for by what does not."""
    found: dict[Value, None] = {}
    for values in tapes:
        alone = _of_params_alone(values)
        asked = (argument for value in values if value not in alone for argument in value.args)
        found |= {value: None for value in asked if value in alone and value.args and value.kind == "f"}
    return list(found)


def _of_params_alone(values: Iterable[Value]) -> set[Value]:
    """Return which values, given in an order in which they can be computed, depend on nothing but parameters."""
    alone: set[Value] = set()
    for value in values:
        if value.op in ("param", "const") or (value.args and alone.issuperset(value.args)):
            alone.add(value)
    return alone
