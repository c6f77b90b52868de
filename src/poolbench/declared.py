"""What was declared before the runs: at how many seeds one looks, at which level, and which seeds these are.

It stands in `RESULTS_DIR/NAME/experiment.json` from the first `until=decided` on, and holds for every later report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from poolbench.checks import is_number, is_whole
from poolbench.errors import ConfigurationError


@dataclass(frozen=True)
class Look:
    """A number of seeds, and the level of the verdicts that are reached with them."""

    seeds: int
    alpha: float


LOOKS = (Look(3, 0.005), Look(5, 0.01), Look(10, 0.015), Look(20, 0.02))


@dataclass(frozen=True)
class Declared:
    """The looks of an experiment.

    Args:
        order: the seeds in their order, as many as the last look needs.
        looks: in their order.
        cells_before: cells that had a record already when this was declared.
    """

    order: tuple[int, ...]
    looks: tuple[Look, ...] = LOOKS
    cells_before: int = 0

    def content(self) -> dict[str, Any]:
        """Return what a file holds of it."""
        return asdict(self) | {"order": list(self.order), "looks": [asdict(one) for one in self.looks]}

    @classmethod
    def of(cls, content: Any, place: str) -> "Declared":
        """Return what a file holds; raise `ConfigurationError` that names `place` where it holds no looks."""
        if not isinstance(content, Mapping) or set(content) != {"order", "looks", "cells_before"}:
            raise ConfigurationError(f"{place} must have `order`, `looks` and `cells_before`, got {content!r}")
        order, looks, before = content["order"], content["looks"], content["cells_before"]
        if not _is_list(looks) or not looks or not all(map(_is_look, looks)):
            raise ConfigurationError(f"{place}: `looks` must be a list of `seeds` with their `alpha`, got {looks!r}")
        if not _is_list(order) or not all(is_whole(seed) and seed >= 0 for seed in order):
            raise ConfigurationError(f"{place}: `order` must be a list of seeds, got {order!r}")
        if len(set(order)) != len(order) or len(order) != looks[-1]["seeds"]:
            raise ConfigurationError(f"{place}: `order` must name the {looks[-1]['seeds']} seeds once, got {order!r}")
        if not is_whole(before) or before < 0:
            raise ConfigurationError(f"{place}: `cells_before` must be a whole number of at least 0, got {before!r}")
        return cls(tuple(order), tuple(Look(one["seeds"], one["alpha"]) for one in looks), before)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_look(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and set(value) == {"seeds", "alpha"}
        and is_whole(value["seeds"])
        and is_number(value["alpha"])
    )


def seeds_in_order(given: Sequence[int], most: int) -> tuple[int, ...]:
    """Return the seeds that are declared: those given, in their order, then the whole numbers after the largest.

    Raises:
        ConfigurationError: more are given than the last look has.

    >>> seeds_in_order([7, 3], 5)
    (7, 3, 8, 9, 10)
    """
    order = list(dict.fromkeys(given))
    if len(order) > most:
        raise ConfigurationError(f"`until=decided` trains {most} seeds at most, `seed` must name no more: {len(order)}")
    after = max(order, default=-1) + 1
    return (*order, *range(after, after + most - len(order)))
