"""Figures that others published, beside those here: set side by side, never mixed.

No interval is drawn around the gap between the two: another recipe, other code and often another choice of the weights
lie between them, which no number of seeds makes up for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from poolbench.experiment import Experiment
from poolbench.report.tables.frames import frame
from poolbench.report.tables.key_columns import KEYS
from poolbench.report.text.values import accuracy_text, count_text, estimate_text, given, points_text

OWN = (
    *("n_seeds", "test_accuracy_mean", "test_accuracy_ci95_low", "test_accuracy_ci95_high"),
    *("difference_mean", "difference_ci95_low", "difference_ci95_high"),
)
HEADINGS = ("backbone", "dataset", "variant", "published, %", "here, %", "gap, points", "their recipe", "source")


def beside(experiment: Experiment, accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each published figure, with the figure here where an arm of these names finished.

    Args:
        experiment: holds the published figures.
        accuracy: the table of that name.
    """
    keys = [column.name for column in KEYS]
    own = {tuple(row[key] for key in keys): row for row in accuracy.to_dict("records") if row["n_seeds"]}
    rows = []
    for figure in experiment.published:
        row: Mapping[Any, Any] = own.get((figure.backbone, figure.dataset, figure.variant), {})
        theirs = figure.test_accuracy if figure.difference is None else figure.difference
        mean: Any = row.get("test_accuracy_mean" if figure.difference is None else "difference_mean")
        rows.append(
            {
                **{key: getattr(figure, key) for key in (*keys, "source", "recipe")},
                "published_test_accuracy": figure.test_accuracy,
                "published_test_accuracy_std": figure.test_accuracy_std,
                "published_difference": figure.difference,
                "published_n_runs": figure.n_runs,
                **{key: row.get(key) for key in OWN},
                "gap": mean - theirs if given(mean) and theirs is not None else None,
            }
        )
    return frame("published", rows)


def cells(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the table as people read it, a row a figure, in the order of `HEADINGS`."""
    return [_cells({str(key): value for key, value in row.items()}) for row in table.to_dict("records")]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    is_difference = given(row["published_difference"])
    published = estimate_text(row["published_test_accuracy"], None, None)
    if is_difference:
        published = f"{points_text(row['published_difference'])} points over the reference"
    if given(row["published_test_accuracy_std"]):
        published += f" (std {row['published_test_accuracy_std'] * 100:.2f})"
    if given(row["published_n_runs"]):
        runs = int(row["published_n_runs"])
        published += f", {runs} run{'s' * (runs != 1)}"
    ends = (row[f"difference_{part}"] for part in ("mean", "ci95_low", "ci95_high"))
    here = estimate_text(*ends, signed=True) if is_difference else accuracy_text(row)
    if given(row["n_seeds"]):
        here += f", n = {count_text(row['n_seeds'])}"
    names = tuple(str(row[key]) for key in ("backbone", "dataset", "variant"))
    return (*names, published, here, points_text(row["gap"]), row["recipe"], row["source"])


def notes(table: pd.DataFrame) -> Sequence[str]:
    """Return how the published figures are to be read; nothing where there are none."""
    if not len(table):
        return []
    return [
        "Published figures stand beside these runs and enter no statistic: the gap holds the difference of recipe and "
        "code as well as chance."
    ]
