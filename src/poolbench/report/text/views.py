"""What a reader sees of a block, in the terminal and in Markdown alike: headings, the text of each cell, notes.

The tables as files hold every column; here are the few that answer the question, in units that people read: per cent,
points, millions of multiply-adds.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from poolbench.report.reading.arms import Block
from poolbench.report.statistics.verdicts import BETTER, FAILS, TIE, UNDECIDED, WORSE
from poolbench.report.text.units import Written, of_score, written_row
from poolbench.score import ACCURACY, LOWER

NOTHING = "–"


@dataclass(frozen=True)
class Heading:
    """One column: its name in the terminal (narrow), in Markdown (in full), and whether it tells of cost."""

    short: str
    full: str
    cost: bool = False


@dataclass(frozen=True)
class Row:
    """One arm: the text of its cells, and what must be said of it."""

    cells: tuple[str, ...]
    notes: tuple[str, ...]
    is_reference: bool


@dataclass(frozen=True)
class View:
    """One block as it is shown.

    `speed` says how the speeds were measured, `absent` which arms have no result, `examples` what it was tested on.
    """

    title: str
    against: str
    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    speed: str
    absent: tuple[str, ...]
    examples: str = "examples"


def given(value: Any) -> bool:
    """Whether a cell of a frame holds a value."""
    return not (value is None or value is pd.NA or value != value or value == "")


def estimate_text(
    mean: Any, low: Any, high: Any, *, scale: float = 100.0, decimals: int = 2, signed: bool = False
) -> str:
    """Return mean ± half-width of the interval, times `scale`; the mean alone where there is no interval.

    >>> estimate_text(0.9712, 0.9678, 0.9746), estimate_text(-0.002, float("nan"), float("nan"), signed=True)
    ('97.12 ± 0.34', '−0.20')
    """
    if not given(mean):
        return NOTHING
    rounded = round(mean * scale, decimals) + 0.0  # no negative zero
    text = f"{rounded:{'+' if signed else ''}.{decimals}f}".replace("-", "−")
    if given(low) and given(high):
        text += f" ± {(high - low) / 2 * scale:.{decimals}f}"
    return text


def count_text(value: Any) -> str:
    """Return a whole number with its thousands parted.

    >>> count_text(270942)
    '270,942'
    """
    return f"{int(value):,}" if given(value) else NOTHING


def figure_text(value: Any, digits: int = 3) -> str:
    """Return a positive figure with so many significant digits and no exponent.

    >>> figure_text(4.38), figure_text(557.94), figure_text(12345.6), figure_text(0.0123)
    ('4.38', '558', '12,346', '0.0123')
    """
    if not given(value):
        return NOTHING
    value = float(value)
    decimals = 0
    while value and abs(value) * 10**decimals < 10 ** (digits - 1) and decimals < 6:
        decimals += 1
    return f"{value:,.{decimals}f}"


# With so few, what is called better is likely to be overstated.
FEW_SEEDS = 5
# Marks a ratio between a compiled kernel and torch's own operations.
UNLIKE = "‡"


def _ratio_text(row: Mapping[str, Any], quantity: str, unlike: bool) -> str:
    value = row[f"{quantity}_ratio"]
    return f"{value:.2f}{_unsettled(row, quantity)}{UNLIKE * unlike}" if given(value) else NOTHING


def unlike_arms(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the arms (by digest) whose windows were computed in another way than their reference's.

    A speed ratio may then come from that. An arm with the reference's own window operators, which differs in its head
    alone, is none of these.
    """
    rows = list(rows)
    own = {(row["backbone"], row["dataset"], row["variant"]): windows_of(row) for row in rows}
    found = set()
    for row in rows:
        both = row["implementation"], row["reference_implementation"]
        windows = own.get((row["backbone"], row["dataset"], row["reference"]))
        if all(given(each) for each in both) and both[0] != both[1] and windows_of(row) != windows:
            found.add(row["arm_id"])
    return found


def windows_of(row: Mapping[str, Any]) -> str:
    """Return an arm's window operators, whatever computes them.

    >>> windows_of({"downsample_operators": "MaxPool2d(implementation=fast) ×2"})
    'MaxPool2d ×2'
    >>> windows_of({"downsample_operators": "AvgTopKPool2d(implementation=fast, k=2) ×2"})
    'AvgTopKPool2d(k=2) ×2'
    """
    text = re.sub(r"implementation=\w+(, )?|, implementation=\w+", "", str(row["downsample_operators"] or ""))
    return text.replace("()", "")


def _unsettled(row: Mapping[str, Any], quantity: str) -> str:
    settled = row[f"{quantity}_settled"]
    return "~" if given(settled) and not settled else ""


def rows_by_arm(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the rows of a table by the digest of their arm."""
    names = [str(name) for name in table.columns]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*(table[n].tolist() for n in names), strict=True)]
    return {row["arm_id"]: row for row in rows}


def rows_of_blocks(blocks: Iterable[Block], table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the same with what each block's test examples are called, as `examples`."""
    rows = rows_by_arm(table)
    return {arm.arm_id: rows[arm.arm_id] | {"examples": f"{b.example}s"} for b in blocks for arm in b.arms}


def view(block: Block, by_arm: Mapping[str, Mapping[str, Any]]) -> View:
    """Return what is shown of one block, from the summary's rows by the digest of their arm.

    Columns that hold nothing for the whole block (no speed was measured, no pooling has parameters) are left out.
    """
    rows = [by_arm[arm.arm_id] for arm in block.arms if arm.finished]
    several = len({row["reference"] for row in rows if row["reference"]}) > 1
    reference = (
        f"the {block.reference} of the same recipe"
        if several
        else next((row["reference"] for row in rows if row["reference"]), "")
    )
    unlike = unlike_arms(rows)
    speeds = any(given(row["training_ratio"]) or given(row["latency_ms"]) for row in rows)
    own_parameters = any(given(row["parameters_pooling"]) and row["parameters_pooling"] > 0 for row in rows)
    how = written_row(rows[0]) if rows else Written()
    of_score = (
        Heading("test acc. %", how.axis) if how.score == ACCURACY else Heading(how.axis, how.axis + how.direction)
    )
    unit = f", {how.difference_unit}" if how.difference_unit else ""
    columns: list[tuple[Heading, list[str]]] = [
        (Heading("variant", "variant"), [str(row["variant"]) for row in rows]),
        (Heading("n", "n"), [_seeds_text(row) for row in rows]),
        (of_score, [score_text(row) for row in rows]),
    ]
    if any(given(row["difference_mean"]) for row in rows):
        columns += [
            (
                Heading(f"Δ{unit}", f"Δ to {code(reference) if not several else reference}{unit}"),
                [difference_text(row) for row in rows],
            ),
            (Heading("verdict", "verdict"), [verdict_text(row) for row in rows]),
        ]
    columns.append((Heading("params", "parameters", True), [count_text(row["parameters"]) for row in rows]))
    if own_parameters:
        columns.append((Heading("pool's", "of the pooling", True), [count_text(r["parameters_pooling"]) for r in rows]))
    columns.append((Heading("MMACs", "multiply-adds, M", True), [millions_text(row["multiply_adds"]) for row in rows]))
    if speeds:
        columns += [
            (
                Heading("train ×", "training ×", True),
                [_ratio_text(row, "training", row["arm_id"] in unlike) for row in rows],
            ),
            (
                Heading(f"{block.example}s/s", f"training {block.example}s/s", True),
                [figure_text(r["training_images_per_s"]) for r in rows],
            ),
            (
                Heading("latency ×", "latency ×", True),
                [_ratio_text(row, "latency", row["arm_id"] in unlike) for row in rows],
            ),
        ]
    cells = list(zip(*(texts for _, texts in columns), strict=True))
    return View(
        title=block.title,
        against=reference if any(given(row["difference_mean"]) for row in rows) else "",
        headings=tuple(heading for heading, _ in columns),
        rows=tuple(
            Row(tuple(texts), _notes(row, row["arm_id"] in unlike), is_reference=row["variant"] == row["reference"])
            for texts, row in zip(cells, rows, strict=True)
        ),
        speed=_speed_text(rows),
        absent=tuple(arm.variant for arm in block.arms if not arm.finished),
        examples=f"{block.example}s",
    )


def _seeds_text(row: Mapping[str, Any]) -> str:
    """Return the seeds of an arm, and how many of them are paired where not all are."""
    n, paired = row["n_seeds"], row["n_paired"]
    return f"{count_text(n)} ({int(paired)} paired)" if given(paired) and paired != n else count_text(n)


def accuracy_text(row: Mapping[str, Any]) -> str:
    """Return an arm's test accuracy with its own interval, in per cent."""
    return estimate_text(*(row[f"test_accuracy_{part}"] for part in ("mean", "ci95_low", "ci95_high")))


def score_text(row: Mapping[str, Any]) -> str:
    """Return an arm's test score with its own interval, a fraction in per cent, others in their unit."""
    parts = (of_score(row, part) for part in ("mean", "ci95_low", "ci95_high"))
    return estimate_text(*parts, **_style(row))


def _style(row: Mapping[str, Any]) -> dict[str, Any]:
    how = written_row(row)
    return {"scale": how.scale, "decimals": how.decimals}


def difference_text(row: Mapping[str, Any]) -> str:
    """Return the difference with the interval that decides the verdict; where nothing is decided, with its own."""
    if row["verdict"] == TIE and given(row.get("tie_low")):
        return estimate_text(row["difference_mean"], row["tie_low"], row["tie_high"], signed=True, **_style(row))
    interval = "holm" if given(row["difference_holm_low"]) else "ci95"
    mean, low, high = (row[f"difference_{part}"] for part in ("mean", f"{interval}_low", f"{interval}_high"))
    return estimate_text(mean, low, high, signed=True, **_style(row))


def change_text(row: Mapping[str, Any], *, unit: bool = True) -> str:
    """Return a row's difference with its sign, and with its unit: `+1.23 points`, `−0.012 degrees`."""
    text = estimate_text(row["difference_mean"], None, None, signed=True, **_style(row))
    return f"{text} {written_row(row).difference_unit}".rstrip() if unit else text


def margin_text(row: Mapping[str, Any]) -> str:
    """Return the margin of a tie with its unit.

    >>> margin_text({"margin": 0.005})
    '0.5 points'
    """
    how = written_row(row)
    return f"{row['margin'] * how.scale:.3g} {how.difference_unit}".rstrip()


# Marks a verdict on arms that differ in more than the pooling, and a difference below the test set's own error.
FLAGGED, SMALL = "⚑", "≈"


def verdict_text(row: Mapping[str, Any]) -> str:
    """Return the verdict as a table shows it, with its marks."""
    if row["verdict"] in ("", "reference"):
        return NOTHING
    text = str(row["verdict"])
    if given(row.get("below_image_se")) and row["below_image_se"]:
        text += f" {SMALL}"
    return f"{text} {FLAGGED}" if row["flags"] else text


def points_text(difference: Any) -> str:
    """Return a difference of accuracies in points, with its sign.

    >>> points_text(0.0123), points_text(-0.002)
    ('+1.23', '−0.20')
    """
    return estimate_text(difference, None, None, signed=True)


def millions_text(value: Any) -> str:
    """Return a count in millions."""
    return figure_text(float(value) / 1e6) if given(value) else NOTHING


def _notes(row: Mapping[str, Any], unlike: bool) -> tuple[str, ...]:
    notes = []
    if row["identical_to"]:
        notes.append(f"identical to {row['identical_to']}")
    if row["flags"]:
        notes.append(f"{FLAGGED} {row['flags']}")
    if unlike:
        notes.append(f"{UNLIKE} ran by {row['implementation']}, the reference by {row['reference_implementation']}")
    return tuple(notes)


def _speed_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say on which machine and how the speeds of these rows were measured; empty where none was."""
    measured = [row for row in rows if row["machine_id"]]
    if not measured:
        return ""
    row = measured[0]
    name = f" ({row['device_name']})" if row["device_name"] else ""
    parts = [f"{row['device']}{name}"]
    if given(row["threads"]):
        parts.append(f"{row['threads']} thread{'s' * (row['threads'] != 1)}")
    parts += [str(row[key]) for key in ("memory_format", "precision") if row[key]]
    if given(row["batch_size"]):
        parts.append(f"batch {row['batch_size']}")
    return ", ".join(parts)


def code(text: str) -> str:
    """Return a name in Markdown's code quotes, safe inside a table."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    inner = f" {text} " if "`" in text else text
    return f"{fence}{inner}{fence}".replace("|", "\\|") if text else text


def head_lines(summary: pd.DataFrame, examples: str) -> list[str]:
    """Return how to read the tables: what n, the interval and the differences are, and what they leave out."""
    seeds = summary.loc[summary["n_seeds"] > 0, "n_seeds"]
    low, high = (int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0)
    few = f"{low}" if low == high else f"{low} to {high}"
    names = dict.fromkeys(written_row(row).score.words for row in rows_by_arm(summary).values())
    words = " or ".join(names) or ACCURACY.words
    lines = [
        f"Test {words}: mean over the n = {few} seed{'s' * (high != 1)} of each variant"
        + (
            " ± half the width of its 95 % interval (Student's t over the seeds)."
            if high > 1
            else "; one seed has no interval."
        )
    ]
    if summary["difference_mean"].notna().any():
        noise = _noise(summary, examples)
        interval = (
            f", ± half the width of the interval that decides the verdict: {noise}, and Holm's procedure corrects "
            "better and worse for the number of variants in the block. Too few runs have their own 95 % interval, one "
            "seed has none."
        )
        lines.append(
            "Δ: mean of the differences to the reference, seed by seed (equal seeds share split, order, augmentation "
            "and starting weights)" + (interval if noise else "; one seed has no interval.")
        )
        lines.append(_verdicts(summary))
        lines += _further(summary)
        lines.append(SCOPE.format(examples=examples))
    errors = summary["test_accuracy_image_se"].dropna()
    if len(errors):
        lines.append(
            "Not in the accuracies' own intervals: the test set is itself a sample, with a standard error of "
            f"√(p(1−p)/{examples}): here up to {errors.max() * 100:.2f} points on each."
        )
    if "better" in summary and (summary["better"] == LOWER).any():
        lines.append(
            "Where a lower score is better, such as an error, a difference below 0 is the better one; its margin is a "
            "share of the reference's mean."
        )
    if unlike_arms(rows_by_arm(summary).values()):
        lines.append(
            f"{UNLIKE}: only one of the two ran by compiled kernels, or more of it, so the ratio tells the "
            "implementations apart as well as the operators: not a reason to call one faster. "
            "`pooling.downsample.implementation=torch` on both, of heads `pooling.head.implementation=torch`, sets "
            "them equal."
        )
    if any(given(value) for value in summary["training_ratio"]):
        unsettled = any(
            given(value) and not value for key in ("training", "latency") for value in summary[f"{key}_settled"]
        )
        lines.append(
            "Speed: train × (above 1: faster) and latency × of one (below 1: faster) are medians of ratios to "
            "the reference, the two measured in turns; what was done a second was measured at another time, so ratios "
            "of it say less." + (" ~: the repeats ended before the interval was narrow." if unsettled else "")
        )
    return lines


def _noise(summary: pd.DataFrame, examples: str) -> str:
    """Say what the intervals of differences count as noise, empty where there is no interval."""
    found = set(summary["difference_noise"]) - {""}
    if not found:
        return ""
    if found == {"seeds and images"}:
        return f"seeds and test {examples} both count as noise"
    if found == {"seeds"}:
        return f"the seeds alone count as noise, since the {examples}' outcomes are not known"
    return f"seeds count as noise, and test {examples} where their outcomes are known"


def _verdicts(summary: pd.DataFrame) -> str:
    """Say how a verdict comes about, and what its marks mean."""
    rows = [row for row in rows_by_arm(summary).values() if given(row["margin"])]
    margin = " or ".join(dict.fromkeys(margin_text(row) for row in sorted(rows, key=lambda row: row["margin"])))
    text = (
        f"Verdict: tie where the arm is shown to lie within the margin of {margin or '0 points'} that was set "
        "beforehand (two one-sided tests, each at 5 %); better or worse where the interval excludes zero; else "
        "undecided"
    )
    if (summary["verdict"] == FAILS).any():
        text += f"; {FAILS} where more of an arm's cells failed than of its reference's: what finished was lucky"
    marks = []
    if (summary["flags"] != "").any():
        marks.append(f"{FLAGGED} more than the pooling differs")
    if summary["below_image_se"].fillna(False).any():
        marks.append(f"{SMALL} the difference is below the test set's own standard error")
    return text + "." + (f" {'; '.join(marks)}." if marks else "")


SCOPE = (
    "A verdict is about these settings on this training set: other seeds, and other test {examples} like these. "
    "Another training set can matter as much as the seeds, unless `resample=train` draws one for each; {examples} that "
    "come in groups count as independent unless the data names the groups; and a failure of one seed in ten stays "
    "unseen in five seeds more often than not (59 %)."
)


def _further(summary: pd.DataFrame) -> list[str]:
    """Say what more seeds would bring, and how far a difference found with few of them is to be believed."""
    lines = []
    if (summary["verdict"] == UNDECIDED).any():
        lines.append(
            "Undecided does not mean equal. The chance that a new run decides is for a number of seeds that is fixed "
            "before it starts: adding seeds until something is decided finds differences where there are none."
        )
    clear = summary.loc[summary["verdict"].isin((BETTER, WORSE)), "n_paired"]
    if len(clear) and clear.min() <= FEW_SEEDS:
        lines.append(
            "A difference that few seeds find is likely too large: it was found because it came out large. With 3 "
            "seeds arms that truly differ by a point and are called better showed 1.4 to 2 points."
        )
    return lines
