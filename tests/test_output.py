"""Text that goes out: whatever is at the other end, a command goes on."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from poolbench.output import Lasting, plain


class Narrow(io.StringIO):
    """A terminal that knows one encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self.codec = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.codec

    def write(self, text: str) -> int:
        text.encode(self.codec)
        return super().write(text)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "16x16 -> 8x8 +-1 % J\\xfcrgen\n"),
        ("latin-1", "16×16 -> 8×8 ±1 % Jürgen\n"),
        ("utf-8", "16×16 → 8×8 ±1 % Jürgen\n"),
    ],
)
def test_a_terminal_is_shown_what_it_has(encoding: str, shown: str) -> None:
    stream = Narrow(encoding)
    print("16×16 → 8×8 ±1 % Jürgen", file=Lasting(stream))
    assert stream.getvalue() == shown


def test_a_name_that_is_no_text_is_shown_escaped() -> None:
    assert plain("caf\udce9.png", "utf-8") == "caf\\udce9.png"


def test_a_closed_end_ends_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        lasting = Lasting(stream)
        for _ in range(3):
            print("x" * 100_000, file=lasting, flush=True)
        assert lasting.ended
        assert not lasting.isatty()
    closed = Lasting(io.StringIO())
    closed.stream.close()
    print("into nothing", file=closed)
    assert closed.ended


def test_what_else_a_stream_has_is_there(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        lasting = Lasting(stream)
        assert lasting.name == stream.name
        assert lasting.fileno() == stream.fileno()
        lasting.writelines(["one\n", "two\n"])
        lasting.flush()
    assert (tmp_path / "file").read_text() == "one\ntwo\n"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "poolbench", *arguments]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    listing = subprocess.Popen(command("list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert listing.stdout is not None
    listing.stdout.readline()
    listing.stdout.close()
    assert listing.wait() == 0
    assert listing.stderr is not None
    assert listing.stderr.read() == b""
    listing.stderr.close()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_narrow_terminal_gets_the_whole_list(encoding: str) -> None:
    narrow = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"}
    done = subprocess.run(command("list"), capture_output=True, env=narrow, check=True)
    whole = subprocess.run(command("list"), capture_output=True, env=os.environ | {"PYTHONUTF8": "1"}, check=True)
    assert len(done.stdout.splitlines()) == len(whole.stdout.splitlines()) > 50
    assert done.stdout != whole.stdout


def test_a_full_disk_behind_the_output_is_no_error() -> None:
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command("list", "pooling"), stdout=full, check=False).returncode == 0
