"""One cell never harms another: whatever it does to its process, the others are trained and its record says why."""

from pathlib import Path

import pytest
from faults.crowd import Crowd, asked, planned, records, run_alone

from poolbench.record import RECORD_FILE
from poolbench.sweep.claims import Claims
from poolbench.sweep.plan import PlanFolder, PlannedSweep
from poolbench.sweep.processes import Nursery


def bad(name: str, seed: int = 0, **protocol: object):
    own = {key: protocol.pop(key) for key in ("mark",) if key in protocol}
    pool = {"name": name.lower(), "downsample": {"_target_": f"faults.bad_pools.{name}", **own}, "head": None}
    return asked(pool, seed, **protocol)


def by_variant(plan: PlanFolder) -> dict[str, dict]:
    return {record["labels"]["variant"]: record for record in records(plan).values()}


def done_by_many(plan: PlanFolder, sweep: PlannedSweep, nursery: Nursery, workers: int = 2) -> dict[str, dict]:
    with Crowd(plan, sweep, workers, nursery) as crowd:
        crowd.kill_some(0, every_s=1)
        crowd.require_done_once()
    return by_variant(plan)


@pytest.mark.slow
def test_what_a_process_survives_takes_no_worker(tmp_path: Path, nursery: Nursery) -> None:
    names = ("Raises", "Exits", "Memory", "Infinite")
    plan, sweep = planned(tmp_path, [*map(bad, names), bad("Sleeps", time_limit=1), asked("avg")])
    # One worker does them all: none of them ends it. Sleeping is interrupted after half a minute without a sign.
    assert run_alone(plan, sweep, nursery) == 0
    found = by_variant(plan)
    assert {name: record["status"] for name, record in found.items()} == {
        "raises": "failed",
        "exits": "failed",
        "memory": "failed",
        "infinite": "diverged",
        "sleeps": "failed",
        "avg": "ok",
    }
    assert found["raises"]["reason"] == "RuntimeError: no luck"
    assert "no luck" in found["raises"]["traceback"]
    assert found["exits"]["reason"] == "its code called sys.exit(3)"
    assert "in bad" in found["exits"]["traceback"]
    assert "memory" in found["memory"]["reason"]
    assert "time_limit" in found["sleeps"]["reason"]
    assert "time.sleep(3600)" in found["sleeps"]["traceback"]
    assert len(found["infinite"]["history"]) <= 1


@pytest.mark.slow
def test_what_ends_its_process_comes_last_and_is_given_up(tmp_path: Path, nursery: Nursery) -> None:
    cells = [
        bad("Killed", attempts=2),
        bad("Crashes", attempts=2),
        bad("Leaves", attempts=1),
        asked("avg"),
        asked("min"),
    ]
    plan, sweep = planned(tmp_path, cells)
    # One worker at a time: with two, the second takes a cell up again while the first still trains its last one.
    found = done_by_many(plan, sweep, nursery, workers=1)
    assert {name: record["status"] for name, record in found.items()} == {
        "killed": "failed",
        "crashes": "failed",
        "leaves": "failed",
        "avg": "ok",
        "min": "ok",
    }
    for name, attempts in (("killed", 2), ("crashes", 2), ("leaves", 1)):
        record = found[name]
        assert f"its process ended {attempts} times in a row without a new epoch" in record["reason"]
        assert len(record["provenance"]["attempts"]) == attempts
    assert "Segmentation fault" in found["crashes"]["traceback"]
    assert "in bad" in found["crashes"]["traceback"]
    ended = max(found[name]["times"]["ended"] for name in ("avg", "min"))
    assert all(found[name]["times"]["started"] > ended for name in ("killed", "crashes")), "given up before the others"


@pytest.mark.slow
def test_a_cell_that_answers_nobody_is_recorded_and_its_worker_replaced(tmp_path: Path, nursery: Nursery) -> None:
    plan, sweep = planned(tmp_path, [bad("Deaf", time_limit=1), asked("avg")])
    found = done_by_many(plan, sweep, nursery, workers=1)
    assert found["avg"]["status"] == "ok"
    assert found["deaf"]["status"] == "failed"
    assert "does not answer" in found["deaf"]["reason"]
    assert "time.sleep(3600)" in found["deaf"]["traceback"]


def test_a_cell_that_was_killed_once_is_taken_up_and_says_so(tmp_path: Path, nursery: Nursery) -> None:
    plan, sweep = planned(tmp_path, [bad("KilledOnce", mark=str(tmp_path))])
    assert run_alone(plan, sweep, nursery) == -9
    (held,) = Claims(plan.claims).all().values()
    assert held.end == "its process ended"
    assert run_alone(plan, sweep, nursery) == 0
    (record,) = records(plan).values()
    assert record["status"] == "ok"
    (attempt,) = record["provenance"]["attempts"]
    assert attempt["end"] == "its process ended"


@pytest.mark.parametrize(("retry", "status"), [(0, "failed"), (1, "ok")])
def test_a_cell_that_failed_is_tried_again_as_often_as_asked(
    tmp_path: Path, nursery: Nursery, retry: int, status: str
) -> None:
    plan, sweep = planned(tmp_path, [bad("RaisesOnce", mark=str(tmp_path))], retry=retry)
    assert run_alone(plan, sweep, nursery) == 0
    (record,) = records(plan).values()
    assert record["status"] == status


def test_stop_at_the_first_that_fails(tmp_path: Path, nursery: Nursery) -> None:
    plan, sweep = planned(tmp_path / "stop", [bad("Raises"), asked("avg"), asked("min")], on_failure="stop")
    assert run_alone(plan, sweep, nursery) == 1
    assert [record["status"] for record in records(plan).values()] == ["failed"]
    assert "failed" in plan.stopped(sweep)
    assert run_alone(plan, sweep, nursery) == 1, "it was stopped, and nobody has started it again"
    plan.start(sweep)
    assert run_alone(plan, sweep, nursery) == 0
    assert len(records(plan)) == 3


def test_a_record_that_is_to_be_replaced_counts_for_nothing_until_it_is(tmp_path: Path, nursery: Nursery) -> None:
    from poolbench.sweep.state import file_digest

    plan, sweep = planned(tmp_path, [asked("avg")])
    assert run_alone(plan, sweep, nursery) == 0
    (run_id,) = sweep.run_ids
    path = plan.folder / "records" / run_id / RECORD_FILE
    first = file_digest(path)
    assert run_alone(plan, sweep, nursery) == 0
    assert file_digest(path) == first
    plan, sweep = planned(tmp_path, [asked("avg")], again={run_id: first})
    assert run_alone(plan, sweep, nursery) == 0
    again = file_digest(path)
    assert again != first
    assert run_alone(plan, sweep, nursery) == 0
    assert file_digest(path) == again
