"""Each test example's outcome, as the cells left it in `outcomes.npz` beside their record."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poolbench.record import OUTCOMES_FILE
from poolbench.report.reading.arms import Record, section

# Whether a classification was right, or the score of another task.
Scores = NDArray[np.bool_] | NDArray[np.float64]
# Name of the array that says which images have one origin.
GROUP = "group"
# Name of the array that says into which stratum of the test set each falls.
STRATUM = "stratum"


class UnknownOutcomesError(Exception):
    """The images' outcomes of a cell are not known; the message says why."""


@dataclass(frozen=True)
class Outcomes:
    """What a cell's test examples scored.

    Args:
        score: of each example, (N,): whether it was classified right, or the score of another task, float64.
        target: a digest of the targets: equal ones, equal examples in order.
        ordered: whether the true classes never fall, as in a folder that is read class by class: then equal ones may be
            those of other images.
        groups: a number for each image, (N,), equal where images have one origin (a writer, a patient, a volume); None
            where the file names no groups.
        strata: the stratum of each, (N,), by its place among the names that the record has; None where it has none.
    """

    score: Scores
    target: bytes
    ordered: bool = False
    groups: NDArray[np.int64] | None = None
    strata: NDArray[np.int64] | None = None


def read_outcomes(folder: Path, record: Record, score: str = "") -> Outcomes:
    """Return the outcomes of one cell, checked against its record.

    Args:
        folder: the results folder.
        record: of a cell that finished.
        score: the array with each example's score; empty: the primary score's.

    Raises:
        UnknownOutcomesError: the file is missing, is not the one that the record names, or does not hold such scores.
    """
    path = folder / "records" / str(record["run_id"]) / OUTCOMES_FILE
    named = section(record, "files").get(OUTCOMES_FILE)
    if not named:
        raise UnknownOutcomesError(f"the record names no {OUTCOMES_FILE}")
    try:
        content = path.read_bytes()
    except OSError:
        raise UnknownOutcomesError(f"{OUTCOMES_FILE} is missing") from None
    if sha256(content).hexdigest() != named:
        raise UnknownOutcomesError(f"{OUTCOMES_FILE} is not the file that the record names")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            target, found = arrays["target"], arrays[score].astype(np.float64) if score else _scores(arrays)
            group, stratum = arrays.get(GROUP), arrays.get(STRATUM)
    except Exception as error:  # whatever a damaged archive makes numpy and zipfile raise
        # Numpy's own words advise to unpickle what nobody knows.
        reason = f"{OUTCOMES_FILE} is not an archive of plain arrays ({type(error).__name__})"
        raise UnknownOutcomesError(reason) from error
    if found.ndim != 1 or target.shape[:1] != found.shape or not len(found):
        raise UnknownOutcomesError(f"{OUTCOMES_FILE} holds no image's outcome")
    if not np.isfinite(found).all():
        raise UnknownOutcomesError(f"{OUTCOMES_FILE} holds scores that are no numbers")
    for each, what in ((group, "groups"), (stratum, "strata")):
        if each is not None and each.shape != found.shape:
            raise UnknownOutcomesError(f"{OUTCOMES_FILE} names {what} of other images than it has outcomes of")
    return Outcomes(
        score=found,
        target=sha256(np.ascontiguousarray(target).tobytes()).digest(),
        # Of numbers and class maps, equal ones are those of equal examples.
        ordered=found.dtype == np.bool_ and bool((target[1:] >= target[:-1]).all()),
        groups=None if group is None else np.unique(group, return_inverse=True)[1].astype(np.int64),
        strata=None if stratum is None else stratum.astype(np.int64),
    )


def _scores(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return each example's score: as stored, or whether its class was found."""
    if "score" in arrays:
        return arrays["score"].astype(np.float64)
    target, predicted = arrays["target"], arrays["predicted"]
    if target.ndim != 1 or target.shape != predicted.shape:
        return np.empty(0)
    right: np.ndarray = target == predicted
    return right


class OutcomeFiles:
    """The outcomes of a folder's cells, each file read once.

    Args:
        folder: the results folder.
        score: the array with each example's score; empty: the primary score's.
    """

    def __init__(self, folder: Path, score: str = "") -> None:
        self.folder = folder
        self.score = score
        self.known: dict[str, Outcomes | UnknownOutcomesError] = {}
        self.further: dict[str, OutcomeFiles] = {}

    def by(self, score: str) -> "OutcomeFiles":
        """Return the same cells' outcomes by a score that they have beside the primary one."""
        return self.further.setdefault(score, OutcomeFiles(self.folder, score))

    def of(self, record: Record) -> Outcomes:
        """Return one cell's outcomes; raise `UnknownOutcomesError` as `read_outcomes` does."""
        run_id = str(record["run_id"])
        if run_id not in self.known:
            try:
                self.known[run_id] = read_outcomes(self.folder, record, self.score)
            except UnknownOutcomesError as error:
                self.known[run_id] = error
        found = self.known[run_id]
        if isinstance(found, UnknownOutcomesError):
            raise found
        return found
