"""The text of single values: an estimate with its interval, a count, a difference with its unit, a verdict."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from poolbench.report.statistics.verdicts import TIE
from poolbench.report.text.units import of_score, written_row

NOTHING = "–"


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


def deciding(row: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the interval that decides a row's verdict; empty values where nothing is decided.

    Of a tie it is that of the two one-sided tests, else the one at the level of Holm's procedure.

    >>> both = {"tie_low": -0.3, "tie_high": 0.4, "difference_holm_low": -1.0, "difference_holm_high": 1.1}
    >>> deciding({**both, "verdict": "tie"}), deciding({**both, "verdict": "undecided"})
    ((-0.3, 0.4), (-1.0, 1.1))
    """
    name = "tie" if row["verdict"] == TIE and given(row.get("tie_low")) else "difference_holm"
    return row.get(f"{name}_low"), row.get(f"{name}_high")


def difference_text(row: Mapping[str, Any]) -> str:
    """Return the difference with the interval that decides the verdict; where nothing is decided, with its own."""
    low, high = deciding(row)
    if not given(low):
        low, high = row["difference_ci95_low"], row["difference_ci95_high"]
    return estimate_text(row["difference_mean"], low, high, signed=True, **_style(row))


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


def p_text(value: Any) -> str:
    """Return a p-value with three decimals, a smaller one as such.

    >>> p_text(0.0204), p_text(1e-9), p_text(None)
    ('0.020', '< 0.001', '–')
    """
    if not given(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equals_text(value: Any) -> str:
    """Return the same in a sentence.

    >>> p_equals_text(0.0204), p_equals_text(1e-9)
    ('p = 0.020', 'p < 0.001')
    """
    text = p_text(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def millions_text(value: Any) -> str:
    """Return a count in millions."""
    return figure_text(float(value) / 1e6) if given(value) else NOTHING
