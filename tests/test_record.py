"""Records: identity, whole files or none, what is taken for a record and what is not."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from poolbench.errors import ConfigurationError
from poolbench.record import (
    RECORD_FILE,
    REQUIRED,
    SCHEMA,
    finished,
    identify,
    read_record,
    read_records,
    write_bytes,
    write_json,
)

LABELS = {"backbone": "slides", "variant": "avg_topk[k=3]", "dataset": "digits"}


def config(**changes: object) -> dict:
    base: dict = {
        "backbone": {"name": "slides"},
        "pooling": {"name": "avg_topk", "downsample": {"k": 3}},
        "head": None,
        "dataset": {"name": "digits", "root": "here", "image_size": 16},
        "protocol": {"epochs": 3},
        "trainer": {"accelerator": "cpu"},
        "seed": 0,
    }
    for path, value in changes.items():
        group, _, key = path.partition("__")
        if key:
            base[group] = {**base[group], key: value}
        else:
            base[group] = value
    return base


def identity(**changes: object):
    device = changes.pop("device", "cpu")
    fingerprint = changes.pop("fingerprint", "content")
    return identify(config(**changes), LABELS, fingerprint=str(fingerprint), device=str(device))


def test_a_seed_is_another_run_of_the_same_arm() -> None:
    assert identity().arm_id == identity(seed=1).arm_id
    assert identity().run_id != identity(seed=1).run_id
    assert "-s1-" in identity(seed=1).run_id


@pytest.mark.parametrize(
    "change",
    [
        {"pooling__downsample": {"k": 2}},
        {"protocol__epochs": 4},
        {"dataset__image_size": 8},
        {"device": "cuda"},
        {"fingerprint": "other images"},
        {"head": {"_target_": "x.Y"}},
        {"trainer__gradient_clip_val": 1.0},
    ],
)
def test_what_determines_the_result_makes_another_arm(change: dict) -> None:
    assert identity(**change).arm_id != identity().arm_id


@pytest.mark.parametrize(
    "change",
    [
        {"dataset__root": "there"},
        {"trainer__accelerator": "auto"},
        {"protocol__checkpoint_every_s": 5},
        {"protocol__time_limit": 100.0},
        {"protocol__attempts": 1},
    ],
)
def test_where_files_lie_and_what_happens_on_faults_do_not(change: dict) -> None:
    assert identity(**change) == identity()


def test_arms_of_a_block_share_its_id() -> None:
    assert identity().block_id == identity(pooling__downsample={"k": 2}).block_id == identity(seed=3).block_id
    assert identity().block_id != identity(backbone__name="lenet5").block_id


def test_a_label_of_any_kind_makes_a_folder_name() -> None:
    hostile = LABELS | {"variant": "../../ä\n" + "x" * 500}
    name = identify(config(), hostile, fingerprint="", device="cpu").run_id
    assert "/" not in name
    assert len(name) < 160
    assert name.isascii()


def whole(run_id: str, **changes: object) -> dict:
    record: dict = dict.fromkeys(REQUIRED, "")
    return record | {"schema": SCHEMA, "run_id": run_id, "status": "ok", "files": {}} | changes


def put(folder: Path, run_id: str, **changes: object) -> Path:
    path = folder / "records" / run_id / RECORD_FILE
    write_json(path, whole(run_id, **changes))
    return path


def test_a_number_that_is_none_becomes_null(tmp_path: Path) -> None:
    path = put(tmp_path, "a", metrics={"test_loss": float("nan"), "rows": [float("inf"), 1.0]})
    assert json.loads(path.read_text())["metrics"] == {"test_loss": None, "rows": [None, 1.0]}


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("poolbench.whole_file.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[: len(text) // 2], "not whole JSON"),
        (lambda text: "[]", "holds a list"),
        (lambda text: text.replace('"schema": 1', '"schema": 99'), "schema 99"),
        (lambda text: text.replace('"status": "ok"', '"status": "fine"'), "unknown status 'fine'"),
        (lambda text: text.replace('"run_id": "a"', '"run_id": "b"'), "copied by hand"),
        (lambda text: text.replace('"seed"', '"sead"'), "no seed"),
    ],
)
def test_what_is_no_record_is_named_and_left_out(tmp_path: Path, damage, says: str) -> None:
    path = put(tmp_path, "a")
    put(tmp_path, "good")
    path.write_text(damage(path.read_text()))
    with pytest.raises(ConfigurationError, match=says):
        read_record(path)
    records, problems = read_records(tmp_path)
    assert [record["run_id"] for record in records] == ["good"]
    assert [problem.path for problem in problems] == [path]


def test_only_a_whole_finished_cell_is_not_run_again(tmp_path: Path) -> None:
    assert finished(tmp_path / "records" / "none") is None
    assert finished(put(tmp_path, "ok").parent)
    assert finished(put(tmp_path, "nan", status="diverged").parent)
    assert finished(put(tmp_path, "failed", status="failed").parent) is None
    assert finished(put(tmp_path, "killed", status="interrupted").parent) is None
    lost = put(tmp_path, "lost", files={"weights.pt": sha256(b"whole").hexdigest()}).parent
    assert finished(lost) is None
    (lost / "weights.pt").write_bytes(b"whole")
    assert finished(lost)
    (lost / "weights.pt").write_bytes(b"whol")
    assert finished(lost) is None
