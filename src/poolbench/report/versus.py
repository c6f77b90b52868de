"""Two results folders side by side: before and after a change, or on two machines, by the statistics of a report.

Arms are matched by the names of backbone, dataset and variant, their cells by the seed. What is compared is the second
folder's accuracy less the first's; the arms of a block are one family.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from poolbench.errors import ConfigurationError
from poolbench.report.encodable import encoded
from poolbench.report.make import check_writable, table_files, without_outcomes, write_files
from poolbench.report.reading.arms import Arm, Block, group
from poolbench.report.reading.comparability import shortened
from poolbench.report.reading.loading import Loaded, load
from poolbench.report.reading.margins import margin_beside
from poolbench.report.statistics.comparison import Compared, compare_pairs
from poolbench.report.statistics.verdicts import BETTER, WORSE
from poolbench.report.tables import frames as tables
from poolbench.report.text import terminal
from poolbench.report.text.markdown import bullets, environments_table, plain
from poolbench.report.text.markdown import table as markdown_table
from poolbench.report.text.units import written_row
from poolbench.report.text.values import (
    FLAGGED,
    change_text,
    count_text,
    difference_text,
    figure_text,
    given,
    score_text,
    verdict_text,
)
from poolbench.report.text.views import Heading, View, rows_by_arm
from poolbench.report.text.views import Row as ViewRow

Row = Mapping[str, Any]
# What both folders have of an arm, with `_a` and `_b` behind the name.
BOTH = (
    *("arm_id", "n_seeds", "test_accuracy_mean", "test_accuracy_ci95_low", "test_accuracy_ci95_high"),
    *("parameters", "multiply_adds", "kept_bytes"),
    *("training_images_per_s", "training_ratio", "latency_ms", "machine_id"),
    *("score_mean", "score_ci95_low", "score_ci95_high"),
)
# What both have in common: arms of another task are not of the same name.
ALIKE = ("task", "score", "unit", "better")
COSTS = ("parameters", "multiply_adds", "kept_bytes")
CHANGED = (BETTER, WORSE)
HOW = (
    "Δ: mean of the second's test score less the first's, seed by seed, ± half the width of the interval that "
    "decides (seeds and test examples count as noise, Holm's procedure corrects better and worse for the arms of a "
    "block); tie: shown to lie within the margin that was set beforehand, by two one-sided tests."
)


@dataclass(frozen=True)
class Side:
    """One of the two folders: what it holds, and its summary's rows by arm."""

    loaded: Loaded
    blocks: list[Block]
    rows: Mapping[str, Row]

    @classmethod
    def of(cls, folder: Path) -> "Side":
        """Read a folder; raise `ConfigurationError` where it is absent or holds no record."""
        loaded = load(Path(folder))
        blocks, _ = group(loaded.records)
        nothing = {arm.arm_id: Compared("") for block in blocks for arm in block.arms}
        made, _ = tables.build(blocks, loaded.speeds, nothing)
        return cls(loaded, blocks, rows_by_arm(tables.with_scores(made)))

    @property
    def arms(self) -> dict[tuple[str, str, str], Arm]:
        """The arms by backbone, dataset and variant."""
        return {(arm.backbone, arm.dataset, arm.variant): arm for block in self.blocks for arm in block.arms}


@dataclass(frozen=True)
class Versus:
    """Two folders compared.

    Args:
        first: the folder before.
        second: the folder after.
        table: a row an arm that both have.
        words: what came out, a sentence each.
        warnings: what a reader must know.
        files: what was written.
    """

    first: Path
    second: Path
    table: pd.DataFrame
    words: list[str]
    warnings: list[str]
    files: list[Path]


def make_versus(first: Path, second: Path, *, into: Path | None = None, console: Console | None = None) -> Versus:
    """Compare two results folders, print the table, and write it.

    Args:
        first: the folder before.
        second: the folder after.
        into: where the files go; None: `versus-FIRST` in the second folder.
        console: where the table is printed.

    Raises `ConfigurationError` when a folder is absent, holds no record, or the two share no arm.
    """
    before, after = Side.of(first), Side.of(second)
    both = [key for key in after.arms if key in before.arms]
    if not both:
        raise ConfigurationError(
            f"{first} and {second} share no arm: no backbone, dataset and variant of the same names; "
            f"the first has {_some(before)}, the second {_some(after)}"
        )
    into = into or after.loaded.folder / f"versus-{before.loaded.folder.resolve().name}"
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{into} cannot be made: {error.strerror or error}") from error
    check_writable(into)
    compared = _compared(before, after, both)
    table = _table(before, after, both, compared)
    words = [_words(title, rows) for title, rows in _blocks(table)]
    warnings = _warnings(before, after, both, compared)
    views = [_view(title, rows) for title, rows in _blocks(table)]
    text = _markdown(before, after, words=words, views=views, warnings=warnings)
    files = write_files(into, table_files({"versus": table}) | {"versus.md": encoded(text)})
    console = console or terminal.open_console()
    terminal.show_views(console, title=_title(before, after), words=words, views=views, warnings=warnings)
    terminal.show_files(console, into, files)
    return Versus(Path(first), Path(second), table, words, warnings, files)


Key = tuple[str, str, str]


def _some(side: Side) -> str:
    names = [" · ".join(key) for key in side.arms]
    return shortened(names, 3)


def _compared(before: Side, after: Side, both: Sequence[Key]) -> dict[str, Compared]:
    """Return how each arm of the second folder compares with its like in the first, a block's arms a family."""
    found: dict[str, Compared] = {}
    for block in after.blocks:
        pairs = [
            (arm, before.arms[key])
            for arm in block.arms
            if (key := (arm.backbone, arm.dataset, arm.variant)) in both and arm.finished and before.arms[key].finished
        ]
        records = [record for arm, _ in pairs for record in arm.records.values()]
        margins = [margin_beside(records, other.finished.values()) for _, other in pairs]
        found |= compare_pairs(pairs, after.loaded.outcomes, before.loaded.outcomes, margins)
    return found


def _table(before: Side, after: Side, both: Sequence[Key], compared: Mapping[str, Compared]) -> pd.DataFrame:
    rows = []
    for key in both:
        old, new = before.rows[before.arms[key].arm_id], after.rows[after.arms[key].arm_id]
        one = compared.get(str(new["arm_id"]), Compared(""))
        same_machine = bool(old["machine_id"]) and all(_equal(old[name], new[name]) for name in tables.MACHINE)
        rows.append(
            {
                **{name: new[name] for name in (*tables.KEY_NAMES, *ALIKE)},
                **tables.comparison(one),
                **{f"{name}_a": old[name] for name in BOTH},
                **{f"{name}_b": new[name] for name in BOTH},
                "training_speed_ratio": _ratio(new, old, "training_images_per_s") if same_machine else None,
                "latency_ratio": _ratio(new, old, "latency_ms") if same_machine else None,
            }
        )
    return tables.frame("versus", rows)


def _equal(old: Any, new: Any) -> bool:
    return (given(old), given(new)) in ((False, False), (True, True)) and (not given(old) or old == new)


def _ratio(new: Row, old: Row, name: str) -> float | None:
    return new[name] / old[name] if given(new[name]) and given(old[name]) else None


def _warnings(before: Side, after: Side, both: Sequence[Key], compared: Mapping[str, Compared]) -> list[str]:
    said = []
    for side, other, which in ((before, after, "first"), (after, before, "second")):
        alone = [" · ".join(key) for key in side.arms if key not in other.arms]
        if alone:
            said.append(f"only the {which} folder has {shortened(alone)}")
        dropped = len(side.loaded.problems)
        if dropped:
            said.append(
                f"{dropped} file{'s' * (dropped != 1)} of the {which} folder do{'es' * (dropped == 1)} not count"
            )
    apart = [" · ".join(key) for key in both if not set(before.arms[key].finished) & set(after.arms[key].finished)]
    if apart:
        said.append(f"no seed in common: {shortened(apart)}")
    unlike = [" · ".join(key) for key in both if before.arms[key].arm_id != after.arms[key].arm_id]
    if unlike:
        said.append(f"equal names, but not equal settings, data or device: {shortened(unlike)}")
    looked = [which for side, which in ((before, "first"), (after, "second")) if side.loaded.experiment.declared]
    if looked:
        said.append(
            f"looks were declared for the {' and the '.join(looked)} folder; this comparison does not go by them but "
            "by all seeds at once, which arms got more of the longer they were undecided"
        )
    return said + without_outcomes(compared.values())


def _title(before: Side, after: Side) -> str:
    return f"{after.loaded.folder} (second) against {before.loaded.folder} (first)"


def _blocks(table: pd.DataFrame) -> list[tuple[str, list[Row]]]:
    grouped = table.groupby(["backbone", "dataset"], sort=False)
    return [
        (f"{backbone} on {dataset}", [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")])
        for (backbone, dataset), rows in grouped
    ]


def _view(title: str, rows: Sequence[Row]) -> View:
    how = written_row(rows[0])
    mark = " %" if how.score.is_fraction else ""
    unit = f", {how.difference_unit}" if how.difference_unit else ""
    columns: list[tuple[Heading, list[str]]] = [
        (Heading("variant", "variant"), [str(row["variant"]) for row in rows]),
        (Heading("n", "n, paired"), [count_text(row["n_paired"]) for row in rows]),
        (Heading(f"first{mark}", f"first, {how.axis}"), [score_text(_side(row, "a")) for row in rows]),
        (Heading(f"second{mark}", f"second, {how.axis}"), [score_text(_side(row, "b")) for row in rows]),
        (Heading(f"Δ{unit}", f"second − first{unit}"), [difference_text(_sized(row)) for row in rows]),
        (Heading("second is", "the second is"), [verdict_text(row) for row in rows]),
    ]
    if any(given(row["training_speed_ratio"]) for row in rows):
        columns.append(
            (
                Heading("speed ×", "training speed, second / first", True),
                [figure_text(row["training_speed_ratio"]) for row in rows],
            )
        )
    changed = [name for name in COSTS if any(_differ(row, name) for row in rows)]
    for name in changed:
        texts = [f"{count_text(row[f'{name}_a'])} → {count_text(row[f'{name}_b'])}" for row in rows]
        columns.append((Heading(name, name, True), texts))
    cells = zip(*(texts for _, texts in columns), strict=True)
    return View(
        title=title,
        against="",
        headings=tuple(heading for heading, _ in columns),
        rows=tuple(
            ViewRow(tuple(texts), (f"{FLAGGED} {row['flags']}",) if row["flags"] else (), is_reference=False)
            for texts, row in zip(cells, rows, strict=True)
        ),
        speed="",
        absent=(),
    )


def _side(row: Row, which: str) -> Row:
    return {name: row[f"{name}_{which}"] for name in BOTH} | {name: row[name] for name in ALIKE}


def _sized(row: Row) -> Row:
    """Return a row with the score whose size says how many digits a difference has."""
    return {**row, "score_mean": row["score_mean_a"]}


def _differ(row: Row, name: str) -> bool:
    old, new = row[f"{name}_a"], row[f"{name}_b"]
    return given(old) and given(new) and old != new


def _words(title: str, rows: Sequence[Row]) -> str:
    """Say how many arms of a block came out how, and name those that changed."""
    counted = Counter(row["verdict"] for row in rows if row["verdict"])
    parts = [f"{verdict} {n}" for verdict, n in counted.items()]
    changed = [f"{row['variant']} {change_text(_sized(row), unit=False)}" for row in rows if row["verdict"] in CHANGED]
    unit = f" {written_row(rows[0]).difference_unit}".rstrip() if rows else ""
    text = (
        f"{title}, verdicts on the second by number of arms: {', '.join(parts)}"
        if parts
        else f"{title}: nothing to compare"
    )
    return text + (f" ({', '.join(changed)}{unit})." if changed else ".")


def _markdown(
    before: Side, after: Side, *, words: Sequence[str], views: Sequence[View], warnings: Sequence[str]
) -> str:
    parts = [
        f"# {plain(after.loaded.folder.resolve().name)} against {plain(before.loaded.folder.resolve().name)}",
        bullets(map(plain, words)),
        plain(HOW),
    ]
    if warnings:
        parts += ["## Warnings", bullets(map(plain, warnings))]
    for view in views:
        parts += [f"## {plain(view.title)}", markdown_table(view)]
    for heading, side in (("first", before), ("second", after)):
        parts.append(f"## Where the {heading} come from")
        parts.append(environments_table(side.loaded.records))
    parts.append("All columns: `versus.csv`, and the same as Parquet.")
    return "\n\n".join(parts) + "\n"
