"""The verdict as a person would say it: three sentences at most. Counts and single blocks stand in tables beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from poolbench.report.reading.arms import Block
from poolbench.report.statistics.verdicts import BETTER, FAILS, MIXED, TIE, TOO_FEW, UNDECIDED, WORSE
from poolbench.report.text.values import change_text, given, margin_text

# Longer lists of names are counted.
MOST_NAMED = 5

Row = Mapping[str, Any]


def spoken(blocks: Sequence[Block], rows: Mapping[str, Row], over: Sequence[Row]) -> list[str]:
    """Return what was found, in at most three sentences; empty where nothing is compared.

    Args:
        blocks: in order.
        rows: of the summary, by the arm's digest.
        over: rows of `over_blocks`; of several blocks these say it, of one the block's own rows.
    """
    found = list(over) or [rows[arm.arm_id] for block in blocks for arm in block.arms]
    found = [row for row in found if row["verdict"] and row["verdict"] != "reference"]
    if not found:
        return []
    references = {str(row["reference"]) for row in found if given(row.get("reference"))}
    reference = references.pop() if len(references) == 1 else "the reference"
    where = f"Over these {len(blocks)} blocks, on average: " if over else ""
    sentences = [_clear(found, reference, where), _other(found, reference), _open(found)]
    return [sentence for sentence in sentences if sentence]


def _of(rows: Sequence[Row], verdict: str) -> list[Row]:
    chosen = [row for row in rows if row["verdict"] == verdict]
    return sorted(chosen, key=lambda row: -abs(row["difference_mean"]) if given(row["difference_mean"]) else 0.0)


def _clear(rows: Sequence[Row], reference: str, where: str) -> str:
    better, worse = _of(rows, BETTER), _of(rows, WORSE)
    parts = []
    for found, word in ((better, "better"), (worse, "worse")):
        if found:
            names = _listed([f"{row['variant']} ({change_text(row)})" for row in found])
            parts.append(f"{names} {'is' if len(found) == 1 else 'are'} {word} than {reference}")
    if not parts:
        return f"{where or 'N'}{'n' * bool(where)}o pooling was shown to be better or worse than {reference}."
    return f"{where}{'; '.join(parts)}."


def _other(rows: Sequence[Row], reference: str) -> str:
    parts = []
    if mixed := _of(rows, MIXED):
        parts.append(f"Better in some blocks and worse in others: {_names(mixed)}")
    if ties := _of(rows, TIE):
        parts.append(f"As good as {reference} within {margin_text(ties[0])}: {_names(ties)}")
    if fails := _of(rows, FAILS):
        parts.append(f"Failed in more runs than {reference}: {_names(fails)}")
    return f"{'. '.join(parts)}." if parts else ""


def _open(rows: Sequence[Row]) -> str:
    few, undecided = _of(rows, TOO_FEW), _of(rows, UNDECIDED)
    if few:
        return f"Too few runs to judge {_names(few)}: at least 3 seeds of variant and reference are needed."
    if not undecided:
        return ""
    chances = [row.get("chance_10_seeds") for row in undecided]
    known = [float(chance) for chance in chances if chance is not None and given(chance)]
    if not known:
        return f"Undecided: {_names(undecided)}."
    low, high = min(known) * 100, max(known) * 100
    chance = f"{low:.0f} %" if round(low) == round(high) else f"{low:.0f} to {high:.0f} %"
    return f"Undecided: {_names(undecided)}; a new run of 10 seeds would decide with a chance of {chance}."


def _names(rows: Sequence[Row]) -> str:
    return _listed([str(row["variant"]) for row in rows])


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
