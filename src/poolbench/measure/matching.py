"""An arm made as large, or as much work, as the reference: by the width of its network."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from poolbench.backbones import Assembled, Width
from poolbench.errors import UnsupportedError
from poolbench.measure.cost import cost

KINDS = {"params": "parameters", "macs": "multiply_adds"}
TOLERANCE = 0.01
# Nearer than this, no other width is tried.
ENOUGH = 0.001
NARROWEST, WIDEST = 1 / 16, 16.0
MOST_TRIALS = 20
# Sets of thresholds at which numbers of channels are rounded, tried one after another.
PHASES = 6


@dataclass(frozen=True)
class Match:
    """How an arm was matched with the reference.

    Args:
        by: `params` or `macs`.
        width: of the arm's network, over its own.
        phase: which thresholds its numbers of channels were rounded at.
        target: what the reference has, in parameters or multiply-adds.
        reached: what the arm has at this width.
        difference: (reached − target) / target.
    """

    by: str
    width: float
    phase: int
    target: int
    reached: int
    difference: float

    def shown(self) -> dict[str, Any]:
        """Return it as the audit holds it."""
        return asdict(self)


def size_of(assembled: Assembled, by: str) -> int:
    """Return the parameters (`params`) or the multiply-adds of an image (`macs`) of a network."""
    if by == "params":
        return sum(parameter.numel() for parameter in assembled.network.parameters())
    return int(cost(assembled.network, assembled.input_shape)[KINDS[by]])


def match(by: str, arm: Callable[[Width], Assembled], reference: Assembled) -> Match:
    """Return the width at which an arm agrees with the reference within 1 %.

    An arm that does so at its own width keeps it. Else widths between 1/16 and 16 are tried, halving the range, since
    the size grows with the width, in steps; where the steps are too large, again with numbers of channels rounded
    otherwise.

    Args:
        by: `params` or `macs`.
        arm: builds it at a width.
        reference: what it is matched with.

    Raises:
        UnsupportedError: no width comes within 1 %; the nearest is named.
    """
    target = size_of(reference, by)

    def tried(width: float, phase: int) -> Match:
        reached = size_of(arm(Width(width, phase)), by)
        return Match(by, width, phase, target, reached, (reached - target) / target)

    best = tried(1.0, 0)
    if abs(best.difference) <= TOLERANCE:
        return best
    low, high = (NARROWEST, 1.0) if best.difference > 0 else (1.0, WIDEST)
    for phase in range(PHASES):
        best = min(best, _halved(partial(tried, phase=phase), low, high), key=_apart)
        if abs(best.difference) <= TOLERANCE:
            return best
        low, high = best.width / 1.2, best.width * 1.2
    raise UnsupportedError(
        f"`match={by}`: no width brings {KINDS[by].replace('_', '-')} within {TOLERANCE:.0%} of the reference's "
        f"{target:,}; the nearest is {best.reached:,} ({best.difference:+.1%}) at {best.width:.3f} times the width"
    )


def _halved(tried: Callable[[float], Match], low: float, high: float) -> Match:
    """Return the nearest of the widths that halving a range comes to."""
    best = None
    for _ in range(MOST_TRIALS):
        found = tried(math.sqrt(low * high))
        best = found if best is None else min(best, found, key=_apart)
        if abs(best.difference) <= ENOUGH or high / low < 1.0005:
            break
        low, high = (low, found.width) if found.difference > 0 else (found.width, high)
    assert best is not None
    return best


def _apart(found: Match) -> float:
    return abs(found.difference)
