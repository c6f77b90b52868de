"""Cells that failed: an arm of which only some seeds finished is judged by the lucky ones."""

from collections.abc import Iterable
from dataclasses import dataclass

from poolbench.report.reading.arms import Arm

# A cell that was interrupted is run again, one that is unsupported never ran.
FAILED = ("failed", "diverged")


@dataclass(frozen=True)
class Failures:
    """How many of an arm's cells did not finish by their own fault.

    Args:
        cells: all that ran, the failed among them.
        failed: ended in an error.
        diverged: left the finite numbers.
    """

    cells: int
    failed: int
    diverged: int

    @classmethod
    def of(cls, arms: Iterable[Arm]) -> "Failures":
        """Count over some arms."""
        found = list(arms)
        failed, diverged = (sum(arm.count(status) for arm in found) for status in FAILED)
        return cls(sum(len(arm.finished) for arm in found) + failed + diverged, failed, diverged)

    @property
    def number(self) -> int:
        """How many failed or diverged."""
        return self.failed + self.diverged

    def more_often_than(self, other: "Failures") -> bool:
        """Whether a larger share failed."""
        return self.number * other.cells > other.number * self.cells

    def __str__(self) -> str:
        """Say it.

        >>> str(Failures(5, 0, 2)), str(Failures(6, 1, 2)), str(Failures(3, 0, 0))
        ('2 of 5 cells diverged', '1 of 6 cells failed and 2 diverged', 'none of 3 cells failed')
        """
        cells = f"{self.cells} cell{'s' * (self.cells != 1)}"
        if not self.number:
            return f"none of {cells} failed"
        if not self.failed or not self.diverged:
            return f"{self.number} of {cells} {'failed' if self.failed else 'diverged'}"
        return f"{self.failed} of {cells} failed and {self.diverged} diverged"


def failure_words(own: Failures, other: Failures, reference: str) -> str:
    """Return what a verdict must name: both where any cell of either failed, else nothing.

    >>> failure_words(Failures(5, 0, 2), Failures(5, 0, 0), "max")
    '2 of 5 cells diverged (max: none of 5 cells failed)'
    """
    return f"{own} ({reference}: {other})" if own.number or other.number else ""
