"""In which order the values of a graph are computed, and a digest of what is computed."""

import hashlib
from collections.abc import Iterable, Sequence

from poolbench.kernels.graph import Value


def needed(outputs: Iterable[Value], *, gradient: bool = False) -> list[Value]:
    """Return what outputs depend on, inputs first, in the order of writing.

    With `gradient`, what their derivative does: see `with_gradient_of`.
    """
    seen: dict[int, Value] = {}
    waiting = list(outputs)
    while waiting:
        value = waiting.pop()
        if value.index not in seen:
            seen[value.index] = value
            waiting.extend(value.args if gradient or value.op != "with_gradient_of" else value.args[:1])
    return [seen[index] for index in sorted(seen)]


def in_turn(outputs: Iterable[Value], given: Iterable[Value] = ()) -> list[Value]:
    """Return what outputs depend on, each as late as possible: what the first needs, then what the second needs, …

    What is `given` is there, but not what it depends on.
    """
    order: dict[int, Value] = {}
    known = {value.index for value in given}
    waiting = [(output, False) for output in reversed(list(outputs))]
    while waiting:
        value, ready = waiting.pop()
        if value.index in order:
            continue
        arguments = () if value.index in known else value.args[:1] if value.op == "with_gradient_of" else value.args
        if ready or not arguments:
            order[value.index] = value
        else:
            waiting.append((value, True))
            waiting.extend((argument, False) for argument in reversed(arguments))
    return list(order.values())


def digest(outputs: Sequence[Value]) -> str:
    """Return a digest of what outputs compute."""
    values = needed(outputs)
    place = {value.index: at for at, value in enumerate(values)}
    lines = [f"{v.op} {v.leaf!r} {[place.get(a.index) for a in v.args]}" for v in values]
    lines.append(str([place[o.index] for o in outputs]))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20]
