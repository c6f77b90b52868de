"""What cannot be written is found before anything is computed, and told as an error with a name."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from poolbench.errors import ConfigurationError, WriteError
from poolbench.record import write_bytes
from poolbench.writable import require_replaceable, require_writable


def test_a_trial_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    require_writable([tmp_path / "there", tmp_path / "new" / "deep"])
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"`results_dir`: .*records/run cannot be written: Not a directory"):
        require_writable([tmp_path / "records" / "run"])


def test_a_folder_in_the_way_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()
    with pytest.raises(ConfigurationError, match="is a folder, and a file of that name is written; move it"):
        require_replaceable([tmp_path / "record.json"])


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "No space left on device; free some, or choose another place"),
        (errno.EROFS, "Read-only file system; choose a place that is not read-only"),
        (errno.EACCES, "Permission denied; change its permissions, or choose another place"),
    ],
)
def test_every_reason_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(ConfigurationError, match=says):
        require_writable([tmp_path])
    says = says.replace("device;", "device, it needs 7 bytes;")
    with pytest.raises(WriteError, match=f"{tmp_path}/file cannot be written: {says}"):
        write_bytes(tmp_path / "file", b"content")


FULL = """
import resource, signal, sys
from pathlib import Path
from poolbench.writable import require_writable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
require_writable([Path(sys.argv[1])])
"""


def test_a_place_that_takes_an_empty_file_and_no_record(tmp_path: Path) -> None:
    """As a full disk does; a limit on a file's size is what a test can set without being the administrator."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "cannot be written: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []
