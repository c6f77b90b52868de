"""Disks that take no more, folders that cannot be written, names that are hard: what stood stands."""

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cells import records

from poolbench.record import RECORD_FILE


@contextmanager
def no_file_beyond(most_bytes: int) -> Iterator[None]:
    """Let no file become larger: what a full disk does to what is written next."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full_harms_no_record_that_stood(
    train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("pooling=avg", "seed=0") == 0
    folder = tmp_path / "results" / "adhoc"
    before = {path: path.read_bytes() for path in folder.rglob("records/**/*") if path.is_file()}
    # Weights are larger than this, and so is no other file of a run.
    with no_file_beyond(150_000):
        assert train("pooling=avg", "seed=1") == 1
    told = capsys.readouterr().err
    assert re.search(
        r"weights\.pt cannot be written: File too large, it needs [\d.,]+ (MiB|bytes)", " ".join(told.split())
    )
    assert {path: path.read_bytes() for path in before} == before
    assert not list(folder.rglob("*.part"))
    assert train("pooling=avg", "seed=1", "force=failed") == 0
    assert {record["status"] for record in records(folder).values()} == {"ok"}


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["with spaces", "a=b", "größe-漢字", "it's"])
def test_a_results_folder_of_any_name(train, tmp_path: Path, name: str) -> None:
    quoted = name.replace("'", "\\'")
    assert train(f"results_dir='{tmp_path / quoted}'", "pooling=avg") == 0
    assert set(records(tmp_path / name / "adhoc")) == {"avg/0"}


def test_overrides_longer_than_a_file_name_may_be(train, tmp_path: Path) -> None:
    long = f"question='{'why ' * 100}'"
    label = f"pooling.name={'n' * 300}"
    assert train("pooling=avg", long, label, "reference=max") == 0
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert record["labels"]["variant"] == "n" * 300
    assert len(record["run_id"]) < 255


@pytest.mark.slow
def test_a_half_written_record_is_no_record(train, tmp_path: Path) -> None:
    assert train("pooling=avg") == 0
    (path,) = (tmp_path / "results" / "adhoc").glob(f"records/*/{RECORD_FILE}")
    path.write_bytes(path.read_bytes()[:1000])
    assert train("pooling=avg") == 0
    assert set(records(tmp_path / "results" / "adhoc")) == {"avg/0"}
