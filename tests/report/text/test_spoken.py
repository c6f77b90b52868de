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


DEGREES = {"score": "mean_absolute_error", "unit": "degrees", "better": "lower"}


@dataclass
class OnData(Block):
    title: str = ""


def blocks_of(**named: list[tuple[str, dict[str, Any]]]) -> tuple[list[Any], dict[str, Any]]:
    """Return blocks whose arms have these variants, and their rows by digest."""
    rows = {f"{title}/{found['variant']}": found for title, those in named.items() for _, found in those}
    blocks = []
    for title, those in named.items():
        arms: list[Any] = []
        for variant, found in those:
            arm: Any = Arm(f"{title}/{found['variant']}")
            arm.variant = variant
            arms.append(arm)
        blocks.append(OnData(arms, title))
    return blocks, rows


def a(variant: str, verdict: str, difference: float = 0.0, **more: Any) -> tuple[str, dict[str, Any]]:
    return variant, row(variant, verdict, difference, **more)


def test_without_a_mean_each_name_has_its_block_and_each_tie_its_margin() -> None:
    blocks, rows = blocks_of(
        digits=[a("avg", "better", 0.012), a("gem", "tie"), a("l2", "too few runs")],
        angles=[
            a("avg", "worse", 0.31, **DEGREES),
            a("gem", "tie", margin=0.2, **DEGREES),
            a("l2", "undecided", 0.01, **DEGREES),
        ],
    )
    assert spoken(blocks, rows, []) == [
        "avg (digits, +1.20 points) is better than max; avg (angles, +0.310 degrees) is worse than max.",
        "As good as max within 0.5 points: gem (digits); within 0.2 degrees: gem (angles).",
        "Too few runs to judge l2 (digits): at least 3 seeds of variant and reference are needed. "
        "Undecided: l2 (angles).",
    ]


def test_the_mean_counts_its_own_blocks_and_arms_beside_it_are_named() -> None:
    blocks, rows = blocks_of(
        one=[a("avg", "tie")],
        two=[a("avg", "better", 0.01), a("gem", "tie")],
        three=[a("avg", "better", 0.02, **DEGREES), a("l2", "worse", 0.4, **DEGREES)],
    )
    over = row("avg", "better", 0.006, n_blocks=2, in_blocks=["one", "two"])
    assert spoken(blocks, rows, [over]) == [
        "Over 2 of these 3 blocks, on average: avg (+0.60 points) is better than max. "
        "In single blocks: avg (three, +0.0200 degrees) is better than max; "
        "l2 (three, +0.400 degrees) is worse than max.",
        "As good as max within 0.5 points: gem (two).",
    ]
    more = row("avg", "worse", 0.3, n_blocks=3, in_blocks=["three"], **DEGREES)
    assert spoken(blocks, rows, [over, more])[0] == (
        "Over 2 to 3 of these 3 blocks, on average: avg (accuracy, 2 blocks, +0.60 points) is better than max; "
        "avg (mean absolute error, 3 blocks, +0.300 degrees) is worse than max. "
        "In single blocks: l2 (three, +0.400 degrees) is worse than max."
    )
