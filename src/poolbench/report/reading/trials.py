"""The trials of tuned arms: which cells they are, at which points, and which point was best on validation."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from poolbench.errors import ConfigurationError
from poolbench.record import Problem, read_json, read_records, write_json
from poolbench.report.reading.arms import Record
from poolbench.report.reading.scores import reached
from poolbench.score import task_of
from poolbench.tuning import best

# Below the experiment's folder: the trials' sweep, and that of the tuned arms.
TRIALS, TUNED = "tune", "tuned"
FILE = "tune.json"


@dataclass(frozen=True)
class Trial:
    """One trial.

    Args:
        arm: digest of the arm at the shared recipe.
        point: its place among the points.
        values: of the settings, by dotted key.
    """

    arm: str
    point: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Trials:
    """What was tuned.

    Args:
        seed: of all trials.
        runs: the trials by their run.
        tuned: runs of the tuned arms, each with the digest of the arm at the shared recipe.
    """

    seed: int
    runs: Mapping[str, Trial]
    tuned: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the file into the trials' folder below the experiment's."""
        write_json(folder / TRIALS / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Trials | None":
        """Return what an experiment's folder holds, None where nothing was tuned.

        Raises:
            ConfigurationError: the file is none.
        """
        path = folder / TRIALS / FILE
        if not path.is_file():
            return None
        found = read_json(path)
        try:
            runs = {str(run): Trial(**trial) for run, trial in found["runs"].items()}
            return cls(int(found["seed"]), runs, dict(found["tuned"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{path} must hold `seed`, `runs` and `tuned`: {error}") from error


Tried = Mapping[str, Sequence[tuple[Trial, Record]]]


def trial_records(folder: Path, trials: Trials) -> tuple[Tried, list[Problem]]:
    """Return the trials that have a record, and the records that could not be read.

    Trials are by the digest of their arm at the shared recipe, in the points' order.
    """
    found: dict[str, list[tuple[Trial, Record]]] = defaultdict(list)
    records, problems = read_records(folder / TRIALS)
    for record in records:
        trial = trials.runs.get(str(record["run_id"]))
        if trial is not None:
            found[trial.arm].append((trial, record))
    return {arm: sorted(those, key=lambda one: one[0].point) for arm, those in found.items()}, problems


def score(record: Record) -> float:
    """Return a trial's score on validation, turned so that more is better; NaN where it did not finish."""
    return task_of(record)[1].sign * reached(record, "val") if record["status"] == "ok" else float("nan")


def best_points(tried: Tried) -> dict[str, Trial]:
    """Return each arm's best trial on validation, by the digest of the arm; arms without a score are left out.

    Args:
        tried: see `trial_records`.
    """
    result = {}
    for arm, those in tried.items():
        place = best([score(record) for _, record in those])
        if place is not None:
            result[arm] = those[place][0]
    return result
