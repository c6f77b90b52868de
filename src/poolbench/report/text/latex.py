r"""summary.tex: the blocks as LaTeX tables (booktabs), ready for `\input`."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from poolbench.report.reading.arms import Block
from poolbench.report.statistics.verdicts import BETTER, IDENTICAL, WORSE
from poolbench.report.text.asides import LONG, NUMBER, TEXT, Aside
from poolbench.report.text.units import of_score, written_row
from poolbench.report.text.values import (
    FLAGGED,
    NOTHING,
    count_text,
    difference_text,
    figure_text,
    given,
    margin_text,
    millions_text,
    score_text,
)
from poolbench.report.text.views import View

MARK = r"\textsuperscript{*}"
SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # \textquotedbl is in no font of the usual encoding.
    '"': r"\char34{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "Δ": r"$\Delta$",
    "≈": r"$\approx$",
    "…": r"\dots{}",
    "∆": r"$\Delta$",
    "⁄": "/",
    "—": "---",
    "°": r"\textdegree{}",
    "·": r"\textperiodcentered{}",
    "√": r"$\surd$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "µ": r"$\mu$",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "ß": r"\ss{}",
    **{
        "æ": r"\ae{}",
        "Æ": r"\AE{}",
        "œ": r"\oe{}",
        "Œ": r"\OE{}",
        "ø": r"\o{}",
        "Ø": r"\O{}",
        "ł": r"\l{}",
        "Ł": r"\L{}",
    },
    "ı": r"\i{}",
    "\N{NO-BREAK SPACE}": "~",
    "‡": r"\textdaggerdbl{}",
    FLAGGED: MARK,
}
# How the columns of a table beside the report's own are set, by their kind.
ALIGNED = {TEXT: "l", NUMBER: "r", LONG: r"p{0.2\linewidth}"}
# Greek letters by LaTeX's commands. It has none for those that look as Latin ones.
CAPITALS = ("gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega")
LATIN = dict(zip(("alpha", "beta", "epsilon", "zeta", "eta", "iota", "kappa", "mu", "nu"), "ABEZHIKMN", strict=True))
LATIN |= {"omicron": "O", "rho": "P", "tau": "T", "chi": "X"}
GREEK = {
    **{
        unicodedata.lookup(f"greek small letter {name.replace('bd', 'd')}"): f"$\\{name}$"
        for name in (*CAPITALS, *LATIN)
    },
    **{
        unicodedata.lookup(f"greek capital letter {name.replace('bd', 'd')}"): f"$\\{name.capitalize()}$"
        for name in CAPITALS
    },
    **{unicodedata.lookup(f"greek capital letter {name}"): rf"$\mathrm{{{latin}}}$" for name, latin in LATIN.items()},
    "ο": "$o$",
    "ς": r"$\varsigma$",
}
# Combining accents, by the command that puts one over a letter.
ACCENTS = {
    **{"\u0300": "\\`", "\u0301": "\\'", "\u0302": "\\^", "\u0303": "\\~", "\u0304": "\\=", "\u0306": "\\u"},
    **{"\u0307": "\\.", "\u0308": '\\"', "\u030a": "\\r", "\u030b": "\\H", "\u030c": "\\v", "\u0327": "\\c"},
}
# Categories of characters that nobody sees: controls, formats, lone surrogates and combining marks.
UNSEEN = ("Cc", "Cf", "Cs", "Mn", "Me", "Mc")


def escaped(text: str) -> str:
    r"""Return text as LaTeX sets it, as it is.

    >>> escaped("avg_topk[k=3] & 50 %")
    'avg\\_topk[k=3] \\& 50 \\%'
    """
    return "".join(_character(character) for character in unicodedata.normalize("NFC", text))


def _character(character: str) -> str:
    r"""Return a character in ASCII, so that every LaTeX sets it; one that none of its fonts has by its number.

    >>> [_character(one) for one in ("é", "α", "₂", "池")]
    ["\\'{e}", '$\\alpha$', '2', 'U+6C60']
    """
    if character in SPECIAL:
        return SPECIAL[character]
    if character.isascii():
        return character if character.isprintable() else " "
    if character in GREEK:
        return GREEK[character]
    if len(parts := unicodedata.normalize("NFD", character)) == 2 and parts[1] in ACCENTS and parts[0].isascii():
        return f"{ACCENTS[parts[1]]}{{{parts[0]}}}"
    plain = unicodedata.normalize("NFKD", character)
    if plain != character:
        return "".join(_character(part) for part in plain if not unicodedata.combining(part))
    return "" if unicodedata.category(character) in UNSEEN else f"U+{ord(character):04X}"


def tables(
    blocks: Sequence[Block],
    views: Sequence[View],
    rows: Mapping[str, Mapping[str, Any]],
    over_view: View | None = None,
    beside: Sequence[Aside] = (),
) -> str:
    """Return one table a block that has a finished cell, after one of the mean over the blocks where there are several.

    The tables beside the report's own follow: published figures, scores by stratum, tuned arms.

    The best mean is bold only where the verdicts bear it: the arm is better than the reference, or it is the reference
    and every other arm is worse; and nothing but the pooling differs.
    """
    parts = [
        "% Needs \\usepackage{booktabs,textcomp}; it is ASCII throughout, for any engine. Made by `poolbench report`.",
    ]
    if over_view is not None:
        parts.append(_over_table(over_view))
    for number, (block, view) in enumerate(zip(blocks, views, strict=True)):
        found = [rows[arm.arm_id] for arm in block.arms if arm.finished]
        if found:
            parts.append(_table(number, block, view, found))
    parts += map(_aside, beside)
    return "\n\n".join(parts) + "\n"


def best(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of the arm that may be called the best of a block; empty where the verdicts bear none."""
    known = [row for row in rows if given(of_score(row, "mean"))]
    if not known:
        return ""
    first = max(known, key=lambda row: written_row(row).score.sign * of_score(row, "mean"))
    if first["verdict"] == BETTER and not first["flags"]:
        return str(first["arm_id"])
    others = [row for row in known if row is not first and row["verdict"] != IDENTICAL]
    if (
        first["verdict"] == "reference"
        and others
        and all(row["verdict"] == WORSE and not row["flags"] for row in others)
    ):
        return str(first["arm_id"])
    return ""


def _table(number: int, block: Block, view: View, rows: Sequence[Mapping[str, Any]]) -> str:
    differences = any(given(row["difference_mean"]) for row in rows)
    speeds = any(given(row["training_ratio"]) for row in rows)
    how = written_row(rows[0])
    headings = ["Pooling", "$n$", escaped(how.quantity[:1].upper() + how.quantity[1:])]
    if differences:
        unit = f", {escaped(how.difference_unit)}" if how.difference_unit else ""
        headings += [f"$\\Delta$ to {escaped(view.against)}{unit}", "Verdict"]
    headings += ["Parameters", "MACs, M"] + (["Training, ratio"] if speeds else [])
    bold = best(rows)
    marked = any(row["flags"] for row in rows)
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{_caption(view, rows, differences, marked, bold)}}}",
        f"\\label{{tab:poolbench-{number + 1}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        " & ".join(headings) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        accuracy = escaped(score_text(row))
        cells = [
            _first_cell(str(row["variant"])) + (MARK if row["flags"] else ""),
            count_text(row["n_seeds"]),
            rf"\textbf{{{accuracy}}}" if row["arm_id"] == bold else accuracy,
        ]
        if differences:
            verdict = str(row["verdict"])
            cells += [escaped(difference_text(row)), escaped(NOTHING if verdict in ("", "reference") else verdict)]
        cells += [escaped(count_text(row["parameters"])), escaped(millions_text(row["multiply_adds"]))]
        if speeds:
            cells.append(escaped(figure_text(row["training_ratio"])))
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _over_table(view: View) -> str:
    """Return the table of the mean over the blocks, as `poolbench.report.text.over_blocks` shows it."""
    marked = any(row.notes for row in view.rows)
    caption = [
        f"{escaped(view.title)}, against {escaped(view.against)}, for these blocks and no others: paired difference "
        "$\\pm$ half the interval that decides the verdict (seeds and test examples count as noise, Holm's correction "
        "for the arms)" + (f"; {escaped(view.beside)}." if view.beside else ".")
    ]
    if marked:
        notes = "; ".join(f"{row.cells[0]}: {note.strip(f'{FLAGGED} ')}" for row in view.rows for note in row.notes)
        caption.append(f"{MARK}More than the pooling differs ({escaped(notes)}).")
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{' '.join(caption)}}}",
        r"\label{tab:poolbench-over-blocks}",
        rf"\begin{{tabular}}{{l{'r' * (len(view.headings) - 1)}}}",
        r"\toprule",
        " & ".join(["Pooling", "$n$", *(escaped(heading.full) for heading in view.headings[2:])]) + r" \\",
        r"\midrule",
    ]
    for row in view.rows:
        name = _first_cell(row.cells[0]) + (MARK if row.notes else "")
        cells = [escaped(cell.replace(FLAGGED, "").strip()) for cell in row.cells[1:]]
        lines.append(" & ".join([name, *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _aside(aside: Aside) -> str:
    """Return a table beside the report's own, as Markdown and the page have it."""
    parts = [escaped(text) for text in (f"{aside.title}.", *aside.notes)]
    if any(FLAGGED in cell for row in aside.rows for cell in row):
        parts.append(f"{MARK}More differs than what is compared.")
    caption = " ".join(parts)
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{caption}}}",
        f"\\label{{tab:poolbench-{aside.name.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{{''.join(ALIGNED[kind] for _, kind in aside.columns)}}}",
        r"\toprule",
        " & ".join(escaped(heading[:1].upper() + heading[1:]) for heading, _ in aside.columns) + r" \\",
        r"\midrule",
    ]
    for first, *rest in aside.rows:
        lines.append(" & ".join([_first_cell(first), *map(_marked, rest)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _marked(cell: str) -> str:
    """Return a cell with the mark of LaTeX's tables in place of the report's own."""
    text, mark = cell.replace(f" {FLAGGED}", ""), f" {FLAGGED}" in cell
    return escaped(text) + MARK * mark


def _first_cell(name: str) -> str:
    r"""Return a name that the `\\` of the row before takes for no argument of its own."""
    return ("{}" if name.startswith(("[", "*")) else "") + escaped(name)


def _caption(view: View, rows: Sequence[Mapping[str, Any]], differences: bool, marked: bool, bold: str) -> str:
    how = written_row(rows[0])
    parts = [
        f"{escaped(view.title)}. Test {escaped(how.score.words)}{how.direction}: mean over $n$ seeds $\\pm$ half its "
        "95\\,\\% interval."
    ]
    if differences:
        largest = max((row for row in rows if given(row["margin"])), key=lambda row: row["margin"], default=None)
        margin = "0 points" if largest is None else margin_text(largest)
        parts.append(
            "$\\Delta$: paired difference $\\pm$ half the interval that decides the verdict (seeds and test examples "
            f"count as noise, Holm's correction for the arms); tie: within {escaped(margin)}."
        )
    if bold:
        of_reference = any(row["verdict"] == "reference" and row["arm_id"] == bold for row in rows)
        parts.append(f"Bold: {'every other is worse' if of_reference else 'best, and better than the reference'}.")
    if marked:
        marks = sorted({f"{row['variant']}: {row['flags']}" for row in rows if row["flags"]})
        parts.append(f"{MARK}More than the pooling differs ({escaped('; '.join(marks))}).")
    return " ".join(parts)
