"""A formula made ready to run: its value and its derivative, for whole windows and for those at the border."""

from collections.abc import Callable
from dataclasses import dataclass

from poolbench.kernels.gradient import gradients
from poolbench.kernels.graph import Value, Window
from poolbench.kernels.order import digest
from poolbench.kernels.sums import Sums
from poolbench.kernels.tape import Tape


@dataclass(frozen=True, eq=False)
class Program:
    """What an operator does with a window of `size` values.

    Args:
        name: of the operator, for messages.
        size: values of a whole window.
        params: learned parameters, each one number for each channel.
        value: gives the result.
        value_at_border: likewise where some values lie outside the map.
        derivative: gives what each value and each parameter gets of the gradient.
        derivative_at_border: likewise.
        draws: whether random numbers are needed.
        is_linear: whether the derivative needs no value of the map, which then is not kept.
        operations: of the longest tape.
        sums: the same as a function of sums, None where it is none.
        digest: of all that is computed.
    """

    name: str
    size: int
    params: int
    value: Tape
    value_at_border: Tape
    derivative: Tape
    derivative_at_border: Tape
    draws: bool
    is_linear: bool
    operations: int
    sums: Sums | None
    digest: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def program(
    name: str, size: int, params: int, formula: Callable[[Window], Value], in_sums: Sums | None = None
) -> Program:
    """Return the program of a formula.

    >>> mean = program("mean", 4, 0, lambda window: sum(window.values[1:], window.values[0]) / window.count)
    >>> mean.value.count(), mean.is_linear
    ({'add': 3, 'div': 1}, True)
    """
    tapes: list[Tape] = []
    texts = []
    for masked in (False, True):
        window = Window.of(size, masked=masked)
        result = formula(window)
        leaves = window.values + [window.param(at) for at in range(params)]
        derived = gradients(result, leaves)
        tapes += [Tape.of([result]), Tape.of(derived)]
        texts += [digest([result]), digest(derived)]
    value, derivative, value_at_border, derivative_at_border = tapes
    return Program(
        name=name,
        size=size,
        params=params,
        value=value,
        value_at_border=value_at_border,
        derivative=derivative,
        derivative_at_border=derivative_at_border,
        draws=value.uses("uniform"),
        is_linear=not (derivative.uses("tap") or derivative_at_border.uses("tap")),
        operations=max(len(tape.operations) for tape in tapes),
        sums=in_sums,
        digest="-".join([text[:8] for text in texts] + ([in_sums.digest] if in_sums else [])),
    )
