"""From a results folder to its tables, its figure and the page of text."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from poolbench.errors import ConfigurationError, unknown_name
from poolbench.record import RECORD_FILE, Problem, read_records, read_speeds, write_bytes
from poolbench.report import markdown, tables, terminal
from poolbench.report.arms import Record, fault, group
from poolbench.report.comparability import NotCompared, not_compared, warnings
from poolbench.report.layout import head_lines, view

FIGURES = ("accuracy.svg", "accuracy.png")
FILES = ("accuracy.csv", "parameters.csv", "throughput.csv", "summary.csv", "summary.md", *FIGURES)


@dataclass(frozen=True)
class Report:
    """What was made of a folder's records.

    `tables` holds `accuracy`, `parameters`, `throughput` and `summary`; `warnings` what a reader must know before
    comparing; `not_compared` the cells that did not finish; `problems` the files that could not be read; `files` what
    was written.
    """

    folder: Path
    tables: dict[str, pd.DataFrame]
    warnings: list[str]
    not_compared: list[NotCompared]
    problems: list[Problem]
    files: list[Path]


def make_report(folder: Path, *, console: Console | None = None) -> Report:
    """Read the records in `folder`, print their tables, and write the tables and the figure beside them.

    Each file is written under a temporary name and renamed; equal records give equal bytes.

    Raises `ConfigurationError` when the folder is absent, cannot be written or holds no record.
    """
    folder = Path(folder)
    _check_exists(folder)
    _check_writable(folder)
    records, problems = _usable(folder, *read_records(folder))
    speeds, unread = _usable_speeds(folder, *read_speeds(folder))
    problems = problems + unread
    if not records:
        raise _no_records(folder, problems)

    blocks, told = group(records)
    made, told_of_speed = tables.build(blocks, speeds)
    told = told + warnings(blocks) + told_of_speed
    absent = not_compared(blocks)
    head = head_lines(made["summary"])
    views = [view(block, made["summary"]) for block in blocks]
    console = console or terminal.open_console()
    terminal.show(console, folder=folder, head=head, views=views, warnings=told, not_compared=absent, problems=problems)

    contents = {f"{name}.csv": tables.csv(table).encode() for name, table in made.items()}
    contents["summary.md"] = markdown.summary(
        folder=folder,
        head=head,
        views=views,
        blocks=blocks,
        warnings=told,
        not_compared=absent,
        problems=problems,
    ).encode()
    # Imported here, when the tables are on the screen: matplotlib takes as long to import as all else to compute.
    from poolbench.report import figures

    contents |= figures.accuracy(blocks, made["summary"])
    for name in FILES:
        write_bytes(folder / name, contents[name])
    files = [folder / name for name in FILES]
    terminal.show_files(console, folder, files)
    return Report(folder, made, told, absent, problems, files)


def _check_exists(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.exists():
        raise ConfigurationError(f"the results folder {folder} is a file; give the folder that holds `records/`")
    if not folder.parent.is_dir():
        raise ConfigurationError(f"there is no results folder {folder}, nor its parent {folder.parent}")
    raise ConfigurationError(
        f"there is no results folder {folder}: {unknown_name('results', folder.name, _results_in(folder.parent))}"
    )


def _results_in(parent: Path) -> list[str]:
    """Return the names of the results folders in `parent`, those one level further down by their path."""
    found = {path.parent for path in (*parent.glob("*/records"), *parent.glob("*/*/records")) if path.is_dir()}
    return sorted(str(path.relative_to(parent)) for path in found)


def _check_writable(folder: Path) -> None:
    """Raise before anything is computed if the report could not be written afterwards."""
    for name in FILES:
        if (folder / name).is_dir():
            raise ConfigurationError(f"{folder / name} is a folder, and the report writes a file of that name; move it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"the results folder {folder} cannot be written ({error.strerror or error}); "
            "change its permissions, or copy it to where you may write and report the copy"
        ) from error


def _usable(folder: Path, records: Sequence[Record], problems: Sequence[Problem]) -> tuple[list[Record], list[Problem]]:
    """Part the records that can be tabled from those that cannot."""
    kept: list[Record] = []
    refused = list(problems)
    for record in records:
        reason = fault(record)
        if reason is None:
            kept.append(record)
        else:
            refused.append(Problem(folder / "records" / str(record["run_id"]) / RECORD_FILE, reason))
    return kept, refused


def _usable_speeds(
    folder: Path, speeds: Sequence[Record], problems: Sequence[Problem]
) -> tuple[list[Record], list[Problem]]:
    """Part the speed records with figures from those without."""
    kept: list[Record] = []
    refused = list(problems)
    for speed in speeds:
        quantities = speed["quantities"]
        if isinstance(quantities, dict) and all(isinstance(value or {}, dict) for value in quantities.values()):
            kept.append(speed)
        else:
            path = folder / "speed" / f"{speed['arm_id']}-{speed['machine_id']}.json"
            refused.append(Problem(path, "quantities must be an object of objects"))
    return kept, refused


def _no_records(folder: Path, problems: Sequence[Problem]) -> ConfigurationError:
    """Return the error for a folder without records, with the likeliest mistake."""
    message = f"no record in {folder}: expected {folder / 'records' / 'RUN_ID' / RECORD_FILE}"
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        return ConfigurationError(
            f"{message}; not read: {'; '.join(f'{p.path}: {p.reason}' for p in problems[:3])}{more}"
        )
    if folder.name == "records" and any(folder.glob(f"*/{RECORD_FILE}")):
        return ConfigurationError(f"{message}; did you mean {folder.parent}?")
    inside = _results_in(folder)
    if inside:
        return ConfigurationError(f"{message}; did you mean one of {', '.join(str(folder / name) for name in inside)}?")
    return ConfigurationError(f"{message}; `poolbench train name={folder.name} …` makes some")
