"""A formula as a function of sums: what is summed is computed once for each value of the map, not for each window.

Where windows overlap, x^p or e^x of one value is needed by several of them, and its derivative waits until all of them
have said what they get. A formula guards against overflow by what is largest in its window; sums have no such guard, so
each value says whether it fits. Where one does not, the formula itself is run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from poolbench.pooling.kernels.gradient import gradients
from poolbench.pooling.kernels.graph import SLOW, Value, Window, digest, needed, total
from poolbench.pooling.kernels.tape import Tape


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
        kept: how many results of `summands` the derivative needs again.
        summands: of one value: what is summed, whether it fits, then what is kept.
        result: of a window's sums.
        result_at_border: likewise where the window has fewer values.
        shares: of a window's sums and its gradient: what each sum gets of it, then what each parameter does.
        shares_at_border: likewise.
        derivative: of one value, what is kept and the shares of all its windows together: its gradient, then what each
            parameter gets.
        digest: of all that is computed.
    """

    count: int
    kept: int
    summands: Tape
    result: Tape
    result_at_border: Tape
    shares: Tape
    shares_at_border: Tape
    derivative: Tape
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
        summands: what is summed, told a window of one value.
        of_sums: the result of a window from its sums.

    >>> from poolbench.pooling.kernels.graph import exp, log, within
    >>> raised = lambda one: Summands([exp(one.values[0])], within(one.values[0], 60.0))
    >>> made = sums(4, 0, raised, lambda window, sums: log(sums[0]))
    >>> made.summands.count()["exp"], made.derivative.count()  # e^x is kept
    (1, {'mul': 1})
    """
    one = Window.of(1, masked=False)
    made = summands(one)
    shared = total([each * one.graph.leaf("share", at) for at, each in enumerate(made.values)])
    derived = gradients(shared, [one.values[0], *(one.param(at) for at in range(params))], one.graph.const(1.0))
    again = {value.index for value in needed(derived)}
    # What is slow is kept for the derivative and not computed anew.
    kept = [value for value in needed(made.values) if value.op in SLOW and value.index in again]
    tapes: list[Tape] = []
    texts = [digest([*made.values, made.fits]), digest(derived)]
    for masked in (False, True):
        window = Window.of(size, masked=masked)
        found = window.sums(len(made.values))
        result = of_sums(window, found)
        shares = gradients(result, [*found, *(window.param(at) for at in range(params))])
        tapes += [Tape.of([result]), Tape.of(shares)]
        texts += [digest([result]), digest(shares)]
    result_tape, shares_tape, result_at_border, shares_at_border = tapes
    return Sums(
        count=len(made.values),
        kept=len(kept),
        summands=Tape.of([*made.values, made.fits, *kept]),
        result=result_tape,
        result_at_border=result_at_border,
        shares=shares_tape,
        shares_at_border=shares_at_border,
        derivative=Tape.of(derived, given=kept),
        digest="-".join(text[:8] for text in texts),
    )
