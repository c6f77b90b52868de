"""The operations of a graph, in the order in which they are done."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poolbench.kernels.graph import FREE, LEAVES, SLOW, Value
from poolbench.kernels.order import in_turn

# One operation of a tape: its name, the places of its arguments on the tape, and which input or constant a leaf is.
Operation = tuple[str, tuple[int, ...], Any]


@dataclass(frozen=True)
class Tape:
    """Operations in the order in which they are done, and the places of the outputs."""

    operations: tuple[Operation, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, outputs: Sequence[Value], given: Mapping[Value, tuple[str, int]] | None = None) -> "Tape":
        """Return the tape of what outputs depend on; what is `given` becomes a leaf: its kind, and which of these."""
        given = given or {}
        values = in_turn(outputs, given)
        place = {value.index: at for at, value in enumerate(values)}

        def operation(v: Value) -> Operation:
            if v in given:
                kind, number = given[v]
                return kind, (), number
            # The second of `with_gradient_of` was for the derivative.
            used = v.args[:1] if v.op == "with_gradient_of" else v.args
            return v.op, tuple(place[a.index] for a in used), v.leaf

        return cls(tuple(map(operation, values)), tuple(place[o.index] for o in outputs))

    @property
    def slow(self) -> int:
        """How many operations take many times as long as an addition."""
        return sum(op in SLOW for op, _, _ in self.operations)

    def uses(self, leaf: str) -> bool:
        """Whether an input of this kind is needed."""
        return any(op == leaf for op, _, _ in self.operations)

    @property
    def chooses(self) -> bool:
        """Whether each output is one of the window's values: nothing is computed with these, they are only compared."""
        of_map: list[bool] = []
        chosen: list[bool] = []
        for op, arguments, leaf in self.operations:
            of_map.append(op == "tap" or any(of_map[at] for at in arguments))
            if of_map[-1] and op not in (*FREE, "tap", "gt", "ge"):
                return False
            # An infinite constant stands for what is outside the map, which no choice takes.
            values = arguments[1:] if op == "where" else arguments[:1]
            is_choice = op in ("where", "nan_where", "stop_gradient", "with_gradient_of")
            endless = op == "const" and abs(leaf) == float("inf")
            chosen.append(op == "tap" or endless or (is_choice and all(chosen[at] for at in values)))
        return all(chosen[at] and of_map[at] for at in self.outputs)

    def count(self) -> dict[str, int]:
        """Return how often each operation is done."""
        return dict(Counter(op for op, _, _ in self.operations if op not in LEAVES))

    def arithmetic(self) -> dict[str, int]:
        """Return how often each operation is done that counts as work, see `poolbench.pooling.bases.work`."""
        of_map: list[bool] = []
        for op, arguments, _ in self.operations:
            of_map.append(op == "tap" or any(of_map[at] for at in arguments))
        counted = zip(self.operations, of_map, strict=True)
        return dict(Counter(op for (op, _, _), is_of_map in counted if is_of_map and op not in (*FREE, *LEAVES)))
