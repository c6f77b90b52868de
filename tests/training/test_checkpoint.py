"""Files of checkpoints: whole or not there, the last two kept, none of another cell's taken, each refusal said."""

import errno
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from interruptible import checkpoints

from poolbench.training import newest_epoch, remove_checkpoints

STATE = {"weights": {"a": torch.arange(5000.0)}, "rows": [{"loss": 0.5}], "best": None}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(folder: Path, *epochs: int, **changes: Any) -> None:
    for epoch in epochs:
        assert checkpoints(folder, **changes).write(epoch, STATE | {"epoch": epoch})


def test_the_last_two_are_kept_and_the_last_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "a = ü" / "run"
    write(folder, 1, 2, 10)
    assert names(folder) == ["checkpoint-000002.pt", "checkpoint-000010.pt"]
    saved = checkpoints(folder).latest()
    assert saved is not None
    assert (saved.epoch, saved.state["epoch"], saved.state["rows"]) == (10, 10, STATE["rows"])
    assert torch.equal(saved.state["weights"]["a"], STATE["weights"]["a"])  # type: ignore[index]
    assert newest_epoch(folder) == 10


def test_a_folder_without_checkpoints(tmp_path: Path) -> None:
    assert checkpoints(tmp_path / "none").latest() is None
    assert newest_epoch(tmp_path / "none") == 0


def test_strides_are_kept(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    checkpoints(tmp_path).write(1, {"weight": weight})
    saved = checkpoints(tmp_path).latest()
    assert saved is not None
    assert saved.state["weight"].stride() == weight.stride()


def damaged(content: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "text": b"not a checkpoint\n",
        "first half": content[: len(content) // 2],
        "last byte missing": content[:-1],
        "zeros behind the half": content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
        "one bit in a weight": content[:9000] + bytes([content[9000] ^ 4]) + content[9001:],
        "a pickle that runs code": pickle.dumps(Path("x")),
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "text",
        "first half",
        "last byte missing",
        "zeros behind the half",
        "one bit in a weight",
        "a pickle that runs code",
    ],
)
def test_a_damaged_file_is_set_aside_and_the_one_before_it_used(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 1, 2)
    newest = tmp_path / "checkpoint-000002.pt"
    newest.write_bytes(damaged(newest.read_bytes(), how))
    saved = checkpoints(tmp_path).latest()
    assert saved is not None
    assert saved.epoch == 1
    assert names(tmp_path) == ["checkpoint-000001.pt", "checkpoint-000002.pt.aside"]
    assert f"{newest} is not used: " in caplog.text
    assert "it is kept as checkpoint-000002.pt.aside" in caplog.text


@pytest.mark.parametrize("content", [torch.zeros(3), {"state_dict": {}}, [1, 2], {"format": 99}], ids=repr)
def test_a_file_of_torch_that_is_no_checkpoint(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "checkpoint-000003.pt")
    assert checkpoints(tmp_path).latest() is None
    assert names(tmp_path) == ["checkpoint-000003.pt.aside"]


@pytest.mark.parametrize("name", ["checkpoint.pt", "checkpoint-last.pt", "checkpoint_3.pt"])
def test_a_name_that_is_not_ours(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, 2)
    (tmp_path / name).write_bytes(b"?")
    saved = checkpoints(tmp_path).latest()
    assert saved is not None
    assert saved.epoch == 2
    assert names(tmp_path) == ["checkpoint-000002.pt", f"{name}.aside"]
    assert "its name is not one that poolbench gives" in caplog.text


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"run_id": "cell-1", "code": "a"}, "run_id was 'cell-0' and is 'cell-1'"),
        ({"run_id": "cell-0", "code": "b"}, "code was 'a' and is 'b'"),
        ({"run_id": "cell-0", "code": "a", "torch": "9"}, "torch was None and is '9'"),
        ({"run_id": "cell-0"}, "code was 'a' and is None"),
    ],
)
def test_another_cells_checkpoint_is_refused_with_the_difference(
    tmp_path: Path, changed: dict[str, str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 1, 2)
    assert checkpoints(tmp_path, key=changed).latest() is None
    assert caplog.text.count(says) == 2
    assert names(tmp_path) == ["checkpoint-000001.pt.aside", "checkpoint-000002.pt.aside"]


def test_a_checkpoint_copied_from_another_run(tmp_path: Path) -> None:
    write(tmp_path / "one", 3)
    write(tmp_path / "two", 2, key={"run_id": "cell-1", "code": "a"})
    shutil.copy(tmp_path / "one" / "checkpoint-000003.pt", tmp_path / "two")
    saved = checkpoints(tmp_path / "two", key={"run_id": "cell-1", "code": "a"}).latest()
    assert saved is not None
    assert saved.epoch == 2


def test_a_full_disk_harms_nothing_and_says_what_was_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 1)
    before = (tmp_path / "checkpoint-000001.pt").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert not checkpoints(tmp_path).write(2, STATE)
    assert names(tmp_path) == ["checkpoint-000001.pt"]
    assert (tmp_path / "checkpoint-000001.pt").read_bytes() == before
    needed = len(before) / 2**20
    assert (
        f"{tmp_path / 'checkpoint-000002.pt'} needs {needed:.1f} MiB and could not be written: No space" in caplog.text
    )


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert not checkpoints(tmp_path / "file" / "run").write(1, STATE)
    assert "could not be written" in caplog.text


def test_removing_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / "checkpoint-000001.pt").write_bytes(b"")
    (tmp_path / ".checkpoint-000003.pt.abc.part").write_bytes(b"half")
    (tmp_path / "record.json").write_text("{}")
    (tmp_path / "weights.pt").write_bytes(b"w")
    write(tmp_path, 4)
    checkpoints(tmp_path, key={"run_id": "other"}).latest()
    remove_checkpoints(tmp_path)
    assert names(tmp_path) == ["record.json", "weights.pt"]
    remove_checkpoints(tmp_path)
    remove_checkpoints(tmp_path / "none")


def test_removing_until_a_time_leaves_what_was_written_since(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (old, new) = sorted(tmp_path.glob("checkpoint-*.pt"))
    os.utime(old, (1000, 1000))
    os.utime(new, (3000, 3000))
    remove_checkpoints(tmp_path, until=2000)
    assert names(tmp_path) == [new.name]


def test_due_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("poolbench.training.checkpoint.time.monotonic", lambda: now[0])
    kept = checkpoints(tmp_path, 60)
    due = []
    for second in range(0, 200, 20):
        now[0] = 100.0 + second
        if kept.due():
            due.append(second)
            kept.write(second, STATE)
    assert due == [60, 120, 180]
