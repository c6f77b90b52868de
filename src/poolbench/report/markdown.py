"""summary.md: the tables as Markdown, with all that is needed to judge them and to make them again."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poolbench.record import Problem
from poolbench.report.arms import Block, Record, section
from poolbench.report.comparability import NotCompared
from poolbench.report.layout import View, code

REVISION_DIGITS = 12


def summary(
    *,
    folder: Path,
    head: Sequence[str],
    views: Sequence[View],
    blocks: Sequence[Block],
    warnings: Sequence[str],
    not_compared: Sequence[NotCompared],
    problems: Sequence[Problem],
) -> str:
    """Return the text of summary.md; it depends on the records alone, so that equal records give equal bytes."""
    records = [record for block in blocks for arm in block.arms for record in arm.records.values()]
    finished = sum(record["status"] == "ok" for record in records)
    parts = [
        f"# {folder.resolve().name}",
        f"{len(records)} cell{'s' * (len(records) != 1)}, {finished} finished; "
        f"{len(blocks)} block{'s' * (len(blocks) != 1)} of one backbone and one dataset each.",
        _bullets(head),
    ]
    if warnings:
        parts += ["## Mind", _bullets(_plain(sentence) for sentence in warnings)]
    for view in views:
        parts.append(f"## {_plain(view.title)}")
        parts.append(_table(view) if view.rows else "No finished cell.")
        if view.absent:
            parts.append(f"Without a finished cell: {', '.join(map(code, view.absent))}.")
        if view.speed:
            parts.append(f"Speed: {_plain(view.speed)}.")
    parts += [
        "## Seed by seed",
        "Dots are single seeds, the marker their mean with its 95 % interval, the vertical line the reference's mean.",
        "![Test accuracy of every variant, a panel a block](accuracy.svg)",
    ]
    if not_compared:
        parts += ["## Not compared", _bullets(_plain(str(entry)) for entry in not_compared)]
    if problems:
        parts += ["## Not read", _bullets(_problem(problem, folder) for problem in problems)]
    parts += ["## Where the figures come from", _environments(records), *_commands(records)]
    parts.append(
        "All columns: `accuracy.csv`, `parameters.csv`, `throughput.csv`, and `summary.csv`, which joins them; "
        "each is explained in `docs/tables.md` of poolbench."
    )
    return "\n\n".join(parts) + "\n"


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return "".join(f"\\{character}" if character in "\\`*_[]<>|~" else character for character in text)


def _problem(problem: Problem, folder: Path) -> str:
    path = problem.path.relative_to(folder) if problem.path.is_relative_to(folder) else problem.path
    # The reason names the path again, as the machine has it.
    reason = problem.reason.replace(str(problem.path), path.name)
    return f"{_plain(str(path))}: {_plain(reason)}"


def _table(view: View) -> str:
    lines = [
        "| " + " | ".join(heading.full for heading in view.headings) + " |",
        "| --- |" + " ---: |" * (len(view.headings) - 1),
    ]
    for row in view.rows:
        name = code(row.cells[0])
        if row.is_reference:
            name = f"**{name}**"
        if row.notes:
            name += f" ({'; '.join(_plain(note) for note in row.notes)})"
        lines.append("| " + " | ".join([name, *(_plain(cell) for cell in row.cells[1:])]) + " |")
    return "\n".join(lines)


def _environments(records: Sequence[Record]) -> str:
    """Return a table of the surroundings that the finished records were made in, most frequent first."""
    counted = Counter(
        tuple(_environment(section(record, "provenance")).items()) for record in records if record["status"] == "ok"
    )
    if not counted:
        return "No cell finished."
    parts = []
    for environment, n in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        lines = [f"{n} cell{'s' * (n != 1)}:", "", "| | |", "| --- | --- |"]
        lines += [f"| {key} | {_plain(value)} |" for key, value in environment if value]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _environment(provenance: Mapping[str, Any]) -> dict[str, str]:
    def said(key: str) -> str:
        value = provenance.get(key)
        return "" if value is None else str(value)

    revision = said("revision")[:REVISION_DIGITS] or "unknown"
    if provenance.get("dirty"):
        revision += " with uncommitted changes"
    device = said("device")
    if said("device_name") and said("device_name") != said("machine"):
        device += f" ({said('device_name')})"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(section(provenance, "versions").items()))
    return {
        "machine": said("machine"),
        "device": device,
        "threads": said("threads"),
        "platform": said("platform"),
        "Python": said("python"),
        "versions": versions,
        "allocator": said("allocator"),
        "poolbench": f"{said('poolbench')}, revision {revision}".removeprefix(", "),
    }


def _commands(records: Sequence[Record]) -> list[str]:
    """Return the commands that the records name, most frequent first, as one would type them."""
    named = Counter(
        _command(section(record, "provenance").get("command")) for record in records if record["status"] == "ok"
    )
    commands = [text for text, _ in sorted(named.items(), key=lambda item: (-item[1], item[0])) if text]
    if not commands:
        return []
    return [f"Made by:\n\n```\n{chr(10).join(commands)}\n```"]


def _command(argv: Any) -> str:
    """Return a command without the folders of this machine.

    >>> _command(["/somewhere/bin/poolbench", "train", "pooling=glob(*)"])
    "poolbench train 'pooling=glob(*)'"
    >>> _command(["/somewhere/poolbench/__main__.py", "train"])
    'python -m poolbench train'
    """
    if not isinstance(argv, list) or not argv:
        return ""
    program, *arguments = map(str, argv)
    if program.endswith("__main__.py"):
        return shlex.join(["python", "-m", "poolbench", *arguments])
    return shlex.join([Path(program).name, *arguments])
