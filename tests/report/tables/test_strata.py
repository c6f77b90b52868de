"""Scores by stratum of the test set, from outcomes that name strata."""

import io
from hashlib import sha256

import numpy as np
import pytest

from poolbench.record import OUTCOMES_FILE, write_bytes
from poolbench.report import page
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.report.reading.outcomes import UnknownOutcomesError

NAMES = ["1–50", "51–100"]


def add(results, variant, seed, right, strata):
    """Write a record whose outcomes name the stratum of each image."""
    record = results.add(variant, seed, right=right)
    target = np.arange(len(right), dtype=np.int16) % 10
    buffer = io.BytesIO()
    predicted = np.where(right, target, 10).astype(np.int16)
    np.savez_compressed(buffer, target=target, predicted=predicted, stratum=np.array(strata, np.int32))
    write_bytes(results.folder / "records" / record["run_id"] / OUTCOMES_FILE, buffer.getvalue())
    record["files"][OUTCOMES_FILE] = sha256(buffer.getvalue()).hexdigest()
    record["data"]["strata"] = NAMES
    results.write(record)


def test_accuracy_of_each_stratum_is_that_of_its_examples(results):
    strata = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    for seed, wrong in enumerate(([4, 5, 6], [4, 5, 0])):
        add(results, "max", seed, [place not in wrong for place in range(10)], strata)
        add(results, "avg", seed, [True] * 10, strata)
    content = gather(load(results.folder))
    rows = {(row["variant"], row["stratum"]): row for row in content.tables["strata"].to_dict("records")}
    assert list(rows) == [("max", "1–50"), ("max", "51–100"), ("avg", "1–50"), ("avg", "51–100")]
    first, second = rows["max", "1–50"], rows["max", "51–100"]
    assert (first["test_examples"], second["test_examples"], first["n_seeds"]) == (4, 6, 2)
    assert first["score_mean"] == pytest.approx((4 / 4 + 3 / 4) / 2)
    assert second["score_mean"] == pytest.approx((3 / 6 + 4 / 6) / 2)
    # Student's t with one degree of freedom, 12.706, times s/√2 = 1/8.
    assert first["score_ci95_high"] - first["score_mean"] == pytest.approx(12.7062 / 8, rel=1e-4)
    assert (first["task"], first["score"], first["better"]) == ("classification", "accuracy", "higher")
    text = page.html(content).decode()
    assert "By stratum of the test set" in text
    assert ">51–100</th>" in text


def test_where_no_strata_are_named_there_is_no_table_and_no_section(results):
    results.add("max", 0, right=[True] * 10)
    content = gather(load(results.folder))
    assert "strata" not in content.tables
    assert "By stratum" not in page.html(content).decode()


def test_strata_of_other_examples_are_not_counted(results):
    add(results, "max", 0, [True] * 10, [0, 1])
    loaded = load(results.folder)
    assert "strata" not in gather(loaded).tables
    with pytest.raises(UnknownOutcomesError, match="names strata of other images"):
        loaded.outcomes.of(loaded.records[0])
