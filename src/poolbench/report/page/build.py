"""The page from its template: what needs no script is written here, tables and plots are drawn by the page itself."""

import base64
import hashlib
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from poolbench.record import STATUSES, Problem
from poolbench.report.content import Content
from poolbench.report.encodable import encoded
from poolbench.report.page.data import MOST_DETAILED, compact, script_json
from poolbench.report.page.library import vega
from poolbench.report.reading.arms import Block
from poolbench.report.reading.origins import commands, environments
from poolbench.report.statistics.across import Across
from poolbench.report.statistics.verdicts import (
    BETTER,
    FAILS,
    IDENTICAL,
    MIXED,
    REFERENCE,
    TIE,
    TOO_FEW,
    UNDECIDED,
    WORSE,
)
from poolbench.report.text import over_blocks
from poolbench.report.text.across import across_words
from poolbench.report.text.asides import asides
from poolbench.report.text.units import written, written_row
from poolbench.report.text.values import NOTHING, change_text, count_text, estimate_text, given, p_text, points_text
from poolbench.score import ACCURACY

SCRIPTS = ("start.js", "plots.js", "tables.js", "cells.js")
# Verdicts with the mark that says the same without colour.
MARKS = {
    BETTER: "▲",
    WORSE: "▼",
    MIXED: "⬢",
    FAILS: "✚",
    TIE: "◆",
    UNDECIDED: "○",
    TOO_FEW: "✕",
    IDENTICAL: "◇",
    REFERENCE: "■",
}
STATUS_WORDS = {"ok": "finished"}
# Larger than this a table of variants × blocks says nothing at a glance.
MOST_AT_A_GLANCE = (40, 16)
# Tables for browsers without scripts, up to so many arms; summary.md has them all.
MOST_STATIC = 400
# More sentences or entries than this are folded.
MOST_LISTED = 12
MOST_PAIRS = 200


@dataclass(frozen=True)
class StaticTable:
    """A table that is written into the page: caption, headings, rows of texts."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Glance:
    """One arm in the table of variants × blocks."""

    verdict: str
    mark: str
    difference: str
    flags: str


def html(content: Content, pictures: bytes | None = None) -> bytes:
    """Return report.html: one page that holds all it needs and asks nothing of any network.

    It depends on `content` and the pictures alone, so that equal ones give equal bytes.

    Args:
        content: what the report says.
        pictures: a PNG of test images with what each arm made of them; None: there are none.
    """
    library = vega()
    script = "\n".join(_part(name) for name in SCRIPTS)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = _breakable
    records = content.records
    arms = [arm for block in content.blocks for arm in block.arms]
    text = environment.from_string(_part("page.html.j2")).render(
        policy=_policy(library, script),
        style=Markup(_part("page.css")),
        library=Markup(library),
        script=Markup(script),
        data=Markup(script_json(compact(content))),
        name=content.experiment.name,
        experiment=content.experiment,
        spoken=content.spoken,
        verdict_counts=_verdict_counts(content),
        words=[*content.words, *across_words(content.across)[:1]],
        warnings=content.warnings,
        head=content.head,
        counts=_counts(content),
        blocks=content.blocks,
        n_arms=len(arms),
        n_cells=len(records),
        limited=len(records) > MOST_DETAILED,
        most_detailed=MOST_DETAILED,
        most_listed=MOST_LISTED,
        glance=_glance(content),
        over=_over(content),
        pairing=content.pairing,
        marks=MARKS,
        verdicts=[name for name in MARKS if name in _verdicts(content)],
        unequal=any(content.tables["summary"]["flags"]),
        not_compared=[str(entry) for entry in content.not_compared],
        problems=[_problem(problem, content) for problem in content.problems],
        asides=asides(content),
        across=_across(content),
        pictures=None if pictures is None else base64.b64encode(pictures).decode(),
        environments=environments(records),
        commands=commands(records),
        views=content.views if len(arms) <= MOST_STATIC else (),
        table_files=[*(f"{name}.csv" for name in content.tables), "summary.md"],
    )
    return encoded(text)


def _breakable(name: str, after: str = ",") -> Markup:
    """Return a name that may break before its settings and between them, in a narrow column also at `after="=,"`.

    >>> _breakable("avg[kernel_size=3,stride=2]")
    Markup('avg<wbr>[kernel_size=3,<wbr>stride=2]')
    >>> _breakable("1,000 examples of cnn[frames=none]", after="=,")
    Markup('1,000 examples of cnn<wbr>[frames=<wbr>none]')
    """
    return Markup("<wbr>").join(re.split(rf"(?=\[)|(?<=[{after}])(?=[^\W\d]|\[)", name))


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8").strip()


def _policy(*scripts: str) -> str:
    """Return a content security policy under which only these scripts run and nothing is fetched from anywhere.

    Vega's tooltips and menus bring style elements of their own, so styles are let through.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _verdict_counts(content: Content) -> list[tuple[str, int]]:
    """Return how many comparisons within blocks ended with which verdict."""
    found = Counter(str(verdict) for verdict in content.tables["summary"]["verdict"])
    return [(name, found[name]) for name in MARKS if found[name] and name != REFERENCE]


def _counts(content: Content) -> list[tuple[str, int]]:
    """Return how many cells ended how: the finished, the failed and the diverged always, others where there are any."""
    found = Counter(record["status"] for record in content.records)
    return [
        (STATUS_WORDS.get(status, status), found[status])
        for status in STATUSES
        if found[status] or status in ("ok", "failed", "diverged")
    ]


def _verdicts(content: Content) -> set[str]:
    return {str(verdict) for name in ("summary", "over_blocks") for verdict in content.tables[name]["verdict"]}


def _glance(content: Content) -> dict[str, Any] | None:
    """Return a table of variants × blocks with verdict and difference, or None where it would be too large."""
    variants = _by_effect(content)
    if len(variants) > MOST_AT_A_GLANCE[0] or len(content.blocks) > MOST_AT_A_GLANCE[1]:
        return None
    rows = content.rows
    over = _over_glances(content)
    titles = [block.title for block in content.blocks]
    return {
        "variants": variants,
        "blocks": [_glances(block, rows) for block in content.blocks],
        "over": over,
        "titles": [over_blocks.title(content.over_blocks), *titles] if over else titles,
    }


def _over(content: Content) -> StaticTable | None:
    """Return the mean over the blocks without the blocks, which the glance has beside it; by effect as there."""
    shown = content.over_view
    if shown is None:
        return None
    place = {variant: at for at, variant in enumerate(_by_effect(content))}
    kept = [at for at, heading in enumerate(shown.headings) if not heading.cost]
    rows = []
    for row in sorted(shown.rows, key=lambda row: place[row.cells[0]]):
        cells = [row.cells[at] for at in kept]
        cells[0] += f" ({'; '.join(row.notes)})" if row.notes else ""
        rows.append(tuple(cells))
    return StaticTable(shown.title, tuple(shown.headings[at].short for at in kept), tuple(rows))


def _over_glances(content: Content) -> dict[str, Glance]:
    """Return the same of the mean over the blocks, by variant; nothing where there are not several.

    Nor where there are several scores, as then a variant has several means: the table of the means has them.
    """
    if len({(one.score.name, one.score.unit) for one in content.over_blocks}) > 1:
        return {}
    found = {}
    for one in content.over_blocks:
        verdict = one.compared.verdict
        mean = one.compared.found.mean if one.compared.found else None
        if mean is not None:
            how = written(one.score, mean)
            turned = one.score.sign * mean
            text = estimate_text(turned, None, None, scale=how.scale, decimals=how.decimals, signed=True)
        else:
            text = points_text(None)
        found[one.variant] = Glance(verdict, MARKS.get(verdict, ""), text, "; ".join(one.compared.flags))
    return found


def _by_effect(content: Content) -> list[str]:
    """Return the variants: the references, then by their mean difference over the blocks, the best first."""
    found: dict[str, list[float]] = {}
    for block in content.blocks:
        for arm in block.arms:
            row = content.rows[arm.arm_id]
            # Scores of several kinds have no common scale: what differs by how much of itself has.
            size = 1.0 if written_row(row).score.is_fraction else abs(float(row.get("score_mean") or 1.0))
            sign = written_row(row).score.sign
            value = math.inf if arm.is_reference else row["difference_mean"]
            value = sign * value / size if given(value) and not arm.is_reference else value
            found.setdefault(arm.variant, []).extend([float(value)] if given(value) else [])
    return sorted(found, key=lambda name: -statistics.mean(found[name]) if found[name] else math.inf)


def _glances(block: Block, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Glance]:
    found = {}
    for arm in block.arms:
        row = rows[arm.arm_id]
        verdict = str(row["verdict"] or "")
        difference = change_text(row, unit=False)
        if not arm.finished:
            verdict, difference = "no finished cell", ""
        found[arm.variant] = Glance(verdict, MARKS.get(verdict, ""), difference, str(row["flags"] or ""))
    return found


def _problem(problem: Problem, content: Content) -> str:
    inside = problem.path.is_relative_to(content.folder)
    path = problem.path.relative_to(content.folder) if inside else problem.path
    # The reason names the path again, as the machine has it.
    return f"{path}: {problem.reason.replace(str(problem.path), path.name)}"


Shown = Mapping[str, Callable[[Mapping[str, Any]], str]]


def _across(content: Content) -> dict[str, Any]:
    """Return what the page says of all data sets together: sentences, tables, and what is left out."""
    found = content.across
    tables = []
    if found.variants:
        tables.append(
            _table(
                "Variants over all data sets, the best average rank first",
                content.tables["across"],
                _of_score(ACROSS_SHOWN, found),
            )
        )
        pairs = content.tables["pairs"]
        if pairs[["p_nemenyi", "p_wilcoxon"]].notna().any(axis=None):
            more = f": the first {MOST_PAIRS} of {len(pairs):,} pairs; pairs.csv has all" * (len(pairs) > MOST_PAIRS)
            tables.append(_table(f"Every two variants{more}", pairs.head(MOST_PAIRS), _of_score(PAIRS_SHOWN, found)))
    return {"sentences": across_words(found), "tables": tables, "left_out": list(found.left_out)}


def _of_score(shown: Shown, found: Across) -> Shown:
    """Return headings with what stands under them for the score of the data sets, where that is not the accuracy."""
    if found.score is None or found.score == ACCURACY:
        return shown
    how = written(found.score, float(found.accuracy.mean()))
    unit = f", {how.difference_unit}" if how.difference_unit else ""
    own = {
        heading: (heading.replace(", points", unit), key)
        for heading, key in (
            ("mean gap to the best, points", "gap_mean"),
            ("largest gap, points", "gap_max"),
            ("mean difference, points", "difference_mean"),
        )
    }
    own[MEAN_ACCURACY] = (f"mean {how.quantity.removeprefix('mean ')}", "score_mean")
    return dict(
        (own[heading][0], _fixed(own[heading][1], how.decimals, how.scale)) if heading in own else (heading, write)
        for heading, write in shown.items()
    )


def _table(caption: str, frame: pd.DataFrame, shown: Shown) -> StaticTable:
    rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    cells = [tuple(write(row) for write in shown.values()) for row in rows]
    # A column that is empty throughout was not tested or not measured.
    kept = [at for at in range(len(shown)) if any(line[at] != NOTHING for line in cells)]
    headings = list(shown)
    return StaticTable(
        caption, tuple(headings[at] for at in kept), tuple(tuple(line[at] for at in kept) for line in cells)
    )


def _fixed(key: str, digits: int, scale: float = 1.0) -> Callable[[Mapping[str, Any]], str]:
    def write(row: Mapping[str, Any]) -> str:
        return f"{row[key] * scale:.{digits}f}".replace("-", "−") if given(row[key]) else NOTHING

    return write


def _count(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: count_text(row[key])


def _text(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: str(row[key]) if given(row[key]) else NOTHING


def _apart(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: ("yes" if row[key] else "no") if given(row[key]) else NOTHING


def _p(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: p_text(row[key])


def _improvement(row: Mapping[str, Any]) -> str:
    probability, low, high = (row[f"improvement_{part}"] for part in ("probability", "ci95_low", "ci95_high"))
    if not given(probability):
        return NOTHING
    ends = f" ({low * 100:.0f} to {high * 100:.0f})" if given(low) and given(high) else ""
    return f"{probability * 100:.0f}{ends}"


MEAN_ACCURACY = "mean accuracy, %"
# Headings with what stands under them.
ACROSS_SHOWN: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "variant": _text("variant"),
    "average rank": _fixed("average_rank", 2),
    "not distinguished (groups)": _text("cliques"),
    MEAN_ACCURACY: _fixed("test_accuracy_mean", 2, 100),
    "best on, data sets": _count("best_on"),
    "mean gap to the best, points": _fixed("gap_mean", 2, 100),
    "largest gap, points": _fixed("gap_max", 2, 100),
    "within 1 point, %": _fixed("within_1_point", 0, 100),
    "better than a run of the reference, % (95 % interval)": _improvement,
}
PAIRS_SHOWN: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "variant": _text("variant"),
    "other": _text("other"),
    "wins": _count("wins"),
    "ties": _count("ties"),
    "losses": _count("losses"),
    "mean difference, points": _fixed("difference_mean", 2, 100),
    "ranks apart": _fixed("rank_difference", 2),
    "p (Nemenyi)": _p("p_nemenyi"),
    "different (Nemenyi)": _apart("apart_nemenyi"),
    "p (Wilcoxon, Holm)": _p("p_wilcoxon_holm"),
    "different (Wilcoxon)": _apart("apart_wilcoxon"),
}
