"""Reports of records whose looks were declared: which seeds count, what is said, what the rounds go on with."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from poolbench.declared import Declared, seeds_in_order
from poolbench.errors import ConfigurationError
from poolbench.experiment import Experiment, read_experiment, write_experiment
from poolbench.report.make import gather
from poolbench.report.reading.loading import load
from poolbench.sweep.rounds import seeds_wanted

DECLARED = Declared(tuple(range(20)))
# What `max` reaches with each seed; the other arms differ from it by what the tests say.
BASE = 0.8 + 0.01 * np.random.default_rng(0).standard_normal(40)
CLEAR = 0.1 + 0.001 * np.random.default_rng(1).standard_normal(40)
OPEN = 0.02 * np.random.default_rng(2).standard_normal(40)


def declare(results: Any, declared: Declared = DECLARED) -> None:
    write_experiment(results.folder, replace(Experiment(results.folder.name), declared=declared))


def add(results: Any, seeds: range, *variants: tuple[str, np.ndarray], **more: Any) -> None:
    for seed in seeds:
        results.add("max", seed, float(BASE[seed]), **more)
        for variant, difference in variants:
            results.add(variant, seed, float(BASE[seed] + difference[seed]), **more)


def rows(results: Any, table: str = "accuracy") -> dict[str, dict[str, Any]]:
    found = gather(load(results.folder)).tables[table]
    return {row["variant"]: row for row in found.to_dict("records")}


def test_what_was_declared_is_written_and_read_and_old_files_have_none(tmp_path: Any) -> None:
    write_experiment(tmp_path, replace(Experiment(tmp_path.name), declared=replace(DECLARED, cells_before=4)))
    assert read_experiment(tmp_path).declared == replace(DECLARED, cells_before=4)
    write_experiment(tmp_path, Experiment(tmp_path.name, "Why?"))
    assert "declared" not in json.loads((tmp_path / "experiment.json").read_text())
    assert read_experiment(tmp_path).declared is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"order": [0, 1]}, "must name the 20 seeds once"),
        ({"order": [0] * 20}, "must name the 20 seeds once"),
        ({"order": None}, "must be a list of seeds"),
        ({"looks": []}, "`looks` must be a list"),
        ({"looks": [{"seeds": 3}]}, "`looks` must be a list"),
        ({"cells_before": -1}, "`cells_before` must be"),
        ({"more": 1}, "must have `order`"),
    ],
)
def test_what_declares_no_looks_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"here.*{said}"):
        Declared.of(DECLARED.content() | change, "here")


def test_seeds_are_those_given_and_those_after_them() -> None:
    assert seeds_in_order([0], 20) == tuple(range(20))
    assert seeds_in_order([100, 101, 102], 20) == tuple(range(100, 120))
    with pytest.raises(ConfigurationError, match=r"20 seeds at most.*21"):
        seeds_in_order(range(21), 20)


def test_a_clear_arm_is_decided_at_the_first_look_and_stays_so(results: Any) -> None:
    declare(results)
    add(results, range(3), ("avg", CLEAR), ("gap", OPEN))
    first = rows(results)
    assert (first["avg"]["verdict"], first["avg"]["look_seeds"], first["avg"]["look_alpha"]) == ("better", 3, 0.005)
    assert (first["gap"]["verdict"], first["gap"]["next_look_seeds"]) == ("undecided", 5)
    # The others go on; `avg` gets seeds, too, which another command asked for: they change nothing.
    add(results, range(3, 5), ("avg", -CLEAR), ("gap", OPEN))
    second = rows(results)
    for column in ("verdict", "look_seeds", "n_paired", "difference_mean", "difference_holm_low"):
        assert second["avg"][column] == first["avg"][column]
    assert (second["gap"]["n_paired"], second["gap"]["look_alpha"], second["gap"]["next_look_seeds"]) == (5, 0.01, 10)


def test_between_two_looks_the_last_one_holds(results: Any) -> None:
    declare(results)
    add(results, range(4), ("gap", OPEN))
    found = rows(results)["gap"]
    assert (found["n_paired"], found["look_seeds"], found["next_look_seeds"]) == (3, 3, 5)
    assert found["difference_mean"] == pytest.approx(OPEN[:3].mean())


def test_seeds_count_in_their_declared_order(results: Any) -> None:
    order = (9, 4, 7, *(seed for seed in range(20) if seed not in (4, 7, 9)))
    declare(results, Declared(order))
    add(results, range(10), ("gap", OPEN))
    assert rows(results)["gap"]["difference_mean"] == pytest.approx(OPEN[:10].mean())
    for seed in range(10):
        if seed not in order[:3]:
            (record,) = results.folder.glob(f"records/*gap*-s{seed}-*/record.json")
            record.unlink()
    assert rows(results)["gap"]["difference_mean"] == pytest.approx(OPEN[[9, 4, 7]].mean())


def test_a_decided_arm_is_not_flagged_for_the_seeds_that_it_was_spared(results: Any) -> None:
    declare(results)
    add(results, range(3), ("avg", CLEAR), ("gap", OPEN))
    add(results, range(3, 5), ("gap", OPEN))
    assert "unpaired" not in rows(results)["avg"]["flags"]
    assert not [warning for warning in gather(load(results.folder)).warnings if "different seeds" in warning]
    (record,) = results.folder.glob("records/*gap*-s3-*/record.json")
    record.unlink()  # but one in the midst of its seeds is missed
    assert "gap lacks 3" in " ".join(gather(load(results.folder)).warnings)


def test_the_rule_is_said_and_what_lies_beyond_it(results: Any) -> None:
    add(results, range(3), ("gap", OPEN))
    assert gather(load(results.folder)).rule == ""
    declare(results, replace(DECLARED, cells_before=6))
    content = gather(load(results.folder))
    assert "looks at 3, 5, 10 and 20 seeds" in content.rule
    assert "declared when 6 cells had been run" in content.rule
    assert "beyond" not in content.rule
    assert content.rule in content.head
    assert "next look at 5 seeds" in " ".join(content.words)
    declare(results)
    add(results, range(3, 25), ("gap", OPEN))
    content = gather(load(results.folder))
    assert "the 5 seeds beyond the last look count in no verdict" in content.rule
    found = rows(results)["gap"]
    assert (found["n_paired"], found["look_alpha"]) == (20, 0.02)
    assert found["difference_mean"] == pytest.approx(OPEN[:20].mean())
    assert "after the last look" in " ".join(content.words)


def test_over_blocks_the_looks_hold_too(results: Any) -> None:
    declare(results)
    for dataset in ("digits", "translated_digits"):
        add(results, range(3), ("avg", CLEAR), ("gap", OPEN), dataset=dataset, fingerprint=dataset)
    # One block goes on; over both, only the seeds of both make a look.
    add(results, range(3, 5), ("gap", OPEN), dataset="digits", fingerprint="digits")
    found = rows(results, "over_blocks")
    assert (found["avg"]["verdict"], found["avg"]["look_alpha"], found["avg"]["n_seeds"]) == ("better", 0.005, 3)
    assert (found["gap"]["look_seeds"], found["gap"]["next_look_seeds"]) == (3, 5)
    assert found["gap"]["difference_mean"] == pytest.approx(OPEN[:3].mean())


def test_rounds_go_on_with_undecided_arms_and_their_reference(results: Any) -> None:
    declare(results)
    add(results, range(3), ("avg", CLEAR), ("gap", OPEN))
    assert wanted_by_arm(results) == {"max": 5, "gap": 5, "avg": 3}


def test_a_seed_that_failed_is_not_waited_for(results: Any) -> None:
    declare(results)
    add(results, range(3), ("gap", OPEN))
    results.add("max", 3, float(BASE[3]))
    results.add("gap", 3, None, status="diverged")
    add(results, range(4, 5), ("gap", OPEN))
    assert wanted_by_arm(results)["gap"] == 10
    assert rows(results)["gap"]["n_paired"] == 4
    assert "1 of 5 cells diverged" in rows(results)["gap"]["flags"]


def test_an_interrupted_one_is(results: Any) -> None:
    declare(results)
    add(results, range(2), ("gap", OPEN))
    results.add("max", 2, float(BASE[2]))
    results.add("gap", 2, None, status="interrupted")
    assert wanted_by_arm(results)["gap"] == 3


def test_looks_that_keep_no_level_are_a_file_that_cannot_be_read(results: Any) -> None:
    add(results, range(3), ("gap", OPEN))
    content = DECLARED.content()
    content["looks"][0]["alpha"] = 0.5
    (results.folder / "experiment.json").write_text(json.dumps({"declared": content}))
    loaded = load(results.folder)
    assert loaded.experiment.declared is None
    assert "add up to at most 0.05" in loaded.problems[0].reason


def wanted_by_arm(results: Any) -> dict[str, int]:
    """Return how many seeds each arm needs, by its variant."""
    names = {record["arm_id"]: record["labels"]["variant"] for record in load(results.folder).records}
    return {names[arm_id]: n for arm_id, n in seeds_wanted(results.folder, DECLARED).items()}


def test_the_legend_names_the_level_of_the_look(results: Any) -> None:
    add(results, range(3), ("gap", OPEN))
    said = " ".join(gather(load(results.folder)).head)
    assert "two one-sided tests, each at 5 %" in said
    assert "declared look" not in said
    declare(results)
    said = " ".join(gather(load(results.folder)).head)
    assert "two one-sided tests, each at the level of its declared look" in said
    assert "at 5 %" not in said
    # One arm, at the level of the first look.
    found = rows(results)["gap"]
    assert found["difference_holm_level"] == pytest.approx(1 - found["look_alpha"])
