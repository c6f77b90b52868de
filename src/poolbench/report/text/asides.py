"""Tables beside the report's own, each shown alike in the terminal, in Markdown and on the page: published figures,
networks, further scores, scores by stratum, tuned arms, the choice of the best test epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from poolbench.report.content import Content
from poolbench.report.text import published
from poolbench.report.text.units import Written, written_row
from poolbench.report.text.values import difference_text, estimate_text, given, score_text, verdict_text
from poolbench.report.text.words import ORDER, listing

# How the cells of a column are set on the page.
TEXT, NUMBER, LONG = "", "number", "long"
# Tuned arms, by the name of the columns.
SIDES = {"shared": "at the shared recipe", "tuned": "tuned"}
KEYS = (("backbone", TEXT), ("dataset", TEXT), ("variant", TEXT))
COMPARED = (*KEYS, ("score", TEXT), ("mean", NUMBER), ("Δ", NUMBER), ("verdict", TEXT))


@dataclass(frozen=True)
class Aside:
    """A table beside the report's own.

    Args:
        name: of the table, and of its place on the page.
        title: heading.
        link: in the page's navigation.
        columns: heading and kind of each column.
        rows: cells as text.
        notes: how it is to be read, a paragraph each.
        lines: what the terminal says in its place.
    """

    name: str
    title: str
    link: str
    columns: tuple[tuple[str, str], ...]
    rows: list[tuple[str, ...]]
    notes: Sequence[str]
    lines: Sequence[str]


def asides(content: Content) -> list[Aside]:
    """Return the tables beside the report's own that there is something in."""
    made = {
        "networks": _networks,
        "beside": _beside,
        "strata": _strata,
        "published": _published,
        "best_test_epoch": _best_test_epoch,
        "tuned": _tuned,
    }
    return [
        make(table, content)
        for name, make in made.items()
        if (table := content.tables.get(name)) is not None and len(table)
    ]


def _beside(table: pd.DataFrame, content: Content) -> Aside:
    lines = []
    for (_, backbone, dataset), own in _parted(table, "score", "backbone", "dataset").items():
        words = written_row(own[0]).score.words
        lines.append(f"{backbone} on {dataset}, by {words}, {_against(own)}.")
    notes = [
        "The same cells judged by their further scores, in per cent and points where a score is a fraction of 1, with "
        "the same margin and the same statistics. Each score is corrected for the arms of a block by itself: choosing "
        "the better of two verdicts is a choice that no interval accounts for.",
        *lines,
    ]
    return Aside("beside", "By further scores", "Further scores", COMPARED, _compared(table), notes, lines)


def _networks(table: pd.DataFrame, content: Content) -> Aside:
    lines = []
    for (variant, dataset), own in _parted(table, "variant", "dataset").items():
        lines.append(f"{variant} on {dataset}, {_against([row | {'variant': row['backbone']} for row in own])}.")
    notes = [
        "One variant in several networks, compared seed by seed with the network that the experiment names: equal "
        "seeds share split, order and augmentation. The correction is for the networks of a variant.",
        *lines,
    ]
    return Aside("networks", "Networks compared", "Networks", COMPARED, _compared(table), notes, lines)


def _parted(table: pd.DataFrame, *keys: str) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """Return the rows that have these keys in common, in the order of the table."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in _records(table):
        found.setdefault(tuple(str(row[key]) for key in keys), []).append(row)
    return found


def _against(rows: Sequence[dict[str, Any]]) -> str:
    """Say how the arms of a family compare with their reference."""
    compared = [row for row in rows if row["verdict"] in ORDER]
    return f"against {compared[0]['reference']}: {listing(compared)}" if compared else "nothing to compare"


def _compared(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            *(str(row[key]) for key, _ in KEYS),
            written_row(row).score.words,
            score_text(row),
            difference_text(row),
            verdict_text(row),
        )
        for row in _records(table)
    ]


def _strata(table: pd.DataFrame, content: Content) -> Aside:
    strata = list(dict.fromkeys(table["stratum"]))
    scores: dict[tuple[str, ...], dict[str, str]] = {}
    for row in _records(table):
        keys = (*(str(row[key]) for key, _ in KEYS), str(row["arm_id"]))
        scores.setdefault(keys, {})[str(row["stratum"])] = score_text(row)
    rows = [(*keys[:-1], *(own.get(stratum, "–") for stratum in strata)) for keys, own in scores.items()]
    notes = [
        "The score on each stratum of the test set by itself (a fraction in per cent), mean and 95 % interval over the "
        "seeds (Student's t). No verdicts are drawn from it."
    ]
    lines = [
        f"{backbone} on {dataset}, {variant}: {'; '.join(f'{name} {score}' for name, score in own.items())}"
        for (backbone, dataset, variant, _), own in scores.items()
    ]
    columns = (*KEYS, *((stratum, NUMBER) for stratum in strata))
    return Aside("strata", "By stratum of the test set", "By stratum", columns, rows, notes, lines)


def _published(table: pd.DataFrame, content: Content) -> Aside:
    kinds = (TEXT, TEXT, TEXT, NUMBER, NUMBER, NUMBER, LONG, LONG)
    rows = published.cells(table)
    lines = [
        f"{backbone} on {dataset}, {variant}: published {theirs}, here {here}, gap {gap} ({recipe}; {source})"
        for backbone, dataset, variant, theirs, here, gap, recipe, source in rows
    ]
    columns = tuple(zip(published.HEADINGS, kinds, strict=True))
    return Aside("published", "Beside published figures", "Published", columns, rows, published.notes(table), lines)


def _best_test_epoch(table: pd.DataFrame, content: Content) -> Aside:
    unit, each = _units(table)
    headings = (f"chosen on validation{unit}", f"best test epoch{unit}", "gain", "difference")
    rows = [
        (
            *(str(row[key]) for key, _ in KEYS),
            *(_scored(row, f"{part}score_mean", each) for part in ("", "best_test_epoch_")),
            *(
                _scored(row, key, each, signed=True)
                for key in ("gain", "difference_mean", "best_test_epoch_difference_mean")
            ),
        )
        for row in _records(table)
    ]
    notes = [
        "What choosing each cell's epoch by its test score would have given. Such a figure is too high by "
        "construction, an error too low; it stands beside published ones that were chosen so, and enters no verdict."
    ]
    lines = [
        f"{backbone} on {dataset}, {variant}: {best} instead of {chosen} (gain {gain}); difference {by_best} instead "
        f"of {difference}"
        for backbone, dataset, variant, chosen, best, gain, difference, by_best in rows
    ]
    columns = (*KEYS, *((heading, NUMBER) for heading in (*headings, "difference by best test epoch")))
    title = "By the best test epoch (too high by construction)"
    return Aside("best_test_epoch", title, "Best test epoch", columns, rows, notes, [*notes, *lines])


def _tuned(table: pd.DataFrame, content: Content) -> Aside:
    unit, each = _units(table)
    numbers = ("points tried", *(f"{what}{unit}" for what in ("validation over the space", *SIDES.values())), "gain")
    rows = [
        (
            *(str(row[key]) for key, _ in KEYS),
            f"{row['n_points_finished']} of {row['n_points']}",
            f"{_scored(row, 'val_score_low', each)} … {_scored(row, 'val_score_high', each)}",
            *(_scored(row, f"{side}_score_mean", each) for side in SIDES),
            _scored(row, "gain", each, signed=True),
            _verdict(row, "shared", each),
            _verdict(row, "tuned", each),
            str(row["best_point"] or "–"),
        )
        for row in _records(table)
    ]
    columns = (
        *KEYS,
        *((heading, NUMBER) for heading in numbers),
        ("verdict at the shared recipe", TEXT),
        ("verdict, tuned", TEXT),
        ("best point", LONG),
    )
    return Aside("tuned", "Tuned with an equal budget", "Tuned", columns, rows, content.tuning, content.tuning)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _units(table: pd.DataFrame) -> tuple[str, bool]:
    """Return what a heading says of the unit, and whether each cell must say its own: rows may be of several tasks."""
    units = {_unit(written_row(row)) for row in _records(table)}
    unit = units.pop() if len(units) == 1 else ""
    return f", {unit}" if unit else "", bool(units)


def _unit(how: Written) -> str:
    return "%" if how.score.is_fraction else how.score.unit


def _scored(row: dict[str, Any], key: str, each: bool, *, signed: bool = False) -> str:
    """Return a score of a row, or a difference of two, as its task has it; with its unit where `each` says so."""
    how = written_row({"score_mean": row.get("shared_score_mean"), **row})
    text = estimate_text(row[key], None, None, scale=how.scale, decimals=how.decimals, signed=signed)
    if not each or not given(row[key]):
        return text
    return f"{text} {how.difference_unit if signed else _unit(how)}".rstrip()


def _verdict(row: dict[str, Any], side: str, each: bool) -> str:
    verdict = row[f"{side}_verdict"]
    if not given(verdict) or not verdict:
        return "–"
    difference = f"{side}_difference_mean"
    return f"{verdict} {_scored(row, difference, each, signed=True)}" if given(row[difference]) else str(verdict)
