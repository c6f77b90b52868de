"""What a results folder holds: records, speed records, outcomes, and the files that cannot be taken for any of them."""

import marshal
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.experiment import EXPERIMENT_FILE, Experiment, read_experiment
from poolbench.folders import check_exists, results_in
from poolbench.record import RECORD_FILE, Problem, damaged_files, read_records, read_speeds
from poolbench.report.encodable import encodable
from poolbench.report.reading import scores
from poolbench.report.reading.arms import Record, fault
from poolbench.report.reading.comparability import shortened
from poolbench.report.reading.outcomes import OutcomeFiles, UnknownOutcomesError
from poolbench.report.reading.scores import judged_by, reached
from poolbench.report.statistics.declared_looks import check
from poolbench.score import beside_of, task_of

# An accuracy is a whole number of images: another one is no rounding; nor is a mean of other scores.
ROUNDING = 1e-6
# Where nothing can be read, more files than this are counted.
MOST_PROBLEMS = 3
# Of a record, what the cells of an arm, or of a whole experiment, have in common.
PARTS = ("labels", "audit", "cost", "data", "streams", "provenance")
TEXTS = ("experiment", "reason", "reference", "traceback")


@dataclass(frozen=True)
class Loaded:
    """A results folder as it was read.

    Args:
        folder: the results folder.
        experiment: what it is about.
        records: those that count.
        speeds: speed records that count.
        outcomes: of its cells' test images.
        problems: files that do not count, with the reason.
        damaged: files beside records that count, which are not what the record names, by path below `records`.
    """

    folder: Path
    experiment: Experiment
    records: list[Record]
    speeds: list[Record]
    outcomes: OutcomeFiles
    problems: list[Problem]
    damaged: list[str]


def load(folder: Path) -> Loaded:
    """Read a results folder; raise `ConfigurationError` when it is absent or holds no record that counts."""
    check_exists(folder)
    outcomes = OutcomeFiles(folder)
    records, problems = _usable(folder, outcomes, *read_records(folder))
    speeds, unread = _usable_speeds(folder, *read_speeds(folder))
    problems += unread
    if not records:
        raise _no_records(folder, problems)
    try:
        experiment = read_experiment(folder)
        if experiment.declared:
            check(experiment.declared.looks)
    except (ConfigurationError, OSError, ValueError) as error:
        experiment = Experiment(folder.resolve().name)
        problems.append(Problem(folder / EXPERIMENT_FILE, str(error)))
    return Loaded(folder, experiment, records, speeds, outcomes, problems, _damaged(folder, records))


def _damaged(folder: Path, records: Sequence[Record]) -> list[str]:
    """Name every file beside a record that is there and not what the record names; records without files are usual."""
    folders = [folder / "records" / str(record["run_id"]) for record in records]
    with ThreadPoolExecutor() as pool:  # a digest lets other threads run
        found = list(pool.map(damaged_files, folders, records))
    return [
        f"{place.name}/{name}"
        for place, files in zip(folders, found, strict=True)
        for name in files
        if (place / name).is_file()
    ]


def _usable(
    folder: Path, outcomes: OutcomeFiles, records: Sequence[Record], problems: Sequence[Problem]
) -> tuple[list[Record], list[Problem]]:
    """Part the records that can be used from those that cannot."""
    kept: list[Record] = []
    known: dict[bytes, Any] = {}
    refused = list(problems)
    for record in records:
        reason = fault(record) or scores.fault(record) or _contradiction(record, outcomes)
        if reason is None:
            kept.append(_shared(record, known))
        else:
            refused.append(Problem(folder / "records" / str(record["run_id"]) / RECORD_FILE, reason))
    return kept, refused


def _shared(record: Record, known: dict[bytes, Any]) -> Record:
    """Return the record with the parts that others have, too, held once for all: most of it is the arm's.

    Its texts can be shown: those of paths need not be UTF-8.
    """

    def once(value: Any) -> Any:
        key = marshal.dumps(value)
        if key not in known:
            known[key] = encodable(value)
        return known[key]

    parts = {key: once(record[key]) for key in PARTS if key in record}
    parts |= {key: encodable(record[key]) for key in TEXTS if key in record}
    return {**record, **parts, "config": {key: once(value) for key, value in record["config"].items()}}


def _contradiction(record: Record, outcomes: OutcomeFiles) -> str | None:
    """Return in which way a record does not fit the outcomes beside it, or None."""
    if record["status"] != "ok":
        return None
    further = (_differs(judged_by(record, score), outcomes.by(score.name)) for score in beside_of(record))
    return _differs(record, outcomes) or next(filter(None, further), None)


def _differs(record: Record, outcomes: OutcomeFiles) -> str | None:
    score = reached(record)
    if math.isnan(score):
        return None
    try:
        found = float(outcomes.of(record).score.mean())
    except UnknownOutcomesError:
        return None  # said where the interval falls back
    if abs(found - score) <= ROUNDING * max(1.0, abs(score)):
        return None
    return f"test_{task_of(record)[1].name} is {score:.6g}, its images' outcomes say {found:.6g}: edited by hand?"


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
        found = shortened([f"{problem.path}: {problem.reason}" for problem in problems], MOST_PROBLEMS, "; ")
        return ConfigurationError(f"{message}; not read: {found}")
    if folder.name == "records" and any(folder.glob(f"*/{RECORD_FILE}")):
        return ConfigurationError(f"{message}; did you mean {folder.parent}?")
    inside = results_in(folder)
    if inside:
        return ConfigurationError(f"{message}; did you mean one of {', '.join(str(folder / name) for name in inside)}?")
    return ConfigurationError(f"{message}; `poolbench train name={folder.name} …` makes some")
