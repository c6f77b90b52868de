"""Workers that are killed at random moments: every cell is done, once, and the figures are those of a quiet sweep."""

from pathlib import Path

import pytest
from faults.crowd import Crowd, asked, comparable, planned, records, run_alone

from poolbench.report.make import make_report
from poolbench.sweep.processes import Nursery

TABLES = ("accuracy", "scores", "metrics", "parameters", "across", "pairs", "over_blocks")
KEPT = ("outcomes.npz", "split.npz", "weights.pt")


def tables(folder: Path) -> dict[str, bytes]:
    make_report(folder)
    return {name: (folder / f"{name}.csv").read_bytes() for name in TABLES}


def kept(folder: Path) -> dict[str, bytes]:
    """Return what cells left beside their records, by run and name."""
    paths = [path for name in KEPT for path in folder.glob(f"records/*/{name}")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def killed_and_quiet(tmp_path: Path, nursery: Nursery, *, seeds: int, epochs: int, workers: int, kills: int) -> None:
    cells = [
        asked(pooling, seed, epochs=epochs, attempts=1_000, deterministic=True)
        for pooling in ("max", "avg_topk", "stochastic", "gap")
        for seed in range(seeds)
    ]
    quiet, sweep = planned(tmp_path / "quiet", cells)
    assert run_alone(quiet, sweep, nursery) == 0
    plan, sweep = planned(tmp_path / "killed", cells)
    with Crowd(plan, sweep, workers, nursery) as crowd:
        crowd.kill_some(kills, every_s=0.4)
        assert crowd.kills == kills, f"the cells were done after {crowd.kills} kills"
        crowd.require_done_once()
    found, expected = records(plan), records(quiet)
    assert {record["status"] for record in found.values()} == {"ok"}
    assert {run: comparable(one) for run, one in found.items()} == {
        run: comparable(one) for run, one in expected.items()
    }
    assert all(one["files"]["outcomes.npz"] for one in found.values())
    assert any(one["provenance"].get("attempts") for one in found.values()), "no kill hit a cell"
    assert tables(plan.folder) == tables(quiet.folder)
    assert len(kept(plan.folder)) == len(KEPT) * len(cells)
    assert kept(plan.folder) == kept(quiet.folder)


def test_a_few_kills(tmp_path: Path, nursery: Nursery) -> None:
    killed_and_quiet(tmp_path, nursery, seeds=1, epochs=4, workers=2, kills=3)


@pytest.mark.slow
def test_two_hundred_kills_over_24_cells_by_four_workers(tmp_path: Path, nursery: Nursery) -> None:
    killed_and_quiet(tmp_path, nursery, seeds=6, epochs=120, workers=4, kills=200)


@pytest.mark.slow
def test_sixteen_workers_at_one_folder_lose_nothing(tmp_path: Path, nursery: Nursery) -> None:
    plan, sweep = planned(tmp_path, [asked("avg", seed) for seed in range(32)])
    with Crowd(plan, sweep, 16, nursery) as crowd:
        crowd.kill_some(0, every_s=1)
        crowd.require_done_once()
    assert {record["status"] for record in records(plan).values()} == {"ok"}
