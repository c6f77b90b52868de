"""The verdict as a person would say it: three sentences at most. Counts and single blocks stand in tables beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poolbench.report.reading.arms import Block
from poolbench.report.statistics.verdicts import (
    BETTER,
    FAILS,
    LEAST_SEEDS,
    MIXED,
    REFERENCE,
    TIE,
    TOO_FEW,
    UNDECIDED,
    WORSE,
)
from poolbench.report.text.over_blocks import count_range
from poolbench.report.text.units import told_apart, written_row
from poolbench.report.text.values import change_text, given
from poolbench.report.text.words import by_margin

# Longer lists of names are counted.
MOST_NAMED = 5

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Said:
    """A row, and what must stand beside its arm's name for a reader to know what it is of."""

    row: Row
    of: str = ""

    def name(self, more: str = "") -> str:
        """Return the arm's name, in brackets what it is of and what more there is to say."""
        asides = ", ".join(part for part in (self.of, more) if part)
        return f"{self.row['variant']} ({asides})" if asides else str(self.row["variant"])


def spoken(blocks: Sequence[Block], rows: Mapping[str, Row], over: Sequence[Row]) -> list[str]:
    """Return what was found, in at most three sentences; empty where nothing is compared.

    Of arms that have a mean over blocks it is said of that mean, of all others block by block, each with its block's
    name where there are several.

    Args:
        blocks: in order.
        rows: of the summary, by the arm's digest.
        over: rows of `over_blocks`, with `n_blocks` and, as `in_blocks`, the titles of the blocks that are averaged;
            without the two, an arm's blocks are all of them.
    """
    means = _means([row for row in over if _compared(row)], len(blocks))
    single = _single(blocks, rows, over)
    found = means + single
    if not found:
        return []
    references = {str(one.row["reference"]) for one in found if given(one.row.get("reference"))}
    reference = references.pop() if len(references) == 1 else "the reference"
    sentences = [_clear(means, single, reference, len(blocks)), _other(found, reference), _open(found)]
    return [sentence for sentence in sentences if sentence]


def _compared(row: Row) -> bool:
    return row["verdict"] not in ("", REFERENCE)


def _means(over: Sequence[Row], number: int) -> list[_Said]:
    """Return the rows over blocks; each with its score or its number of blocks where these differ from row to row."""
    scores = told_apart(map(written_row, over))
    numbers = {_blocks(row, number) for row in over}
    return [
        _Said(
            row,
            ", ".join(
                [scores[written_row(row).quantity]] * (len(scores) > 1)
                + [f"{_blocks(row, number)} blocks"] * (len(numbers) > 1)
            ),
        )
        for row in over
    ]


def _single(blocks: Sequence[Block], rows: Mapping[str, Row], over: Sequence[Row]) -> list[_Said]:
    """Return the rows of single blocks that are part of no mean over blocks."""
    several = len(blocks) > 1
    return [
        _Said(rows[arm.arm_id], block.title if several else "")
        for block in blocks
        for arm in block.arms
        if _compared(rows[arm.arm_id])
        and not any(row["variant"] == arm.variant and block.title in row["in_blocks"] for row in over)
    ]


def _blocks(row: Row, number: int) -> int:
    return int(row.get("n_blocks", number))


def _of(found: Sequence[_Said], verdict: str) -> list[_Said]:
    """Return those of a verdict by the size of the difference, score by score: their units do not compare."""
    scores = list(dict.fromkeys(written_row(one.row).quantity for one in found))
    chosen = [one for one in found if one.row["verdict"] == verdict]
    return sorted(chosen, key=lambda one: (scores.index(written_row(one.row).quantity), -_size(one.row)))


def _size(row: Row) -> float:
    return abs(float(row["difference_mean"])) if given(row["difference_mean"]) else 0.0


def _clear(means: Sequence[_Said], single: Sequence[_Said], reference: str, number: int) -> str:
    shown = _better_and_worse(single, reference)
    if not means:
        return f"{shown}." if shown else f"No pooling was shown to be better or worse than {reference}."
    numbers = {_blocks(one.row, number) for one in means}
    those = f"these {number}" if numbers == {number} else f"{count_range(numbers)} of these {number}"
    over = _better_and_worse(means, reference) or f"no pooling was shown to be better or worse than {reference}"
    return f"Over {those} blocks, on average: {over}." + (f" In single blocks: {shown}." if shown else "")


def _better_and_worse(found: Sequence[_Said], reference: str) -> str:
    parts = []
    for verdict, word in ((BETTER, "better"), (WORSE, "worse")):
        if those := _of(found, verdict):
            names = _listed([one.name(change_text(one.row)) for one in those])
            parts.append(f"{names} {'is' if len(those) == 1 else 'are'} {word} than {reference}")
    return "; ".join(parts)


def _other(found: Sequence[_Said], reference: str) -> str:
    parts = []
    if mixed := _of(found, MIXED):
        parts.append(f"Better in some blocks and worse in others: {_names(mixed)}")
    if ties := _of(found, TIE):
        within = [f"within {margin}: {_names(those)}" for margin, those in by_margin(ties, lambda one: one.row)]
        parts.append(f"As good as {reference} {'; '.join(within)}")
    if fails := _of(found, FAILS):
        parts.append(f"Failed in more runs than {reference}: {_names(fails)}")
    return f"{'. '.join(parts)}." if parts else ""


def _open(found: Sequence[_Said]) -> str:
    few, undecided = _of(found, TOO_FEW), _of(found, UNDECIDED)
    parts = []
    if few:
        parts.append(
            f"Too few runs to judge {_names(few)}: at least {LEAST_SEEDS} seeds of variant and reference are needed."
        )
    if undecided:
        parts.append(f"Undecided: {_names(undecided)}{_chance(undecided)}.")
    return " ".join(parts)


def _chance(undecided: Sequence[_Said]) -> str:
    chances = [one.row.get("chance_10_seeds") for one in undecided]
    known = [float(chance) for chance in chances if chance is not None and given(chance)]
    if not known:
        return ""
    low, high = min(known) * 100, max(known) * 100
    chance = f"{low:.0f} %" if round(low) == round(high) else f"{low:.0f} to {high:.0f} %"
    return f"; a new run of 10 seeds would decide with a chance of {chance}"


def _names(found: Sequence[_Said]) -> str:
    return _listed([one.name() for one in found])


def _listed(names: Sequence[str]) -> str:
    """Return names as a person lists them.

    >>> _listed(["a"]), _listed(["a", "b", "c"]), _listed(list("abcdefgh"))
    ('a', 'a, b and c', 'a, b, c, d, e and 3 more')
    """
    if len(names) == 1:
        return names[0]
    more = len(names) - MOST_NAMED
    if more > 0:
        return f"{', '.join(names[:MOST_NAMED])} and {more} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"
