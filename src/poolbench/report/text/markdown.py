"""summary.md: the tables as Markdown, with all that is needed to judge them and to make them again."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from poolbench.record import Problem
from poolbench.report.content import Content
from poolbench.report.reading.arms import Record
from poolbench.report.reading.origins import commands, environments
from poolbench.report.text.across import across_words
from poolbench.report.text.asides import Aside, asides
from poolbench.report.text.views import View, code


def summary(content: Content) -> str:
    """Return the text of summary.md; it depends on the records alone, so that equal records give equal bytes."""
    records, blocks, experiment = content.records, content.blocks, content.experiment
    finished = sum(record["status"] == "ok" for record in records)
    parts = [f"# {plain(content.folder.resolve().name)}"]
    if experiment.question:
        parts.append(f"**Question.** {plain(experiment.question)}")
    if experiment.expected:
        parts.append(f"**Expected.** {plain(experiment.expected)}")
    parts += [
        "## Verdict",
        *([bullets(plain(sentence) for sentence in content.spoken), "### Block by block"] if content.spoken else []),
        bullets(
            plain(sentence) for sentence in (*content.words, *across_words(content.across), *content.across.left_out)
        ),
    ]
    parts.append(
        f"{len(records)} cell{'s' * (len(records) != 1)}, {finished} finished; "
        f"{len(blocks)} block{'s' * (len(blocks) != 1)} of one backbone and one dataset each."
    )
    if content.head:
        parts.append(bullets(plain(line) for line in content.head))
    if content.warnings:
        parts += ["## Warnings", bullets(plain(sentence) for sentence in content.warnings)]
    if content.over_view is not None:
        parts += [f"## {plain(content.over_view.title)}", table(content.over_view)]
    if content.pairing:
        parts += ["## What equal seeds gained", bullets(plain(sentence) for sentence in content.pairing)]
    for view in content.views:
        parts.append(f"## {plain(view.title)}")
        parts.append(table(view) if view.rows else "No finished cell.")
        if view.absent:
            parts.append(f"Without a finished cell: {', '.join(map(code, view.absent))}.")
        if view.speed:
            parts.append(f"Speed: {plain(view.speed)}.")
    parts += [
        "## Seed by seed",
        "Dots are single seeds, the marker their mean with its 95 % interval, the vertical line the reference's mean.",
        "![Test score of every variant, one panel for each block](accuracy.svg)",
    ]
    if content.has_pictures:
        parts += [
            "## Test images",
            "The same test images for every variant, of its first seed, beside their targets.",
            "![Test images, their targets, and each variant's predictions](pictures.svg)",
        ]
    for aside in asides(content):
        parts += _aside(aside)
    if content.not_compared:
        parts += ["## Not compared", bullets(plain(str(entry)) for entry in content.not_compared)]
    if content.problems:
        parts += ["## Not read", bullets(_problem(problem, content.folder) for problem in content.problems)]
    parts += ["## Where the numbers come from", environments_table(records), *_commands(records)]
    files = ", ".join(f"`{name}.csv`" for name in content.tables)
    parts.append(
        f"All columns: {files}, and the same as Parquet; `summary` joins the first three. Each is explained in "
        "`docs/tables.md` of poolbench, the verdicts in `docs/statistics.md`."
    )
    return "\n\n".join(parts) + "\n"


def _aside(aside: Aside) -> list[str]:
    lines = [
        " | ".join(("", *(plain(heading) for heading, _ in aside.columns), "")).strip(),
        "|" + " --- |" * len(aside.columns),
    ]
    lines += [f"| {' | '.join(map(plain, cells))} |" for cells in aside.rows]
    return [f"## {plain(aside.title)}", *map(plain, aside.notes), "\n".join(lines)]


def bullets(lines: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {line}" for line in lines)


def plain(text: str) -> str:
    r"""Return text that Markdown shows as it is, in one line: a break would end a heading, an item or a table's row.

    >>> plain("a|b\n# <c>")
    'a\\|b # \\<c\\>'
    """
    lines = text.splitlines()
    line = text if lines == [text] else " ".join(part.strip() for part in lines)
    return "".join(f"\\{character}" if character in "\\`*_[]<>|~$" else character for character in line)


def _problem(problem: Problem, folder: Path) -> str:
    path = problem.path.relative_to(folder) if problem.path.is_relative_to(folder) else problem.path
    # The reason names the path again, as the machine has it.
    reason = problem.reason.replace(str(problem.path), path.name)
    return f"{plain(str(path))}: {plain(reason)}"


def table(view: View) -> str:
    """Return a block as a table."""
    lines = [
        "| " + " | ".join(_heading(heading.full, view.against) for heading in view.headings) + " |",
        "| --- |" + " ---: |" * (len(view.headings) - 1),
    ]
    for row in view.rows:
        name = code(row.cells[0])
        if row.is_reference:
            name = f"**{name}**"
        if row.notes:
            name += f" ({'; '.join(plain(note) for note in row.notes)})"
        lines.append("| " + " | ".join([name, *(plain(cell) for cell in row.cells[1:])]) + " |")
    return "\n".join(lines)


def _heading(text: str, against: str) -> str:
    """Return a heading in which the reference alone stands in code quotes, where it names one."""
    named = f"Δ to {code(against)}"
    return named + plain(text.removeprefix(named)) if against and text.startswith(named) else plain(text)


def environments_table(records: Sequence[Record]) -> str:
    """Return a table of the surroundings that the finished records were made in, most frequent first."""
    parts = []
    for n, environment in environments(records):
        lines = [f"{n} cell{'s' * (n != 1)}:", "", "| | |", "| --- | --- |"]
        lines += [f"| {key} | {plain(value)} |" for key, value in environment.items()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) if parts else "No cell finished."


def _commands(records: Sequence[Record]) -> list[str]:
    """Return the commands that made the records, as a block of code."""
    found = commands(records)
    return [f"Made by:\n\n```\n{chr(10).join(found)}\n```"] if found else []
