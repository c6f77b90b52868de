"""The verdict in words: what a reader wants to know first, a sentence a block."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from poolbench.report.reading.arms import Block
from poolbench.report.statistics.verdicts import (
    BETTER,
    IDENTICAL,
    LEAST_SEEDS,
    MOST_SEEDS,
    TIE,
    TOO_FEW,
    UNDECIDED,
    WORSE,
)
from poolbench.report.text.views import given, points_text

ORDER = (BETTER, WORSE, TIE, UNDECIDED, TOO_FEW, IDENTICAL)
# Longer lists of names are counted.
MOST_NAMED = 8


def verdict_words(blocks: Sequence[Block], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the verdict over all blocks, and one sentence for each block that compares anything.

    Args:
        blocks: in order.
        rows: of the summary, by the arm's digest.
    """
    told = [
        (block, [rows[arm.arm_id] for arm in block.arms if rows[arm.arm_id]["verdict"] in ORDER]) for block in blocks
    ]
    compared = [(block, found) for block, found in told if found]
    if not compared:
        return [_nothing(blocks)]
    sentences = [_block(block, found) if found else _without(block) for block, found in told]
    return sentences if len(compared) == 1 else [_all(compared), *sentences]


def _without(block: Block) -> str:
    """Say why a block compares nothing."""
    finished = [arm for arm in block.arms if arm.finished]
    if not finished:
        return f"{block.title}: no finished cell."
    if all(arm.is_reference for arm in finished):
        return f"{block.title}: only the reference finished."
    return f"{block.title}: not compared, the reference {block.reference} has no finished cell."


def _nothing(blocks: Sequence[Block]) -> str:
    if not any(arm.finished for block in blocks for arm in block.arms):
        return "No cell finished: there is nothing to compare."
    finished = [arm for block in blocks for arm in block.arms if arm.finished]
    if all(arm.is_reference for arm in finished):
        return "Nothing to compare: no arm beside the reference finished."
    wanted = ", ".join(sorted({block.reference for block in blocks}))
    if not any(arm.is_reference for arm in finished):
        return f"Nothing to compare: the reference ({wanted}) has no finished cell."
    return f"Nothing to compare: no block has both its reference ({wanted}) and another arm finished."


def _all(compared: Sequence[tuple[Block, Sequence[Mapping[str, Any]]]]) -> str:
    counted = Counter(row["verdict"] for _, rows in compared for row in rows)
    parts = [f"{counted[verdict]} {verdict}" for verdict in ORDER if counted[verdict]]
    always = _everywhere(compared)
    text = (
        f"{sum(counted.values())} comparisons with the reference in {len(compared)} blocks, corrected for their number "
        f"within each block: {', '.join(parts)}."
    )
    return f"{text} {always}" if always else text


def _everywhere(compared: Sequence[tuple[Block, Sequence[Mapping[str, Any]]]]) -> str:
    """Say which variants have the same clear verdict in every block."""
    verdicts: dict[str, list[str]] = defaultdict(list)
    for _, rows in compared:
        for row in rows:
            verdicts[row["variant"]].append(row["verdict"])
    sentences = []
    for verdict in (BETTER, WORSE, TIE):
        names = [variant for variant, found in verdicts.items() if found == [verdict] * len(compared)]
        if names:
            sentences.append(f"{verdict} in every block: {_listed(names)}")
    text = "; ".join(sentences)
    return text[:1].upper() + text[1:] + "." if text else "No variant is better, worse or a tie in every block."


def _block(block: Block, rows: Sequence[Mapping[str, Any]]) -> str:
    by_verdict: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_verdict[row["verdict"]].append(row)
    references = sorted({str(row["reference"]) for row in rows})
    against = references[0] if len(references) == 1 else f"the {block.reference} of the same recipe"
    parts = []
    for verdict in ORDER:
        found = by_verdict[verdict]
        if not found:
            continue
        heading = verdict
        if verdict == TIE:
            heading = f"tie within {found[0]['margin'] * 100:g} points"
        if verdict == UNDECIDED:
            heading = "undecided (with the seeds that a new run would need if mean and spread stayed)"
        if verdict == TOO_FEW:
            heading = f"too few runs (fewer than {LEAST_SEEDS} seeds)"
        if verdict in (BETTER, WORSE):
            found = sorted(found, key=lambda row: -abs(row["difference_mean"]))
        parts.append(f"{heading}: {_listed([_named(row) for row in found])}")
    return f"{block.title}, against {against}: {'; '.join(parts)}."


def _named(row: Mapping[str, Any]) -> str:
    name, verdict = str(row["variant"]), row["verdict"]
    asides = []
    if verdict in (BETTER, WORSE):
        asides.append(f"{points_text(row['difference_mean'])} points")
    if verdict == UNDECIDED:
        asides.append(decide_text(row))
    if row["flags"]:
        asides.append(f"mind: {row['flags']}")
    return f"{name} ({', '.join(asides)})" if asides else name


def decide_text(row: Mapping[str, Any]) -> str:
    """Return how many seeds a new run would need to decide, were mean and spread as they are.

    >>> decide_text({"seeds_to_decide": 4, "difference_holm_low": 0.1, "n_paired": 3})
    '7'
    >>> decide_text({"seeds_to_decide": None, "difference_holm_low": 0.1, "n_paired": 3})
    'over 1,000'
    """
    if not given(row["difference_holm_low"]):
        return "its seeds do not vary"
    if not given(row["seeds_to_decide"]):
        return f"over {MOST_SEEDS:,}"
    return f"{int(row['n_paired']) + int(row['seeds_to_decide'])}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
