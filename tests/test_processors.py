import os
from pathlib import Path

import pytest

from poolbench import processors
from poolbench.processors import allowed_processors, free_processors


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(processors, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(processors, "STAT", tmp_path / "stat")


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("max 100000", 8), ("", 8)],
)
def test_a_containers_limit_counts(tmp_path: Path, limit: str, allowed: int) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert allowed_processors() == allowed


def test_without_a_container_it_is_what_the_process_is_bound_to() -> None:
    assert allowed_processors() == 8


def test_processors_that_others_use_are_not_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def write(work: list[int], rest: list[int]) -> None:
        lines = [f"cpu{number} {ticks} 0 0 {rest[number]} 0 0 0 0\n" for number, ticks in enumerate(work)]
        (tmp_path / "stat").write_text("".join(lines))

    write([0] * 8, [0] * 8)
    monkeypatch.setattr(
        processors.time, "sleep", lambda _: write([100, 100, 90, 0, 0, 0, 0, 0], [0, 0, 10, *[100] * 5])
    )
    assert free_processors() == 5


def test_others_of_the_machine_take_nothing_of_a_containers_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text("300000 100000")
    (tmp_path / "stat").write_text("cpu0 1 0 0 0 0 0 0 0\n")
    for busy, free in ((4.0, 3), (6.0, 2), (8.0, 1)):
        monkeypatch.setattr(processors, "busy", lambda *_, busy=busy: busy)
        assert free_processors(0) == free


def test_one_processor_is_left_at_least(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu0 1 0 0 0 0 0 0 0\n")
    monkeypatch.setattr(processors, "busy", lambda *_: 9.0)
    assert free_processors(0) == 1


def test_all_are_free_where_the_system_does_not_say() -> None:
    assert free_processors(0) == 8
