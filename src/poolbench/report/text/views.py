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
from poolbench.report.text.units import Written, written_row
from poolbench.report.text.values import (
    FLAGGED,
    NOTHING,
    count_text,
    difference_text,
    figure_text,
    given,
    millions_text,
    score_text,
    verdict_text,
)
from poolbench.score import ACCURACY


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
    """One block as it is shown; `speed` says how the speeds were measured, `absent` which arms have no result, `beside`
    what stands beside a mean over blocks.
    """

    title: str
    against: str
    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    speed: str
    absent: tuple[str, ...]
    beside: str = ""


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
        columns.append(
            (Heading("of pooling", "of the pooling", True), [count_text(r["parameters_pooling"]) for r in rows])
        )
    columns.append((Heading("MMACs", "multiply-adds, M", True), [millions_text(row["multiply_adds"]) for row in rows]))
    if speeds:
        columns += [
            (
                Heading("train ×", "training ×", True),
                [_ratio_text(row, "training", row["arm_id"] in unlike) for row in rows],
            ),
            (
                Heading("examples/s", "training examples/s", True),
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
    )


def _seeds_text(row: Mapping[str, Any]) -> str:
    """Return the seeds of an arm, and how many of them count in the verdict where not all do."""
    n, paired = row["n_seeds"], row["n_paired"]
    if not given(paired) or paired == n:
        return count_text(n)
    if given(row.get("look_seeds")) and row["look_seeds"] < n:
        return f"{count_text(n)} (look at {int(row['look_seeds'])})"
    return f"{count_text(n)} ({int(paired)} paired)"


def _notes(row: Mapping[str, Any], unlike: bool) -> tuple[str, ...]:
    notes = []
    if row["identical_to"]:
        notes.append(f"identical to {row['identical_to']}")
    if row["flags"]:
        notes.append(f"{FLAGGED} {row['flags']}")
    if unlike:
        notes.append(
            f"{UNLIKE} implementation {row['implementation']}, the reference's {row['reference_implementation']}"
        )
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
