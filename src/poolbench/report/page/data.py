"""What the page's script is given: the summary and the cells, small enough for a file that opens at once.

Tables go in by columns; texts, configurations, audits and environments that many share are written once. Figures keep
ten significant digits: more than anyone reads, and the records beside the page have all.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from poolbench.record import epoch_rows
from poolbench.report.content import Content
from poolbench.report.looks import colours
from poolbench.report.reading.arms import Arm, Block, Record, section
from poolbench.report.reading.scores import of_block, reached
from poolbench.report.tables.columns import TABLES, Column
from poolbench.report.tables.cost_columns import PARAMETERS, THROUGHPUT
from poolbench.report.tables.score_columns import ACCURACY
from poolbench.report.text.units import written
from poolbench.report.text.values import deciding, given
from poolbench.score import Score, beside_of

# Beyond so many cells only some are held in detail: the page is to open at once, and the records lie beside it.
MOST_DETAILED = 1000
# A curve on the page is a few hundred pixels wide.
MOST_EPOCHS = 100
LONGEST_REASON, LONGEST_LINE = 4000, 300
SHOWN_METRICS = ("test_accuracy", "val_accuracy", "test_loss")
# What a cell reached by its own score, whatever that is called.
PARTS = ("test", "val")


class Shared:
    """Values of JSON that are written once, however many cells have them."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._found: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Return where the value stands among the shared ones.

        >>> shared = Shared()
        >>> shared.place({"a": 1}), shared.place([2]), shared.place({"a": 1})
        (0, 1, 0)
        """
        key = value if isinstance(value, str) else json.dumps(value)
        key = f"{type(value).__name__} {key}"
        if key not in self._found:
            self._found[key] = len(self.values)
            self.values.append(value)
        return self._found[key]


def plain(value: Any) -> Any:
    """Return a value as JSON has it: figures with ten digits, null for what is not finite or absent.

    >>> plain({"a": [1 / 3, float("nan")], "b": True, "c": 12345678})
    {'a': [0.3333333333, None], 'b': True, 'c': 12345678}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def compact(content: Content) -> dict[str, Any]:
    """Return what the page's script reads: `columns`, `arms`, `colours`, `blocks`, `cells`, `details`, `shared`."""
    arms = [arm for block in content.blocks for arm in block.arms]
    summary = content.tables["summary"].set_index("arm_id", drop=False).loc[[arm.arm_id for arm in arms]]
    shared = Shared()
    cells, details = _cells(arms, shared)
    return {
        "columns": [_column(column, summary[column.name]) for column in TABLES["summary"]],
        "colours": dict(colours(content.blocks)),
        "blocks": [
            {"title": block.title, "reference": block.reference, "score": _score(block, content)}
            for block in content.blocks
        ],
        "scores": _scores([content.rows[arm.arm_id] for arm in arms]),
        "armBlocks": [index for index, block in enumerate(content.blocks) for _ in block.arms],
        "cells": cells,
        "details": details,
        "shared": shared.values,
    }


def _scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return what the page shows of every arm and the summary has not: the primary score, the interval that decides."""
    found = {f"score_{part}": [row.get(f"score_{part}") for row in rows] for part in ("mean", "ci95_low", "ci95_high")}
    decided = [deciding(row) if given(row.get("verdict")) else (None, None) for row in rows]
    found |= {f"deciding_{end}": [ends[place] for ends in decided] for place, end in enumerate(("low", "high"))}
    return {name: [plain(_figure(value, "number")) for value in values] for name, values in found.items()}


def _score(block: Block, content: Content) -> dict[str, Any]:
    """Return how a block's score is written: its name in records and in words, scale, digits, units, direction.

    `units` has the units of this score and of the further ones, by their names in records.
    """
    task, score = of_block(block)
    rows = [content.rows[arm.arm_id] for arm in block.arms if arm.finished]
    means = [float(row["score_mean"]) for row in rows if given(row.get("score_mean"))]
    how = written(score, means[0] if means else math.nan)
    return {
        "name": score.name,
        "words": score.words,
        "quantity": how.quantity,
        "scale": how.scale,
        "decimals": how.decimals,
        "unit": _unit(score),
        "difference": how.difference_unit,
        "sign": score.sign,
        "task": task,
        "units": {one.name: _unit(one) for one in (*_further(block), score)},
    }


def _unit(score: Score) -> str:
    return "%" if score.is_fraction else score.unit


def _further(block: Block) -> tuple[Score, ...]:
    """Return the further scores of a block, those of any record."""
    records = [record for arm in block.arms for record in arm.records.values()]
    return tuple(dict.fromkeys(score for record in records for score in beside_of(record)))


def _column(column: Column, series: pd.Series) -> dict[str, Any]:
    """Return one column of the summary: its values, as places in `words` where they are texts."""
    found: dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "unit": column.unit,
        "meaning": column.meaning,
        "group": _group(column),
    }
    if column.kind == "text":
        words = list(dict.fromkeys(map(str, series)))
        place = {word: index for index, word in enumerate(words)}
        return found | {"words": words, "values": [place[str(value)] for value in series]}
    return found | {"values": [_figure(value, column.kind) for value in series]}


def _figure(value: Any, kind: str) -> Any:
    if not given(value):
        return None
    if kind == "flag":
        return bool(value)
    return int(value) if kind == "count" else plain(float(value))


def _group(column: Column) -> str:
    if column in PARAMETERS:
        return "Size and work"
    if column in THROUGHPUT:
        return "Speed"
    accuracy = column.name.startswith(("test_", "val_", "ece", "n_seeds"))
    return "Accuracy" if accuracy or column not in ACCURACY else "Comparison"


def _cells(arms: Sequence[Arm], shared: Shared) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Return all cells by columns, and by their place the details of those that are held in detail."""
    cells: dict[str, list[Any]] = {
        name: []
        for name in (
            *("arm", "seed", "status", "run", "reason", "epochs"),
            *SHOWN_METRICS,
            *(f"{part}_score" for part in PARTS),
        )
    }
    order = []
    for index, arm in enumerate(arms):
        for turn, (seed, record) in enumerate(arm.records.items()):
            order.append(((record["status"] == "ok", turn), len(cells["arm"]), record))
            reason = str(record["reason"] or "")
            cells["arm"].append(index)
            cells["seed"].append(seed)
            cells["status"].append(shared.place(record["status"]))
            cells["run"].append(record["run_id"])
            cells["reason"].append(shared.place(reason.strip().partition("\n")[0][:LONGEST_LINE]))
            cells["epochs"].append(plain(record["metrics"].get("epochs")))
            for name in SHOWN_METRICS:
                cells[name].append(_number(record["metrics"].get(name)))
            for part in PARTS:
                cells[f"{part}_score"].append(plain(reached(record, part)))
    # What failed first, then a seed of every arm before a second of any.
    chosen = sorted(order, key=lambda entry: entry[0])[:MOST_DETAILED]
    details = {str(place): _detail(record, shared) for _, place, record in sorted(chosen, key=lambda entry: entry[1])}
    return cells, details


def _number(value: Any) -> float | None:
    return plain(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _detail(record: Record, shared: Shared) -> dict[str, Any]:
    """Return what the page shows of one record."""
    provenance = plain(section(record, "provenance"))
    parts = {
        "cost": section(record, "cost"),
        "audit": {k: v for k, v in section(record, "audit").items() if k != "network_digest"},
        "data": section(record, "data"),
        "provenance": {key: value for key, value in provenance.items() if key != "command"},
        "command": provenance.get("command") or [],
    }
    reason = str(record["reason"] or "").strip()
    return {
        "reason": shared.place(reason[:LONGEST_REASON] + ("…" if len(reason) > LONGEST_REASON else "")),
        "traceback": shared.place(str(record.get("traceback") or "")[-LONGEST_REASON:]),
        "config": {name: shared.place(plain(part)) for name, part in record["config"].items()},
        "metrics": {k: plain(v) for k, v in record["metrics"].items() if not isinstance(v, Mapping | list)},
        "times": plain(section(record, "times")),
        "history": _history(epoch_rows(record)),
        **{name: shared.place(plain(part)) for name, part in parts.items()},
    }


def _history(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the learning curve by columns, at most `MOST_EPOCHS` of them, the last among these.

    >>> _history([{"epoch": 0, "val_loss": 2.0}, {"epoch": 1, "val_loss": 1.0}])
    {'epoch': [0, 1], 'val_loss': [2.0, 1.0]}
    """
    step = math.ceil(len(rows) / MOST_EPOCHS) or 1
    rows = rows[::-1][::step][::-1]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {str(name): [_short(row.get(name)) for row in rows] for name in names}


def _short(value: Any) -> Any:
    return plain(float(f"{value:.4g}")) if isinstance(value, float) and math.isfinite(value) else plain(value)


def script_json(value: Any) -> str:
    """Return JSON that may stand inside a `<script>` element: nothing in it ends the element or begins a comment.

    >>> script_json({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
