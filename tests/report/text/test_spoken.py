"""The verdict in three sentences: what a person would say, from the rows of the tables."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from poolbench.report.text.spoken import spoken


@dataclass
class Arm:
    arm_id: str


@dataclass
class Block:
    arms: list[Arm] = field(default_factory=list)


def row(variant: str, verdict: str, difference: float | None = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "variant": variant,
        "verdict": verdict,
        "difference_mean": difference,
        "reference": "max",
        "margin": 0.005,
        "chance_10_seeds": None,
    } | more


def said(*rows: dict[str, Any], over: bool = False) -> list[str]:
    if over:
        return spoken([Block(), Block()], {}, rows)  # type: ignore[list-item]
    by_arm = {str(number): one for number, one in enumerate(rows)}
    return spoken([Block([Arm(name) for name in by_arm])], by_arm, [])  # type: ignore[list-item]


def test_clear_ones_are_named_by_the_size_of_their_difference() -> None:
    found = said(
        row("max", "reference"), row("gap", "better", 0.01), row("gem", "better", 0.03), row("avg", "worse", -0.02)
    )
    assert found == [
        "gem (+3.00 points) and gap (+1.00 points) are better than max; avg (−2.00 points) is worse than max."
    ]


def test_over_blocks_it_says_so() -> None:
    found = said(row("avg", "mixed", 0.03), row("min", "tie"), over=True)
    assert found == [
        "Over these 2 blocks, on average: no pooling was shown to be better or worse than max.",
        "Better in some blocks and worse in others: avg. As good as max within 0.5 points: min.",
    ]


@pytest.mark.parametrize(
    ("chances", "text"),
    [
        ((None,), "Undecided: v0."),
        ((0.19,), "a new run of 10 seeds would decide with a chance of 19 %."),
        ((0.19, 0.5), "a new run of 10 seeds would decide with a chance of 19 to 50 %."),
    ],
)
def test_what_is_undecided_has_its_chance(chances: tuple[float | None, ...], text: str) -> None:
    rows = [row(f"v{at}", "undecided", chance_10_seeds=chance) for at, chance in enumerate(chances)]
    assert said(*rows)[-1].endswith(text)


def test_three_sentences_at_most() -> None:
    verdicts = ("better", "worse", "mixed", "tie", "fails more often", "undecided", "too few runs")
    assert len(said(*(row(f"v{at}", verdict, 0.01) for at, verdict in enumerate(verdicts)))) == 3


def test_nothing_is_said_where_nothing_is_compared() -> None:
    assert said(row("max", "reference", None)) == []
