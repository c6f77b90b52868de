"""A formula made ready to run: its value and its derivative, for whole windows and for those at the border."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from poolbench.pooling.kernels.gradient import gradients
from poolbench.pooling.kernels.graph import FREE, LEAVES, Value, Window, digest, needed

# One operation of a tape: its name, the places of its arguments on the tape, and which input or constant a leaf is.
Operation = tuple[str, tuple[int, ...], Any]


@dataclass(frozen=True)
class Tape:
    """Operations in the order in which they are done, and the places of what comes out."""

    operations: tuple[Operation, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, outputs: Sequence[Value]) -> "Tape":
        """Return the tape of what outputs depend on."""
        values = needed(outputs)
        place = {value.index: at for at, value in enumerate(values)}
        # Of two that are `via` one another, the other was for the derivative.
        operations = tuple(
            (v.op, tuple(place[a.index] for a in v.args if v.op != "via" or a is v.args[0]), v.leaf) for v in values
        )
        return cls(operations, tuple(place[o.index] for o in outputs))

    def uses(self, leaf: str) -> bool:
        """Whether an input of this kind is needed."""
        return any(op == leaf for op, _, _ in self.operations)

    def count(self) -> dict[str, int]:
        """Return how often each operation is done."""
        return dict(Counter(op for op, _, _ in self.operations if op not in LEAVES))

    def arithmetic(self) -> dict[str, int]:
        """Return how often each operation is done that counts as work, see `poolbench.pooling.work`."""
        of_map: list[bool] = []
        for op, arguments, _ in self.operations:
            of_map.append(op == "tap" or any(of_map[at] for at in arguments))
        counted = zip(self.operations, of_map, strict=True)
        return dict(Counter(op for (op, _, _), is_of_map in counted if is_of_map and op not in (*FREE, *LEAVES)))


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
    digest: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def program(name: str, size: int, params: int, formula: Callable[[Window], Value]) -> Program:
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
        digest="-".join(text[:8] for text in texts),
    )
