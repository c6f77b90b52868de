"""`poolbench work`: one more worker at a plan that is there, what its status says, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch
from faults.crowd import asked, planned, records

from poolbench.cli import main
from poolbench.record import RECORD_FILE
from poolbench.sweep.claims import Claims

RAISES = {"name": "raises", "downsample": {"_target_": "faults.bad_pools.Raises"}, "head": None}


def statuses(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {record["labels"]["variant"]: record["status"] for record in found.values()}


def test_a_worker_trains_all_cells_that_no_other_is_at(tmp_path: Path) -> None:
    plan, sweep = planned(tmp_path, [asked("max"), asked("avg"), asked("gap")])
    other = Claims(plan.claims).take(sweep.run_ids[0])
    assert other is not None
    threads = torch.get_num_threads()
    try:
        assert main(["work", str(plan.folder), "--leave", "--threads", "2"]) == 0
    finally:
        torch.set_num_threads(threads)
    found = records(plan)
    assert statuses(found) == {"avg": "ok", "gap": "ok"}
    assert {record["provenance"]["threads"] for record in found.values()} == {2}
    assert other.is_held()
    assert set(Claims(plan.claims).all()) == {sweep.run_ids[0]}
    other.release()
    done = {path: path.stat().st_mtime_ns for path in plan.folder.glob(f"records/*/{RECORD_FILE}")}
    assert main(["work", str(plan.folder)]) == 0
    assert statuses(records(plan)) == {"max": "ok", "avg": "ok", "gap": "ok"}
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert Claims(plan.claims).all() == {}


def test_a_cell_that_fails_makes_the_status_one_and_the_others_are_trained(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, [asked(RAISES), asked("avg")])
    assert main(["work", str(plan.folder), "--leave"]) == 1
    assert statuses(records(plan)) == {"raises": "failed", "avg": "ok"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent"], "there is no results folder absent"),
        (["."], "has no plan: `poolbench train` makes one"),
        (["faults", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["faults", "--leave"], "was planned with other code: "),
    ],
)
def test_what_cannot_be_worked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    plan, _ = planned(tmp_path, [asked("max")], code={"poolbench": "0" * 12})
    monkeypatch.chdir(tmp_path)
    assert main(["work", *arguments]) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert records(plan) == {}
    assert Claims(plan.claims).all() == {}
