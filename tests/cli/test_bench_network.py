"""`poolbench bench` with overrides: rows of whole networks. How fast they are is nobody's business here."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from poolbench.cli import bench_network, main
from poolbench.cli.bench_network import COLUMNS
from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import compose
from poolbench.measure.speed import Quantity, SideBySide

TINY = ["backbone=lenet5", "dataset.image_size=28", "trainer=cpu", "allocator=system", "protocol.batch_size=2"]
LITTLE_TIME = ["--budget", "0.01"]
Rows = Callable[..., list[dict[str, str]]]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads_kept: None) -> Rows:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> list[dict[str, str]]:
        file = tmp_path / "speed.csv"
        assert main(["bench", *TINY, *LITTLE_TIME, *arguments, "--csv", str(file)]) == 0
        with file.open(newline="") as lines:
            return list(csv.DictReader(lines))

    return run


@pytest.fixture
def threads_kept() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_row_for_each_arm_batch_size_and_quantity(rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows("pooling=avg,max", "--batch-sizes", "3,1", "seed=0,1")
    places = [
        ("latency", "1"),
        *((quantity, size) for size in "13" for quantity in ("inference", "forward_backward", "training")),
    ]
    assert [(row["variant"], row["quantity"], row["batch_size"]) for row in found] == [
        (variant, *place) for variant in ("avg", "max") for place in places
    ]
    for row in found:
        assert tuple(row) == COLUMNS
        assert (row["backbone"], row["dataset"], row["reference"]) == ("lenet5", "digits[image_size=28]", "max")
        assert (row["input_shape"], row["memory_format"], row["precision"]) == ("1×28×28", "channels_last", "float32")
        assert (row["threads"], row["clock"], row["device"], row["compiled"]) == ("1", "processor", "cpu", "False")
        assert row["unit"] == ("ms" if row["quantity"] == "latency" else "images/s")
        assert float(row["ci95_low"]) <= float(row["median"]) <= float(row["ci95_high"])
        assert int(row["repeats"]) >= 8
        assert (row["ratio_ci95_low"] == "") == (row["variant"] == "max"), "the reference itself is timed alone"
        assert row["settled"] in ("True", "False")
        for name in ("allocator", "device_name", "implementation", "reference_implementation", "measured"):
            assert row[name], name
        for name in ("python", "poolbench", "torch", "torchvision"):
            assert row[name], name
        assert row["reason"] == ""
    said = capsys.readouterr().out
    assert "lenet5 · avg · digits[image_size=28] beside max" in said
    assert "forward_backward" in said


@pytest.mark.slow
def test_the_batch_size_is_the_protocols_and_one(rows: Rows) -> None:
    assert {row["batch_size"] for row in rows("pooling=avg")} == {"1", "2"}


@pytest.mark.slow
def test_latency_is_of_one_image_whatever_the_batch_sizes(rows: Rows) -> None:
    found = rows("pooling=avg", "--batch-sizes", "3")
    assert [(row["quantity"], row["batch_size"]) for row in found] == [
        ("latency", "1"),
        ("inference", "3"),
        ("forward_backward", "3"),
        ("training", "3"),
    ]
    assert all(row["implementation"] for row in found)


@pytest.mark.slow
def test_the_protocol_decides_precision_layout_and_compiling(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    found = rows(
        "pooling=avg", "protocol.precision=bfloat16", "protocol.memory_format=contiguous", "protocol.compile=true"
    )
    assert {(row["precision"], row["memory_format"], row["compiled"]) for row in found} == {
        ("bfloat16", "contiguous", "True")
    }
    assert len(compiled) == 2 * len(found)


@pytest.mark.quick(1)
@pytest.mark.parametrize(("arguments", "threads"), [(["threads=2"], "2"), (["threads=1", "--threads", "2"], "2")])
def test_threads(rows: Rows, arguments: list[str], threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = Quantity("ms", 2.0, 1.0, 3.0, 1.0, 0.9, 1.1, 8, True)
    monkeypatch.setattr(SideBySide, "measure", lambda *_: figures)
    found = rows("pooling=avg", "--batch-sizes", "1", *arguments)
    assert {(row["threads"], row["clock"]) for row in found} == {(threads, "wall")}


def test_flags_may_stand_anywhere_and_configurations_in_a_folder_of_ones_own(rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "mine" / "pooling").mkdir(parents=True)
    mine = "name: mine\ndownsample:\n  _target_: torch.nn.LPPool2d\n  norm_type: 2\n"
    (tmp_path / "mine" / "pooling" / "mine.yaml").write_text(mine)
    found = rows("--batch-sizes", "1", "pooling=mine", "--config-dir", str(tmp_path / "mine"), "reference=avg")
    assert {(row["variant"], row["reference"]) for row in found} == {("mine", "avg")}


def test_out_of_memory_is_a_reason_and_the_smaller_sizes_are_there(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from poolbench.measure import speed

    step = speed.training_step

    def limited(network: Any, images: Any, *further: Any) -> Callable[[], object]:
        if len(images) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return step(network, images, *further)

    monkeypatch.setattr(speed, "training_step", limited)
    found = {(row["quantity"], row["batch_size"]): row for row in rows("pooling=avg", "--batch-sizes", "1,2,4")}
    assert found["training", "1"]["median"]
    assert found["inference", "4"]["median"]
    assert found["training", "2"]["reason"].startswith("out of memory at batch size 2: DefaultCPUAllocator")
    assert found["training", "4"]["reason"] == "not tried: batch size 2 did not fit into memory"
    assert found["training", "4"]["median"] == ""
    assert "out of memory at batch size 2" in capsys.readouterr().out


def test_a_batch_that_does_not_fit_takes_no_other_with_it(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolbench.measure import implementations

    batch = implementations._batch

    def limited(x: Any, batch_size: int) -> Any:
        if batch_size > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return batch(x, batch_size)

    monkeypatch.setattr(implementations, "_batch", limited)
    found = rows("pooling=avg", "--batch-sizes", "2,4")
    assert {row["batch_size"]: row["implementation"] for row in found} == {"1": "fast", "2": "fast", "4": ""}


def test_a_network_that_cannot_be_is_a_row_with_a_reason(rows: Rows) -> None:
    found = rows("pooling=avg", "dataset.image_size=28,2", "--batch-sizes", "1")
    assert [bool(row["reason"]) for row in found] == [False] * 4 + [True]


def test_each_reference_is_measured() -> None:
    line = CommandLine.of("bench", ["backbone=lenet5", "pooling=lip", "reference=max,avg", "seed=0,1"])
    found = bench_network._pairs(compose(line), line, None)
    assert [(one.labels["variant"], other.labels["variant"]) for _, one, other in found] == [
        ("lip", "max"),
        ("lip", "avg"),
    ]


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["backbone=lenet", "pooling=avg"], "did you mean lenet5"),
        (["backbone=lenet5", "avg"], "'avg' is no override"),
        (["backbone=lenet5", "--batch-sizes", "8,none"], "--batch-sizes must be whole numbers"),
        (["backbone=lenet5", "--batch-sizes", "0"], "--batch-sizes must be whole numbers"),
        (["backbone=lenet5", "--half-width", "0"], "--half-width must be a number above 0"),
        (["backbone=lenet5", "--half-width", "nan"], "--half-width must be a number above 0, got nan"),
        (["backbone=lenet5", "--budget", "0"], "--budget must be a number above 0"),
        (["backbone=lenet5", "--threads", "0"], "--threads must be at least 1"),
        (["backbone=lenet5", "threads=0"], "`threads` must be"),
        (["backbone=lenet5", "--layout", "contiguous"], "--layout is for operators"),
        (["avg", "--batch-sizes", "8"], "--batch-sizes is for networks"),
        (["backbone=lenet5", "reference=maxx"], "unknown reference 'maxx'"),
        (["backbone=lenet5", "allocator=keep,system"], "`allocator` is one for a process, got keep, system"),
        (["backbone=lenet5", "dataset=image_folder"], "where no data is opened"),
        (["backbone=lenet5", "pooling=max,avg", "reference=lip[kernel=3]"], "kernel"),
        (["backbone=lenet5", "pooling=avg", "pooling.downsample.power=3"], "power"),
        (["backbone=lenet5", "--csv", "no/such/folder.csv"], "--csv: no/such/folder.csv cannot be written"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench_network, "_rows", lambda *_, **__: pytest.fail("measured"))
    assert main(["bench", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_the_document_names_every_column() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
    section = text.partition("## The CSV of `poolbench bench backbone=")[2]
    named = [
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert named == list(COLUMNS)
