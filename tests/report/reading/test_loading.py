"""What of a results folder counts, and what does not: each file that is left out is named with its reason."""

import io
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poolbench.record import OUTCOMES_FILE, SEAL
from poolbench.report.content import Content
from poolbench.report.make import gather
from poolbench.report.reading.loading import load

# Ten test images; the reference is right on 7 of them, the other arm on 8.
OF_MAX = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
OF_AVG = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]


def path_of(results: Any, record: dict[str, Any]) -> Path:
    return results.folder / "records" / record["run_id"] / "record.json"


def edit(path: Path, change: Callable[[dict[str, Any]], object], *, keep_seal: bool) -> None:
    """Change a record as a text editor does: the seal stays as it was, or is taken out."""
    content = json.loads(path.read_text())
    change(content)
    if not keep_seal:
        del content[SEAL]
    path.write_text(json.dumps(content))


def pairs(results: Any, seeds: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Write two arms with their outcomes; return their records."""
    return {
        variant: [results.add(variant, seed, right=right) for seed in range(seeds)]
        for variant, right in (("max", OF_MAX), ("avg", OF_AVG))
    }


def put_outcomes(results: Any, record: dict[str, Any], content: bytes) -> None:
    """Replace a record's outcomes by other bytes, and name them in the record."""
    path_of(results, record).with_name(OUTCOMES_FILE).write_bytes(content)
    results.write(record | {"files": {OUTCOMES_FILE: sha256(content).hexdigest()}})


def arrays(**named: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def of_avg(content: Content, column: str) -> Any:
    table = content.tables["accuracy"]
    return table.loc[table["variant"] == "avg", column].item()


def assert_falls_back(content: Content, why: str) -> None:
    """Assert that the seeds alone decide, and that the report says for which file."""
    assert of_avg(content, "difference_noise") == "seeds"
    assert np.isnan(of_avg(content, "difference_image_variance"))
    (warning,) = [warning for warning in content.warnings if "only seeds as noise" in warning]
    assert why in warning
    assert "unsafely" not in warning
    assert content.problems == []


class TestSeal:
    def test_an_edited_record_is_named_left_out_and_counted(self, results: Any) -> None:
        results.add("max", 0, 0.9)
        edited = path_of(results, results.add("max", 1, 0.8))
        edit(edited, lambda record: record["metrics"].update(test_accuracy=0.99), keep_seal=True)
        content = gather(load(results.folder))
        assert content.tables["accuracy"]["n_seeds"].tolist() == [1]
        assert content.tables["accuracy"]["test_accuracy_mean"].tolist() == [0.9]
        (problem,) = content.problems
        assert problem.path == edited
        assert "edited by hand" in problem.reason

    def test_spaces_and_order_are_no_content(self, results: Any) -> None:
        path = path_of(results, results.add())
        content = json.loads(path.read_text())
        path.write_text(json.dumps(dict(reversed(content.items())), indent=7))
        assert load(results.folder).problems == []

    def test_a_record_of_the_first_versions_has_none(self, results: Any) -> None:
        edit(path_of(results, results.add()), lambda record: None, keep_seal=False)
        loaded = load(results.folder)
        assert len(loaded.records) == 1
        assert loaded.problems == []

    @pytest.mark.parametrize("seal", ["", "0" * 32, 5, False, ["x"]])
    def test_one_that_cannot_be(self, results: Any, seal: Any) -> None:
        results.add(seed=0)
        edit(path_of(results, results.add(seed=1)), lambda record: record.update({SEAL: seal}), keep_seal=True)
        (problem,) = load(results.folder).problems
        assert "edited by hand" in problem.reason

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
    def test_an_edit_that_is_no_json_number(self, results: Any, value: str) -> None:
        results.add(seed=0)
        edited = path_of(results, results.add(seed=1, accuracy=0.8125))
        edited.write_text(edited.read_text().replace("0.8125", value))
        loaded = load(results.folder)
        assert [problem.path for problem in loaded.problems] == [edited]
        assert [record["seed"] for record in loaded.records] == [0]


class TestContradiction:
    def contradict(self, record: dict[str, Any]) -> None:
        record["metrics"]["test_accuracy"] = 0.9

    def check(self, results: Any, edited: Path) -> None:
        content = gather(load(results.folder))
        assert content.tables["accuracy"]["n_seeds"].tolist() == [1]
        assert content.tables["accuracy"]["test_accuracy_mean"].tolist() == [0.7]
        (problem,) = content.problems
        assert problem.path == edited
        assert "test_accuracy is 0.9, its images' outcomes say 0.7" in problem.reason

    def test_under_a_fresh_seal(self, results: Any) -> None:
        results.add(seed=0, right=OF_MAX)
        record = results.add(seed=1, right=OF_MAX)
        self.contradict(record)
        self.check(results, results.write(record))

    def test_without_a_seal(self, results: Any) -> None:
        results.add(seed=0, right=OF_MAX)
        path = path_of(results, results.add(seed=1, right=OF_MAX))
        edit(path, self.contradict, keep_seal=False)
        self.check(results, path)

    def test_one_image_of_many_is_enough(self, results: Any) -> None:
        right = [1] * 9_999 + [0]
        results.add(seed=0, right=right)
        record = results.add(seed=1, right=right)
        record["metrics"]["test_accuracy"] = 1.0
        path = results.write(record)
        assert [problem.path for problem in load(results.folder).problems] == [path]

    def test_a_rounding_is_none(self, results: Any) -> None:
        record = results.add(right=[1, 1, 0])
        record["metrics"]["test_accuracy"] = float(np.float32(2 / 3))
        results.write(record)
        assert load(results.folder).problems == []


class TestUnreadable:
    def test_another_schema_and_half_a_file(self, results: Any) -> None:
        results.add(seed=0)
        other = results.write(results.add(seed=1) | {"schema": 2})
        half = path_of(results, results.add(seed=2))
        half.write_text(half.read_text()[: half.stat().st_size // 2])
        reasons = {problem.path: problem.reason for problem in load(results.folder).problems}
        assert set(reasons) == {other, half}
        assert "schema 2, this version reads 1" in reasons[other]
        assert "not whole JSON" in reasons[half]

    def test_a_record_in_anothers_folder(self, results: Any) -> None:
        record = results.add(seed=0)
        copied = results.folder / "records" / "copy" / "record.json"
        copied.parent.mkdir()
        copied.write_bytes(path_of(results, record).read_bytes())
        loaded = load(results.folder)
        assert [problem.path for problem in loaded.problems] == [copied]
        assert len(loaded.records) == 1

    @pytest.mark.quick(2)
    @pytest.mark.parametrize("key", ["files", "times", "block_id", "arm_id"])
    def test_a_part_of_another_kind(self, results: Any, key: str) -> None:
        results.add(seed=0)
        path = results.write(results.add(seed=1, right=OF_MAX) | {key: ["no", "such"]})
        content = gather(load(results.folder))
        assert [problem.path for problem in content.problems] == [path]
        assert key in content.problems[0].reason

    @pytest.mark.quick(2)
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("{", "not whole JSON"),
            ("[]", "not an object"),
            ('{"question": 5}', "`question` must be a text, got 5"),
            ('{"published": [{"source": "A 2020"}]}', "`published[0]`: `variant` must be a text"),
        ],
    )
    def test_a_broken_experiment_hinders_no_report(self, results: Any, text: str, says: str) -> None:
        results.add()
        path = results.folder / "experiment.json"
        path.write_text(text)
        content = gather(load(results.folder))
        (problem,) = content.problems
        assert problem.path == path
        assert says in problem.reason
        assert content.experiment.name == "example"
        assert not content.experiment.says_something
        assert len(content.tables["accuracy"]) == 1


class TestOutcomes:
    def test_seeds_and_images_count_where_all_are_known(self, results: Any) -> None:
        pairs(results)
        content = gather(load(results.folder))
        assert of_avg(content, "difference_noise") == "seeds and images"
        # One image of ten is gained, by every seed: the mean squares are 3 · (.9² + 9 · .1²) / 9 = .3 and 0, which
        # makes .3 / 30 = .01; the least that ten images are given is 2 / (10 + 2)².
        assert of_avg(content, "difference_image_variance") == pytest.approx(2 / 144)
        assert not any("only seeds as noise" in warning for warning in content.warnings)

    def test_missing(self, results: Any) -> None:
        found = pairs(results)
        path_of(results, found["avg"][1]).with_name(OUTCOMES_FILE).unlink()
        assert_falls_back(gather(load(results.folder)), "avg, seed 1: outcomes.npz is missing")

    def test_not_named_by_the_record(self, results: Any) -> None:
        found = pairs(results)
        results.write(found["max"][2] | {"files": {}})
        assert_falls_back(gather(load(results.folder)), "max, seed 2: the record names no outcomes.npz")

    def test_of_another_digest(self, results: Any) -> None:
        found = pairs(results)
        path = path_of(results, found["avg"][0]).with_name(OUTCOMES_FILE)
        path.write_bytes(path_of(results, found["max"][0]).with_name(OUTCOMES_FILE).read_bytes())
        assert_falls_back(
            gather(load(results.folder)), "avg, seed 0: outcomes.npz is not the file that the record names"
        )

    def test_arms_tested_on_other_images(self, results: Any) -> None:
        found = pairs(results)
        target = np.arange(10)[::-1].copy()
        put_outcomes(results, found["avg"][0], arrays(target=target, predicted=np.where(np.array(OF_AVG), target, 99)))
        assert_falls_back(gather(load(results.folder)), "avg and max were not tested on the same examples")

    def test_several_are_counted(self, results: Any) -> None:
        for variant in ("max", "avg", "gap"):
            for seed in range(3):
                results.add(variant, seed)
        (warning,) = [text for text in gather(load(results.folder)).warnings if "only seeds as noise" in text]
        assert warning.endswith("avg, seed 0: the record names no outcomes.npz and 1 more")

    def test_an_object_array_is_not_unpickled(self, results: Any, tmp_path: Path) -> None:
        found = pairs(results)
        touched = tmp_path / "touched"
        content = arrays(target=np.array([_Touches(touched)], dtype=object), predicted=np.arange(1))
        put_outcomes(results, found["avg"][0], content)
        assert_falls_back(gather(load(results.folder)), "avg, seed 0: outcomes.npz is not an archive of plain arrays")
        assert not touched.exists()

    @pytest.mark.quick(3)
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"garbage", id="garbage"),
            pytest.param(b"", id="empty"),
            pytest.param(b"PK\x03\x04", id="a zip's beginning"),
            pytest.param(arrays(target=np.arange(10)), id="no predictions"),
            pytest.param(arrays(target=np.arange(10), predicted=np.arange(9)), id="unlike lengths"),
            pytest.param(arrays(target=np.arange(0), predicted=np.arange(0)), id="no image"),
            pytest.param(arrays(target=np.array(1), predicted=np.array(1)), id="no list"),
        ],
    )
    def test_other_content(self, results: Any, content: bytes) -> None:
        put_outcomes(results, pairs(results)["avg"][0], content)
        assert_falls_back(gather(load(results.folder)), "avg, seed 0: outcomes.npz")

    def test_a_lone_array(self, results: Any) -> None:
        buffer = io.BytesIO()
        np.save(buffer, np.arange(10))
        put_outcomes(results, pairs(results)["avg"][0], buffer.getvalue())
        assert_falls_back(gather(load(results.folder)), "avg, seed 0: outcomes.npz")

    def test_a_flipped_bit_in_what_is_compressed(self, results: Any) -> None:
        content = bytearray(arrays(target=np.arange(1_000), predicted=np.arange(1_000)))
        content[60:90] = b"\xff" * 30
        put_outcomes(results, pairs(results)["avg"][0], bytes(content))
        assert_falls_back(gather(load(results.folder)), "avg, seed 0: outcomes.npz")


class _Touches:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
