"""The machine, the code's revision and the allocator."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from poolbench.measure import machine as subject
from poolbench.measure.machine import machine, revision

Git = Callable[..., str]


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    revision.cache_clear()
    yield
    revision.cache_clear()


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository with one commit of a package."""

    def run(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        revision.cache_clear()
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    (package / "module.py").write_text("one = 1\n")
    (tmp_path / ".gitignore").write_text("results/\n")
    run("init")
    run("add", ".")
    run("commit", "-m", "one")
    return run


@pytest.fixture
def package(git: Git, tmp_path: Path) -> Path:
    return tmp_path / "src" / "package"


def test_a_file_whose_name_is_no_utf8_takes_no_revision_away(git: Git, package: Path, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("")
    assert revision(package) == (git("rev-parse", "HEAD"), False)


def test_a_clean_checkout(git: Git, package: Path) -> None:
    assert revision(package) == (git("rev-parse", "HEAD"), False)


def test_a_changed_file_is_dirty_and_a_committed_one_is_not(git: Git, package: Path) -> None:
    first = revision(package)[0]
    (package / "module.py").write_text("one = 2\n")
    assert revision(package) == (first, False), "it is asked once in a process"
    revision.cache_clear()
    assert revision(package) == (first, True)
    git("add", ".")
    assert revision(package) == (first, True)
    git("commit", "-m", "two")
    second = revision(package)
    assert second == (git("rev-parse", "HEAD"), False)
    assert second[0] != first


def test_a_file_that_git_does_not_know_counts_in_the_package_alone(git: Git, package: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not code")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record.json").write_text("{}")
    assert revision(package)[1] is False
    revision.cache_clear()
    (package / "own_pool.py").write_text("")
    assert revision(package)[1] is True


@pytest.mark.parametrize("place", ["vendored/package", ".venv/lib/site-packages/package"])
def test_a_copy_in_another_checkout_has_no_revision(git: Git, tmp_path: Path, place: str) -> None:
    copy = tmp_path / place
    copy.mkdir(parents=True)
    (copy / "module.py").write_text("")
    assert revision(copy) == (None, None)


def test_no_repository_no_commit_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert revision(tmp_path / "nowhere") == (None, None)
    subprocess.run(["git", "init", str(tmp_path)], check=True, capture_output=True)
    revision.cache_clear()
    assert revision(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    revision.cache_clear()
    assert revision(tmp_path) == (None, None)


def test_a_hooks_variables_do_not_mislead(git: Git, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    revision.cache_clear()
    assert revision(package) == (head, False)


def test_git_is_called_once(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = subprocess.run
    monkeypatch.setattr(subject.subprocess, "run", lambda *a, **k: calls.append(a) or real(*a, **k))
    assert revision(package) == revision(package)
    assert len(calls) == 1


def test_machine() -> None:
    found = machine(torch.device("cpu"))
    assert found["device"] == "cpu"
    assert found["device_name"] == found["machine"]
    assert found["cores"] >= 1
    assert found["driver"] is None
    assert found["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found == machine()


def test_what_machine_gives_is_the_callers() -> None:
    machine()["versions"].clear()
    machine()["machine_id"] = "changed"
    assert machine()["versions"]
    assert machine()["machine_id"] != "changed"


def test_another_device_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_gpu_name", lambda device: "GPU of a test")
    found = machine(torch.device("cuda", 0))
    assert (found["device"], found["device_name"]) == ("cuda", "GPU of a test")
    assert found["machine"] == machine()["machine"]
    assert found["machine_id"] != machine()["machine_id"]


@pytest.mark.parametrize(
    "line", ["NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23", "NVRM version:  580.95.05\nGCC"]
)
def test_driver(tmp_path: Path, line: str) -> None:
    (tmp_path / "version").write_text(line)
    assert subject._driver(tmp_path / "version") == "580.95.05"


def test_a_processor_without_a_list_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", absent)
    assert subject._cpu_name()


def test_memory_is_in_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4_096, "SC_PHYS_PAGES": 2_000_000}.__getitem__)
    assert subject._memory_gib() == 7.6
