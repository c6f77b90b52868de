"""What common random numbers gained: the variance of a difference at equal seeds beside that at unequal ones."""

import math
from dataclasses import dataclass

import numpy as np

from poolbench.report.reading.arms import Arm, Block
from poolbench.report.reading.scores import reached

# Fewer pairs have no variance to speak of.
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Gain:
    """What one block's pairing gained.

    Args:
        block: its name.
        ratio: sum over the arms of var(arm − reference) ÷ sum of var(arm) + var(reference), over the paired seeds;
            below 1: pairing helped.
        arms: that it is over.
    """

    block: str
    ratio: float
    arms: int

    def __str__(self) -> str:
        """Say it.

        >>> str(Gain("slides on digits", 0.4, 5)).partition(": ")[2].partition(", over")[0]
        'with equal seeds a difference has 0.40 times the variance that it has with unequal ones'
        """
        text = (
            f"{self.block}: with equal seeds a difference has {self.ratio:.2f} times the variance that it has with "
            f"unequal ones, over {self.arms} variant{'s' * (self.arms != 1)}"
        )
        if self.ratio < 1:
            return f"{text}; so 10 seeds do the work of {10 / max(self.ratio, 0.01):.0f}"
        return f"{text}: equal seeds gained nothing here"


def gained(block: Block) -> Gain | None:
    """Return what equal seeds gained in a block; None where no arm that varies shares 3 seeds with its reference."""
    paired, apart, arms = 0.0, 0.0, 0
    for arm in block.arms:
        # An arm that is the reference under another name differs by 0 with any seeds: it says nothing.
        if arm.reference is None or arm.is_reference or arm.reference.variant in arm.identical:
            continue
        both = [(a, b) for a, b in _scores(arm, arm.reference) if math.isfinite(a) and math.isfinite(b)]
        if len(both) < LEAST_SEEDS:
            continue
        own, its = np.array(both).T
        paired += float((own - its).var(ddof=1))
        apart += float(own.var(ddof=1) + its.var(ddof=1))
        arms += 1
    return Gain(block.title, paired / apart, arms) if apart > 0 else None


def _scores(arm: Arm, reference: Arm) -> list[tuple[float, float]]:
    return [
        (
            reached(record),
            reached(reference.finished[seed]),
        )
        for seed, record in arm.finished.items()
        if seed in reference.finished
    ]
