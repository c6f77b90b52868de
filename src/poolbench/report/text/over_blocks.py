"""The verdict over several blocks, in words and as a table: what holds for their mean, each block beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from poolbench.report.statistics.over_blocks import InBlock, OverBlocks
from poolbench.report.statistics.verdicts import BETTER, WORSE
from poolbench.report.text.units import Written, told_apart, written, written_row
from poolbench.report.text.values import FLAGGED, count_text, difference_text, estimate_text, verdict_text
from poolbench.report.text.views import Heading, Row, View
from poolbench.report.text.words import listing
from poolbench.score import Score

# More blocks than this are counted by their verdicts; accuracy.csv has each.
MOST_BLOCKS = 8

Rows = list[dict[str, Any]]


def rows(found: Sequence[OverBlocks], table: pd.DataFrame) -> Rows:
    """Return the rows of `over_blocks.csv`, with `mixed`, the blocks that contradict one another, and their titles."""
    content: Sequence[Mapping[Any, Any]] = table.to_dict("records")
    return [
        {str(key): value for key, value in row.items()}
        | {"mixed": _contradiction(one.blocks, one.score), "test_images": _images(one)}
        | {"unit": one.score.unit, "better": one.score.better, "in_blocks": [each.block for each in one.blocks]}
        for row, one in zip(content, found, strict=True)
    ]


def _images(one: OverBlocks) -> int | None:
    return one.compared.found.images if one.compared.found else None


def _change(each: InBlock, score: Score) -> str:
    """Return a block's difference with its sign, in points or in the score's unit."""
    how = written(score, each.difference)
    return estimate_text(each.difference, None, None, scale=how.scale, decimals=how.decimals, signed=True)


def _contradiction(blocks: Sequence[InBlock], score: Score) -> str:
    """Name the blocks in which an arm is worse and those in which it is better."""
    parts = []
    for verdict in (WORSE, BETTER):
        those = [f"{each.block} {_change(each, score)}" for each in blocks if each.verdict == verdict]
        if those:
            parts.append(f"{verdict} on {', '.join(those)}")
    return "; ".join(parts)


def title(found: Sequence[OverBlocks]) -> str:
    """Return the heading of the table."""
    numbers = {len(one.blocks) for one in found}
    return f"Mean over {count_range(numbers)} blocks"


def count_range(numbers: set[int]) -> str:
    """Return the least and the greatest of some counts.

    >>> count_range({2}), count_range({4, 2, 3})
    ('2', '2 to 4')
    """
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def words(found: Sequence[OverBlocks], table: pd.DataFrame) -> list[str]:
    """Return the verdict over the blocks in a sentence for each score, and how far it reaches; nothing without one."""
    by_score: dict[str, list[tuple[OverBlocks, Mapping[str, Any]]]] = {}
    for one, row in zip(found, rows(found, table), strict=True):
        if row["verdict"]:
            by_score.setdefault(written_row(row).quantity, []).append((one, row))
    named = told_apart(written_row(row) for those in by_score.values() for _, row in those)
    sentences = []
    for quantity, those in by_score.items():
        shown = [row for _, row in those]
        references = sorted({str(row["reference"]) for row in shown})
        against = references[0] if len(references) == 1 else "each block's reference"
        score = f" by {named[quantity]}" if len(by_score) > 1 else ""
        sentences.append(
            f"{title([one for one, _ in those])}{score}, which holds for these blocks only, against {against}: "
            f"{listing(shown)}."
        )
    return sentences


def view(found: Sequence[OverBlocks], table: pd.DataFrame) -> View | None:
    """Return the table that people read; None where there is nothing over several blocks."""
    if not found:
        return None
    content = rows(found, table)
    names = list(dict.fromkeys(each.block for one in found for each in one.blocks))
    several = len({len(one.blocks) for one in found}) > 1
    columns: list[tuple[Heading, list[str]]] = [
        (Heading("variant", "arm"), [str(row["variant"]) for row in content]),
        (Heading("n", "n"), [count_text(row["n_seeds"]) for row in content]),
    ]
    if several:
        columns.append((Heading("blocks", "blocks"), [count_text(row["n_blocks"]) for row in content]))
    scores = {(one.score.name, one.score.unit): written_row(row) for one, row in zip(found, content, strict=True)}
    unit = next(iter(scores.values())).difference_unit if len(scores) == 1 else ""
    if len(scores) > 1:
        columns.append((Heading("score", "score"), [written_row(row).quantity for row in content]))
    shown_unit = f", {unit}" if unit else ""
    columns += [
        (Heading(f"Δ{shown_unit}", f"Δ over blocks{shown_unit}"), [difference_text(row) for row in content]),
        (Heading("verdict", "verdict over blocks"), [verdict_text(row) for row in content]),
    ]
    if len(names) <= MOST_BLOCKS:
        columns += [(Heading(name, name, True), [_inside(one, name) for one in found]) for name in names]
    else:
        columns.append((Heading("blocks", "in the blocks", True), [_counted(one) for one in found]))
    cells = zip(*(texts for _, texts in columns), strict=True)
    return View(
        title=title(found),
        against="each block's reference" if len({one.reference for one in found}) > 1 else found[0].reference,
        headings=tuple(heading for heading, _ in columns),
        rows=tuple(
            Row(tuple(texts), _notes(row), is_reference=False) for texts, row in zip(cells, content, strict=True)
        ),
        speed="",
        absent=(),
        beside=_beside(len(names), list(scores.values())),
    )


def _beside(blocks: int, scores: Sequence[Written]) -> str:
    """Say what the columns beside the mean hold of the single blocks."""
    if blocks > MOST_BLOCKS:
        return "how many blocks have which verdict beside it"
    if len(scores) > 1:
        return "each block beside it, in points or in the unit of its score"
    unit = scores[0].difference_unit
    return f"each block beside it, in {unit}" if unit else "each block beside it"


def _notes(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"{FLAGGED} {row['flags']}",) if row["flags"] else ()


def _inside(one: OverBlocks, name: str) -> str:
    """Return the difference in one block, with its verdict."""
    for each in one.blocks:
        if each.block == name:
            return f"{_change(each, one.score)} {each.verdict}".strip()
    return "not run"


def _counted(one: OverBlocks) -> str:
    verdicts = [each.verdict for each in one.blocks]
    return ", ".join(f"{verdicts.count(verdict)} {verdict or 'not compared'}" for verdict in dict.fromkeys(verdicts))


HOW = (
    "Δ over blocks: each seed's differences are averaged over the blocks, so that S seeds give S values with S − 1 "
    "degrees of freedom; test examples that blocks share are treated as the same examples. It holds for the mean of "
    "these blocks, not for other blocks; mixed: better in one block and worse in another, whatever the mean."
)
