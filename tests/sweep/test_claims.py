"""Claims: each cell is one process's, a dead one's is free at once, a living one's is never taken."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolbench.sweep.claims import Claim, Claims
from poolbench.sweep.host import this_process

HOLD = """
import sys, time
from pathlib import Path
from poolbench.sweep.claims import Claims
claim = Claims(Path(sys.argv[1])).take("cell")
print("held", flush=True)
count = 0
while True:
    time.sleep(0.05)
    if not claim.is_held():
        print("lost", flush=True)
        sys.exit(7)
    claim.beat(epoch=count)
"""
# By a clock that nobody has set.
LONG_AGO = "1970-01-01T00:00:00+00:00"


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds the claim of `cell` and beats."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def ended(claims: Claims, run_id: str = "cell", within_s: float = 20) -> str:
    """Return how the holder was seen to have ended, waiting for it."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        held = claims.look(run_id)
        assert held is not None
        if held.end:
            return held.end
        time.sleep(0.02)
    pytest.fail("the holder counts as living")


def test_a_cell_is_one_claims_until_it_is_released(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    claim = one.take("cell")
    assert claim is not None
    assert claim.is_held()
    assert other.take("cell") is None
    assert one.take("cell") is None
    assert other.take("cell.2") is not None, "another cell, whose name begins as the first one's"
    claim.release()
    assert not claim.is_held()
    again = other.take("cell")
    assert again is not None
    assert again.attempts == ()


def test_a_claim_tells_who_is_at_what(tmp_path: Path) -> None:
    claim = Claims(tmp_path).take("cell", epoch=lambda: 4)
    assert claim is not None
    claim.beat(epoch=5.5, epochs=12)
    held = Claims(tmp_path).look("cell")
    assert held is not None
    assert (held.process.pid, held.epoch, held.beat["epoch"], held.beat["epochs"]) == (os.getpid(), 4, 5.5, 12)
    assert list(Claims(tmp_path).all()) == ["cell"]


def test_a_living_holder_is_never_robbed_and_a_killed_one_at_once(tmp_path: Path, holder: subprocess.Popen) -> None:
    claims = Claims(tmp_path, patience_s=0.2)
    for _ in range(20):
        assert claims.take("cell") is None
        time.sleep(0.05)
    holder.kill()
    holder.wait()
    held = claims.look("cell")
    assert held is not None
    assert held.end == "its process ended"
    claim = claims.take("cell", epoch=lambda: 2)
    assert claim is not None
    (attempt,) = claim.attempts
    assert (attempt.process.rpartition(":")[2], attempt.epoch, attempt.reached) == (str(holder.pid), 0, 2)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".beat")) == ["cell.2"]


def test_a_stopped_holder_is_taken_over_in_time_and_writes_nothing_when_it_wakes(
    tmp_path: Path, holder: subprocess.Popen
) -> None:
    claims = Claims(tmp_path, patience_s=0.5)
    holder.send_signal(signal.SIGSTOP)
    assert "heartbeat stood still" in ended(claims)
    claim = claims.take("cell")
    assert claim is not None
    before = sorted(path.name for path in tmp_path.iterdir())
    holder.send_signal(signal.SIGCONT)
    assert holder.stdout
    assert holder.stdout.readline() == "lost\n"
    assert holder.wait() == 7
    assert claim.is_held()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_all_who_share_the_folder_read_who_is_at_what(tmp_path: Path) -> None:
    claim = Claims(tmp_path).take("cell")
    assert claim is not None
    claim.beat(epoch=1)
    files = [path for path in tmp_path.iterdir() if path.name.startswith("cell.")]
    assert len(files) == 2
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in files)


def test_a_claim_that_cannot_be_read_is_somebodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Claims(tmp_path).take("cell") is not None
    usual = os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path).endswith("cell.1"):
            raise PermissionError(13, "Permission denied")
        return usual(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    others = Claims(tmp_path)
    held = others.look("cell")
    assert held is not None
    assert held.process.host == "an unknown machine"
    assert others.take("cell") is None


def test_a_folder_that_cannot_be_seen_for_a_moment_loses_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claims(tmp_path).take("cell")
    assert claim is not None
    with monkeypatch.context() as patch:

        def away(*_: Any, **__: Any) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(Path, "stat", away)
        assert claim.is_held()
    claim.path.unlink()
    assert not claim.is_held()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Claim:
    """A claim of another machine's, whose locks are not seen here."""
    process = replace(this_process(), host="elsewhere", boot="another", namespace="another")
    claim = Claims(tmp_path, process=process).take("cell")
    assert claim is not None
    os.close(claim._handle)
    return claim


def test_a_heartbeat_that_moves_keeps_a_claim_and_one_that_stands_still_loses_it(
    tmp_path: Path, elsewhere: Claim
) -> None:
    claims = Claims(tmp_path, patience_s=0.4)
    for count in range(12):
        elsewhere.beat(epoch=count)
        assert claims.take("cell") is None
        time.sleep(0.1)
    assert "heartbeat stood still" in ended(claims)
    taken = claims.take("cell")
    assert taken is not None
    assert taken.token == 2


def test_a_clock_that_is_wrong_changes_nothing(tmp_path: Path, elsewhere: Claim) -> None:
    elsewhere.beat(epoch=3)
    content = json.loads(elsewhere.path.read_text())
    assert content["began"] > "2026"
    elsewhere.path.write_text(json.dumps(content | {"began": LONG_AGO}))
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    fresh = Claims(tmp_path, patience_s=60)
    for _ in range(2):
        held = fresh.look("cell")
        assert held is not None
        assert (held.began, held.end) == (LONG_AGO, "")
        assert fresh.take("cell") is None


def test_an_attempts_history_is_kept_over_several_ends(tmp_path: Path) -> None:
    for count in range(3):
        with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as one:
            assert one.stdout
            assert one.stdout.readline() == "held\n"
            one.kill()
        held = Claims(tmp_path).look("cell")
        assert held is not None
        assert (held.token, len(held.attempts)) == (count + 1, count)
    Claims(tmp_path).drop("cell")
    assert Claims(tmp_path).all() == {}


CROWD = """
import os, random, sys
from pathlib import Path
from poolbench.sweep.claims import Claims
folder, done = Path(sys.argv[1]), Path(sys.argv[2])
claims, cells = Claims(folder), [f"cell-{n}" for n in range(150)]
random.Random(os.getpid()).shuffle(cells)
for cell in cells:
    claim = claims.take(cell)
    if claim is None:
        continue
    if not (done / cell).exists():
        os.close(os.open(done / cell, os.O_CREAT | os.O_EXCL))
    claim.release()
"""


def test_a_crowd_does_each_cell_once(tmp_path: Path) -> None:
    claims, done = tmp_path / "claims", tmp_path / "done"
    done.mkdir()
    crowd = [subprocess.Popen([sys.executable, "-c", CROWD, str(claims), str(done)]) for _ in range(4)]
    assert [one.wait() for one in crowd] == [0] * 4, "a cell was done twice"
    assert {path.name for path in done.iterdir()} == {f"cell-{n}" for n in range(150)}
    assert list(claims.iterdir()) == []


def test_without_hard_links_a_claim_is_one_step_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    claim = Claims(tmp_path).take("cell")
    assert claim is not None
    assert Claims(tmp_path).take("cell") is None
    claim.release()
    (tmp_path / "half.1").touch()
    held = Claims(tmp_path).look("half")
    assert held is not None
    assert held.end == "", "a claim that is not full yet counts as living"
