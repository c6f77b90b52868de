"""Outcomes beside a record: which images were right, in which order their classes stand, and their groups."""

import io
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poolbench.record import OUTCOMES_FILE, write_bytes
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.report.reading.outcomes import UnknownOutcomesError, read_outcomes


def written(folder: Path, **arrays: Any) -> dict[str, Any]:
    """Write outcomes, and return a record that names them."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(value) for name, value in arrays.items()})
    write_bytes(folder / "records" / "one" / OUTCOMES_FILE, buffer.getvalue())
    return {"run_id": "one", "files": {OUTCOMES_FILE: sha256(buffer.getvalue()).hexdigest()}}


def test_groups_are_numbered_whatever_they_are_called(tmp_path: Path) -> None:
    record = written(tmp_path, target=[1, 0, 1], predicted=[1, 1, 1], group=["writer b", "writer a", "writer b"])
    found = read_outcomes(tmp_path, record)
    assert found.score.tolist() == [True, False, True]
    assert found.groups is not None
    assert found.groups.tolist() == [1, 0, 1]


def test_without_groups_there_are_none(tmp_path: Path) -> None:
    assert read_outcomes(tmp_path, written(tmp_path, target=[1, 0], predicted=[1, 1])).groups is None


def test_groups_of_other_images_are_refused(tmp_path: Path) -> None:
    record = written(tmp_path, target=[1, 0], predicted=[1, 1], group=[0, 0, 1])
    with pytest.raises(UnknownOutcomesError, match="groups of other images"):
        read_outcomes(tmp_path, record)


@pytest.mark.parametrize(("target", "ordered"), [([0, 0, 1, 2], True), ([0, 1, 0, 2], False)])
def test_classes_one_after_the_other_are_known_as_such(tmp_path: Path, target: list[int], ordered: bool) -> None:
    assert read_outcomes(tmp_path, written(tmp_path, target=target, predicted=target)).ordered is ordered


def test_a_report_counts_groups_and_not_their_images(results: Any) -> None:
    """40 writers of 5 images each, of which the arm gets some writers wrong: with groups the interval is wider."""
    widths = []
    for named in (False, True):
        for variant, share in (("max", 0.95), ("avg", 0.8)):
            for seed in range(3):
                writers = np.random.default_rng([seed % 2, len(variant)]).random(40) < share
                hits = np.repeat(writers, 5)
                record = results.add(variant, seed, right=hits.astype(int))
                if named:
                    path = results.folder / "records" / record["run_id"] / OUTCOMES_FILE
                    with np.load(path) as arrays:
                        content = dict(arrays) | {"group": np.arange(200) // 5 + 7}
                    buffer = io.BytesIO()
                    np.savez_compressed(buffer, **content)
                    write_bytes(path, buffer.getvalue())
                    record["files"][OUTCOMES_FILE] = sha256(buffer.getvalue()).hexdigest()
                    results.write(record)
        row = gather(load(results.folder)).tables["accuracy"].set_index("variant").loc["avg"]
        widths.append(row["difference_image_variance"])
    assert widths[1] > 3 * widths[0]
