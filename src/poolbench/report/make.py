"""From a results folder to its tables, its figures and its pages."""

import io
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from poolbench.errors import ConfigurationError
from poolbench.experiment import Experiment
from poolbench.record import RECORD_FILE, Problem, write_bytes
from poolbench.report.content import Content
from poolbench.report.encodable import encodable_table, encoded
from poolbench.report.painter import Painter
from poolbench.report.reading.arms import Block, group
from poolbench.report.reading.comparability import LEAST_GROUPS, NotCompared, not_compared, shortened, warnings
from poolbench.report.reading.loading import Loaded, check_exists, load
from poolbench.report.reading.trials import FILE, TRIALS
from poolbench.report.statistics.across import across
from poolbench.report.statistics.best_test_epoch import best_test_epochs
from poolbench.report.statistics.comparison import Compared, compare_blocks
from poolbench.report.statistics.declared_looks import said
from poolbench.report.statistics.over_blocks import over_blocks, shared_images
from poolbench.report.statistics.pairing import gained
from poolbench.report.tables import frames as tables
from poolbench.report.tables.across_frames import across_tables
from poolbench.report.tables.beside import beside
from poolbench.report.tables.networks import networks
from poolbench.report.tables.over_blocks_frame import over_blocks_frame
from poolbench.report.tables.strata import strata
from poolbench.report.text import latex, markdown, published, terminal
from poolbench.report.text import over_blocks as over_blocks_text
from poolbench.report.text.asides import asides
from poolbench.report.text.legend import head_lines
from poolbench.report.text.spoken import spoken
from poolbench.report.text.views import rows_by_arm, view
from poolbench.report.text.words import verdict_words
from poolbench.report.tuned import Tuned, tuned
from poolbench.writable import PROBE_BYTES

PAGE = "report.html"
# Figures that the page holds as they are; all others it draws itself.
PICTURES = ("pictures.png",)


@dataclass(frozen=True)
class Report:
    """What was made of a folder's records.

    `shown_as` is the name by which loggers were shown the cells; `question` what the experiment asks; `tables` are
    those of `poolbench.report.content.Content`; `words` the verdict in words; `warnings` what a reader must know before
    comparing; `not_compared` the cells that did not finish; `problems` the files that could not be read; `files` what
    was written.
    """

    folder: Path
    shown_as: str
    question: str
    tables: dict[str, pd.DataFrame]
    words: list[str]
    warnings: list[str]
    not_compared: list[NotCompared]
    problems: list[Problem]
    files: list[Path]


def make_report(
    folder: Path, *, console: Console | None = None, shown: terminal.Shown = terminal.Shown.TABLES
) -> Report:
    """Read the records in `folder`, write tables, figures and pages beside them, and print the tables.

    `shown` says how much is printed. Each file is written under a temporary name and renamed; equal records give equal
    bytes, so that two reports at once do no harm.

    Raises `ConfigurationError` when the folder is absent, cannot be written or holds no record.
    """
    folder = Path(folder)
    check_exists(folder)
    check_writable(folder)
    with Painter(sum(1 for _ in folder.glob(f"records/*/{RECORD_FILE}"))) as painter:
        content = gather(load(folder))
        painter.begin(content)
        files = table_files(content.tables) | {
            "summary.md": encoded(markdown.summary(content)),
            "summary.tex": encoded(
                latex.tables(content.blocks, content.views, content.rows, content.over_view, asides(content))
            ),
        }
        # Imported here, while the second process draws: they take as long to import as all else to compute.
        from poolbench.report import figures, page

        files |= figures.files(content, [name for name in figures.DRAWINGS if name not in painter.share])
        files[PAGE] = page.html(content, *[files[name] for name in PICTURES if name in files])
        files |= painter.files(content)
    optional = {*figures.NAMES, *(f"{name}.{form}" for name in tables.NAMES for form in ("csv", "parquet"))}
    written = write_files(folder, files, optional)
    # First written, then printed: what is at the other end of the output may end it at any time.
    console = console or terminal.open_console()
    terminal.show(console, content, shown)
    terminal.show_files(console, folder, written)
    return Report(
        folder=folder,
        shown_as=content.shown_as,
        question=content.experiment.question,
        tables=dict(content.tables),
        words=content.words,
        warnings=content.warnings,
        not_compared=content.not_compared,
        problems=content.problems,
        files=written,
    )


def gather(loaded: Loaded) -> Content:
    """Return what the report of a results folder says."""
    blocks, notes = group(loaded.records)
    declared = loaded.experiment.declared
    compared = compare_blocks(blocks, loaded.outcomes, declared)
    made, told_of_speed = tables.build(blocks, loaded.speeds, compared)
    over = over_blocks(blocks, compared, loaded.outcomes, declared=declared)
    over_table = over_blocks_frame(over)
    over_all = across(blocks, shared_images(blocks, loaded.outcomes))
    summary = tables.with_scores(made)
    words = verdict_words(blocks, rows_by_arm(summary))
    rule = said(declared, (record["seed"] for record in loaded.records)) if declared else ""
    rows = rows_by_arm(summary)
    tuning, untold = _tuned(loaded.folder, blocks, compared)
    by_stratum = strata(blocks, loaded.outcomes)
    by_network, told_of_networks = networks(blocks, loaded.experiment.reference_backbone, loaded.outcomes, declared)
    further = beside(loaded.records, loaded.outcomes, declared)
    return Content(
        folder=loaded.folder,
        experiment=loaded.experiment,
        blocks=blocks,
        tables=made
        | _published(loaded.experiment, made["accuracy"])
        | {"over_blocks": over_table}
        | across_tables(over_all)
        | ({"beside": further} if len(further) else {})
        | ({"networks": by_network} if len(by_network) else {})
        | ({"strata": by_stratum} if len(by_stratum) else {})
        | _best_test_epoch(blocks)
        | ({"tuned": tuning.table} if tuning else {}),
        over_blocks=over,
        across=over_all,
        rule=rule,
        head=head_lines(summary, blocks) + ([over_blocks_text.HOW] if over else []) + ([rule] if rule else []),
        spoken=spoken(blocks, rows, over_blocks_text.rows(over, over_table)),
        # After what is said of all blocks, before each of them.
        words=[*words[:1], *over_blocks_text.words(over, over_table), *words[1:], *(tuning.words if tuning else [])],
        tuning=tuning.words if tuning else [],
        views=[view(block, rows) for block in blocks],
        over_view=over_blocks_text.view(over, over_table),
        pairing=[str(gain) for block in blocks if (gain := gained(block))],
        warnings=notes
        + (tuning.notes if tuning else [])
        + warnings(blocks, declared.order if declared else ())
        + without_outcomes([*compared.values(), *(tuning.compared.values() if tuning else [])])
        + _few_groups(blocks, compared)
        + _damaged([*loaded.damaged, *(tuning.damaged if tuning else [])])
        + told_of_speed
        + told_of_networks,
        not_compared=not_compared(blocks) + (tuning.not_compared if tuning else []),
        problems=loaded.problems + untold,
    )


def _tuned(folder: Path, blocks: list[Block], compared: dict[str, Compared]) -> tuple[Tuned | None, list[Problem]]:
    try:
        found = tuned(folder, blocks, compared)
    except (ConfigurationError, OSError) as error:
        return None, [Problem(folder / TRIALS / FILE, str(error))]
    return found, found.problems if found else []


def _published(experiment: Experiment, accuracy: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {"published": published.beside(experiment, accuracy)} if experiment.published else {}


def _best_test_epoch(blocks: list[Block]) -> dict[str, pd.DataFrame]:
    rows = best_test_epochs(blocks)
    return {"best_test_epoch": tables.frame("best_test_epoch", rows)} if rows else {}


def without_outcomes(compared: Iterable[Compared]) -> list[str]:
    """Say where intervals leave the test images out, and why."""
    unknown = [one.unknown for one in compared if one.unknown]
    if not unknown:
        return []
    return [
        "intervals count only seeds as noise where it is not known what other test examples would add: "
        f"{shortened(unknown, 1)}"
    ]


def _few_groups(blocks: list[Block], compared: dict[str, Compared]) -> list[str]:
    """Say where the test images come in so few groups that intervals are too narrow for arms that are far apart."""
    notes = []
    for block in blocks:
        found = [one.found for arm in block.arms if (one := compared.get(arm.arm_id)) and one.found]
        # Groups of unequal size count as fewer.
        units = [each.units for one in found for each in one.independent if each.units < (each.images or 0)]
        if units and min(units) < LEAST_GROUPS:
            notes.append(
                f"{block.title}: its test images come in groups that weigh as {min(units):.3g} of equal size: with "
                f"fewer than {LEAST_GROUPS} intervals are too narrow where arms do unlike in different groups"
            )
    return notes


def _damaged(files: list[str]) -> list[str]:
    """Say which files are not what was written; the figures are their records' own."""
    if not files:
        return []
    return [
        f"files changed since they were written, by their digest: {', '.join(files)}; `poolbench train … "
        "force=damaged` trains their cells again"
    ]


def table_files(made: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Return each table as CSV and as Parquet, by file name."""
    files = {}
    for name, table in made.items():
        table = encodable_table(table)
        files[f"{name}.csv"] = encoded(tables.csv(table))
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False, engine="pyarrow")
        files[f"{name}.parquet"] = buffer.getvalue()
    return files


def write_files(folder: Path, files: Mapping[str, bytes], optional: Iterable[str] = ()) -> list[Path]:
    """Write the files into the folder, each whole; remove those of `optional` that an earlier report left.

    Raises `ConfigurationError` where a folder has the name of one of the files; nothing is written then.
    """
    for name in files:
        if (folder / name).is_dir():
            raise ConfigurationError(f"{folder / name} is a folder, and the report writes a file of that name; move it")
    for name, content in files.items():
        write_bytes(folder / name, content)
    for name in set(optional) - set(files):
        (folder / name).unlink(missing_ok=True)
    return [folder / name for name in files]


def check_writable(folder: Path) -> None:
    """Raise before anything is computed if the report could not be written afterwards."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # A full disk takes an empty file.
            file.write(bytes(PROBE_BYTES))
    except OSError as error:
        raise ConfigurationError(
            f"the results folder {folder} cannot be written ({error.strerror or error}); "
            "change its permissions, or copy it to where you may write and report the copy"
        ) from error
