"""The verdict in words: what a reader wants to know first, a sentence a block."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from poolbench.report.reading.arms import Block
from poolbench.report.reading.comparability import shortened
from poolbench.report.statistics.prospects import SEEDS
from poolbench.report.statistics.verdicts import (
    BETTER,
    FAILS,
    IDENTICAL,
    LEAST_SEEDS,
    MIXED,
    TIE,
    TOO_FEW,
    UNDECIDED,
    WORSE,
)
from poolbench.report.text.values import change_text, given, margin_text

ORDER = (FAILS, BETTER, WORSE, MIXED, TIE, UNDECIDED, TOO_FEW, IDENTICAL)
# With a smaller chance than this, however many seeds, it is the test set that decides nothing.
HOPELESS = 0.5
# Longer lists of names are counted.
MOST_NAMED = 8

T = TypeVar("T")


def verdict_words(blocks: Sequence[Block], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the verdict over all blocks, and a sentence for each block that compares anything.

    Args:
        blocks: in order.
        rows: of the summary, by the arm's digest.
    """
    by_block = [
        (block, [rows[arm.arm_id] for arm in block.arms if rows[arm.arm_id]["verdict"] in ORDER]) for block in blocks
    ]
    compared = [(block, found) for block, found in by_block if found]
    if not compared:
        return [_nothing(blocks)]
    sentences = [_block(block, found) if found else _without(block) for block, found in by_block]
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
            sentences.append(f"{verdict} in every block: {shortened(names, MOST_NAMED)}")
    text = "; ".join(sentences)
    return text[:1].upper() + text[1:] + "." if text else "No variant is better, worse or a tie in every block."


def _block(block: Block, rows: Sequence[Mapping[str, Any]]) -> str:
    references = sorted({str(row["reference"]) for row in rows})
    against = references[0] if len(references) == 1 else f"the {block.reference} of the same recipe"
    return f"{block.title}, against {against}: {listing(rows)}."


def listing(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return arms by their verdicts, those with a clear one by the size of the difference."""
    by_verdict: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_verdict[row["verdict"]].append(row)
    parts = []
    for verdict in ORDER:
        found = by_verdict[verdict]
        if not found:
            continue
        if verdict == TIE:
            those = by_margin(found, lambda row: row)
            parts += [
                f"tie within {margin}: {shortened([_named(row) for row in ties], MOST_NAMED)}" for margin, ties in those
            ]
            continue
        heading = verdict
        if verdict == UNDECIDED:
            # Of looks that were declared the next one decides, not a new run.
            looks = any(given(row.get("look_seeds")) or given(row.get("next_look_seeds")) for row in found)
            heading = UNDECIDED if looks else f"undecided (chance that a new run of {_listed_seeds()} seeds decides)"
        if verdict == TOO_FEW:
            heading = f"too few runs (fewer than {LEAST_SEEDS} seeds)"
        if verdict in (BETTER, WORSE):
            found = sorted(found, key=lambda row: -abs(row["difference_mean"]))
        parts.append(f"{heading}: {shortened([_named(row) for row in found], MOST_NAMED)}")
    return "; ".join(parts)


def by_margin(found: Sequence[T], row: Callable[[T], Mapping[str, Any]]) -> list[tuple[str, list[T]]]:
    """Return ties by the margin that they lie within, in order: scores and blocks may have margins of their own.

    Args:
        found: the ties.
        row: returns the row of a table that one of them is of.
    """
    groups: dict[str, list[T]] = defaultdict(list)
    for one in found:
        groups[margin_text(row(one))].append(one)
    return list(groups.items())


def _listed_seeds() -> str:
    return f"{', '.join(map(str, SEEDS[:-1]))} or {SEEDS[-1]}"


def _named(row: Mapping[str, Any]) -> str:
    name, verdict = str(row["variant"]), row["verdict"]
    asides = []
    if verdict in (BETTER, WORSE):
        asides.append(change_text(row))
    if verdict == FAILS:
        asides.append(f"{change_text(row)} where both finished")
    if verdict == MIXED:
        asides.append(str(row["mixed"]))
    if verdict in (TIE, UNDECIDED) and same_outcomes(row):
        asides.append(same_outcomes(row))
    elif verdict == UNDECIDED:
        asides.append(chance_text(row))
    if row["flags"]:
        asides.append(f"caution: {row['flags']}")
    return f"{name} ({', '.join(asides)})" if asides else name


def same_outcomes(row: Mapping[str, Any]) -> str:
    """Return that two arms had the same outcome on every test example with every seed; empty where they had not.

    >>> same_outcomes({"difference_p": 1.0, "difference_std": 0.0, "test_images": 600})
    'the same on all 600 test examples'
    """
    p, std, images = (row.get(name) for name in ("difference_p", "difference_std", "test_images"))
    if images is None or not all(map(given, (p, std, images))) or p != 1.0 or std != 0.0:
        return ""
    return f"the same on all {int(images):,} test examples"


def chance_text(row: Mapping[str, Any]) -> str:
    """Return the chance of a verdict with more seeds, and where no number of them is likely to bring one, why.

    >>> chance = {"chance_5_seeds": 0.32, "chance_10_seeds": 0.464, "chance_20_seeds": 0.57, "chance_any_seeds": 0.9}
    >>> chance_text(chance)
    '32, 46, 57 %'
    >>> chance_text({"look_seeds": 3, "next_look_seeds": 5})
    'next look at 5 seeds'
    >>> chance_text(chance | {"chance_any_seeds": 0.61, "test_images": 597})
    '32, 46, 57 %'
    >>> chance_text({f"chance_{n}_seeds": 0.04 for n in SEEDS} | {"chance_any_seeds": 0.07, "test_images": 597})
    '4, 4, 4 %; with any number of seeds 7 %, since 597 test examples are too few'
    """
    if given(after := row.get("next_look_seeds")):
        return f"next look at {after:.0f} seeds"
    if given(last := row.get("look_seeds")):
        return f"after the last look, at {last:.0f} seeds"
    chances = [row.get(f"chance_{n}_seeds") for n in SEEDS]
    if not all(map(given, chances)):
        return "its seeds do not vary"
    text = f"{', '.join(f'{chance * 100:.0f}' for chance in chances if chance is not None)} %"
    ever, images = row.get("chance_any_seeds"), row.get("test_images")
    if given(ever) and ever is not None and ever < HOPELESS:
        those = f"{int(images):,} test examples" if given(images) and images is not None else "the test examples"
        text += f"; with any number of seeds {ever * 100:.0f} %, since {those} are too few"
    return text
