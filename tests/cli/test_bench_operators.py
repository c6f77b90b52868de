"""`poolbench bench` of operators: its rows and tables. How fast they are is nobody's business here."""

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from poolbench.cli import bench, choices, main
from poolbench.measure import allocator, operators
from poolbench.measure.operators import Shape
from poolbench.pooling import AvgPool2d
from poolbench.pooling.bases.arguments import IMPLEMENTATIONS, IMPLEMENTATIONS_OF_HEADS

# `--quick` makes their batches of 8 one.
SMALL = (Shape("small", (8, 3, 8, 8), 2, 2, 0), Shape("overlapping", (8, 2, 9, 9), 3, 2, 1))
TITLES = ["1×3×8×8 k2s2", "1×2×9×9 k3s2p1"]
QUICKLY = ["--quick", "--budget", "0.001"]
PLACE = ("shape", "layout", "dtype", "operator")
FIGURES = ("ms", "max_ms", "ratio", "ratio_ci95_low", "ratio_ci95_high", "repeats", "settled")
COLUMNS = (
    *PLACE,
    *("implementation", "threads", "keeps_layout", "kept_mib", "kept_max_mib", "reason"),
    *(f"{what}_{figure}" for what in ("forward", "backward") for figure in FIGURES),
)
REFUSING = """
from torch import nn

class Refusing(nn.MaxPool2d):
    def forward(self, images):
        if images.dtype.itemsize == 2:
            raise RuntimeError("not implemented for [this] dtype")
        return super().forward(images)
"""
Rows = Callable[..., list[dict[str, str]]]


@pytest.fixture(autouse=True)
def process_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Leave the process's threads and allocator as they are; give the allocators that were asked for."""
    asked: list[str] = []
    monkeypatch.setattr(allocator.ALLOCATOR, "set", lambda setting: asked.append(setting) or setting)
    threads = torch.get_num_threads()
    yield asked
    torch.set_num_threads(threads)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Run the command; return the rows of its CSV."""

    def run(*arguments: str) -> list[dict[str, str]]:
        file = tmp_path / "operators.csv"
        assert main(["bench", *QUICKLY, *arguments, "--csv", str(file)]) == 0
        with file.open(newline="") as lines:
            return list(csv.DictReader(lines))

    return run


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "SHAPES", SMALL)


def tables(text: str) -> dict[str, list[list[str]]]:
    """Return the cells of each table's rows, by the table's title."""
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if "×" in line and line[:1].isdigit():
            found[line.strip()] = []
        elif line.startswith("│"):
            found[list(found)[-1]].append([cell.strip() for cell in line.strip("│").split("│")])
    return found


def test_a_row_for_each_shape_layout_dtype_and_operator(rows: Rows, small: None, process_kept: list[str]) -> None:
    found = rows("max", "--dtype", "float32", "--dtype", "bfloat16", "avg")
    assert [tuple(row[name] for name in PLACE) for row in found] == [
        (title, layout, dtype, operator)
        for title in TITLES
        for layout in ("contiguous", "channels_last")
        for dtype in ("float32", "bfloat16")
        for operator in ("copy", "avg", "max")
    ]
    for row in found:
        assert tuple(row) == COLUMNS
        assert (row["threads"], row["reason"]) == ("1", "")
        assert row["implementation"] == ("torch" if row["operator"] == "copy" else "fast")
        for what in ("forward", "backward"):
            if (what, row["operator"]) == ("backward", "copy"):
                assert {row[f"{what}_{figure}"] for figure in FIGURES} == {""}, "a copy has no backward pass"
                continue
            ms, max_ms, ratio, low, high = (float(row[f"{what}_{figure}"]) for figure in FIGURES[:5])
            assert all(0 < value < math.inf for value in (ms, max_ms, ratio))
            assert low <= ratio <= high
            assert int(row[f"{what}_repeats"]) >= 8
            assert row[f"{what}_settled"] in ("True", "False")
    assert process_kept == ["keep"]


def test_what_max_keeps_is_that_of_its_own_dtype(rows: Rows, small: None) -> None:
    found = rows("avg", "--dtype", "float32", "--dtype", "bfloat16", "--layout", "contiguous")
    kept = {(row["shape"], row["dtype"]): float(row["kept_max_mib"]) for row in found if row["operator"] == "avg"}
    # The input, and an index of 8 bytes for each output.
    values, outputs = 3 * 8 * 8, 3 * 4 * 4
    assert kept[TITLES[0], "float32"] == (4 * values + 8 * outputs) / 2**20
    assert kept[TITLES[0], "bfloat16"] == (2 * values + 8 * outputs) / 2**20


@pytest.mark.slow
def test_every_dtype_has_its_own_yardstick_and_floor_in_the_table(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operators, "SHAPES", operators.SHAPES[:2])
    found = rows("max", "avg", "--dtype", "float32", "--dtype", "bfloat16", "--layout", "channels_last")
    printed = tables(capsys.readouterr().out)
    assert list(printed) == ["16×64×32×32 k2s2, channels_last", "16×64×32×32 k3s2p1, channels_last"]
    for title, table in printed.items():
        assert [(line[0], line[2]) for line in table] == [
            (operator, dtype)
            for dtype in ("float32", "bfloat16")
            for operator in ("nn.MaxPool2d", "copy", "avg", "max")
        ]
        for dtype, kept in (("float32", "6.0"), ("bfloat16", "4.0")):  # 1,048,576 values, 262,144 indices of 8 bytes
            here = [row for row in found if (row["shape"] + ", " + row["layout"], row["dtype"]) == (title, dtype)]
            forward, backward = (
                f"{median(float(row[name]) for row in here if row[name]):.2f}"
                for name in ("forward_max_ms", "backward_max_ms")
            )
            yardstick, *others = (line for line in table if line[2] == dtype)
            assert yardstick == ["nn.MaxPool2d", "torch", dtype, forward, "1", backward, "1", kept]
            assert [line[3] for line in others] == [f"{float(row['forward_ms']):.2f}" for row in here]
            for line, row in zip(others, here, strict=True):
                assert f"{float(row['forward_ratio']):.2f} [" in line[4]


def test_no_figure_is_cut_where_the_table_is_wide() -> None:
    from rich.console import Console

    row = {"operator": "blurred_strided_conv", "implementation": "torch", "dtype": "bfloat16", "reason": ""}
    row |= {"kept_mib": 1258.1, "kept_max_mib": 1306.2}
    for what in ("forward", "backward"):
        figures = (3852.12, 4268.14, 82.51, 69.38, 112.8, 8, False)
        row |= {f"{what}_{figure}": value for figure, value in zip(FIGURES, figures, strict=True)}
    console = Console(width=100)
    with console.capture() as captured:
        console.print(bench._table("wide", [row]))
    assert "…" not in captured.get()
    for figure in ("3852.12", "4268.14", "1258.1", "1306.2", "~82.51", "[69.38,", "112.80]"):
        assert figure in captured.get()


@pytest.mark.quick(1)
@pytest.mark.parametrize(("threads", "said"), [("1", "1 thread,"), ("2", "2 threads,")])
def test_threads(rows: Rows, small: None, threads: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["threads"] for row in rows("max", "--threads", threads, "--layout", "contiguous")} == {threads}
    assert said in " ".join(capsys.readouterr().out.split())


def test_one_layout(rows: Rows, small: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["layout"] for row in rows("max", "--layout", "contiguous")} == {"contiguous"}
    assert list(tables(capsys.readouterr().out)) == [f"{title}, contiguous" for title in TITLES]


def test_implementations_are_those_of_operators() -> None:
    """The command names them without loading torch, for a quick answer to a misspelt one."""
    assert bench.IMPLEMENTATIONS == IMPLEMENTATIONS
    head, window = (
        {"_target_": f"poolbench.pooling.{name}", "implementation": "fast"} for name in ("GlobalGeMPool2d", "MaxPool2d")
    )
    for implementation in IMPLEMENTATIONS:
        assert bench._implemented(window, implementation)["implementation"] == implementation
        expected = implementation if implementation in IMPLEMENTATIONS_OF_HEADS else "fast"
        assert bench._implemented(head, implementation)["implementation"] == expected
    assert bench._implemented({"_target_": "torch.nn.Flatten"}, "torch") == {"_target_": "torch.nn.Flatten"}


def test_tritons_kernels_are_for_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "max", "--implementation", "triton"]) == 2
    assert "--implementation triton is for --device cuda" in capsys.readouterr().err


@pytest.mark.quick(1)
@pytest.mark.parametrize("implementation", ["torch", "fast"])
def test_the_implementation_asked_for_is_the_one_that_ran(rows: Rows, small: None, implementation: str) -> None:
    found = rows("max", "avg", "--implementation", implementation)
    assert {row["implementation"] for row in found if row["operator"] != "copy"} == {implementation}


def test_what_cannot_run_is_a_reason_below_the_table(
    rows: Rows, small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "refusing_16_bits.py").write_text(REFUSING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(bench, "operator_specs", lambda _: {"own": {"_target_": "refusing_16_bits.Refusing"}})
    found = rows("own", "--layout", "contiguous", "--dtype", "float32", "--dtype", "bfloat16")
    reasons = {(row["dtype"], row["operator"]): row["reason"] for row in found if row["reason"]}
    assert reasons == {("bfloat16", "own"): "RuntimeError: not implemented for [this] dtype"}
    out = capsys.readouterr().out
    assert "own, bfloat16: RuntimeError: not implemented for [this] dtype" in out
    table = tables(out)[f"{TITLES[0]}, contiguous"]
    assert table[-1] == ["own", "", "bfloat16", "–", "", "", "", ""]
    assert table[3][:3] == ["nn.MaxPool2d", "torch", "bfloat16"]
    assert table[3][5:] == ["", "", ""], "nothing was timed with a backward pass"


def test_what_is_measured_stays_when_the_command_is_ended(
    rows: Rows, small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def until_ended(specs: dict[str, Any], *, shapes: list[Shape], **further: Any) -> Iterator[dict[str, Any]]:
        if shapes[0].name != "small":
            raise KeyboardInterrupt
        yield from measured(specs, shapes=shapes, **further)

    measured = operators.bench_operators
    monkeypatch.setattr(operators, "bench_operators", until_ended)
    with pytest.raises(AssertionError, match="130"):  # the exit status of an interrupted command
        rows("max", "--layout", "contiguous")
    with (tmp_path / "operators.csv").open(newline="") as lines:
        assert [row["operator"] for row in csv.DictReader(lines)] == ["copy", "max"]


def test_without_names_every_operator(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def remember(specs: dict[str, Any], **_: Any) -> list[dict[str, Any]]:
        asked.extend(specs)
        return []

    monkeypatch.setattr(operators, "bench_operators", remember)
    assert main(["bench", "--layout", "contiguous"]) == 0
    assert set(asked) == set(choices.names("pooling"))
    assert {"max", "avg_topk", "strided_conv", "gap", "global_gem", "simpool"} <= set(asked)


@pytest.mark.slow
def test_heads_stand_beside_the_pooling_of_windows_on_the_same_map(
    rows: Rows, small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["attention", "class_maps_gap", "compact_bilinear", "gap", "global_gem", "spatial_pyramid"]
    found = rows(*names, "--dtype", "float32", "--dtype", "bfloat16")
    heads = [row for row in found if row["operator"] != "copy"]
    assert sorted({row["operator"] for row in heads}) == names
    for row in heads:
        assert (row["reason"], row["implementation"], row["keeps_layout"]) == ("", "torch", "")
        assert float(row["forward_ms"]) > 0
        assert float(row["backward_max_ms"]) > 0
    assert "a head has no window" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_head_by_a_kernel_is_named(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "SHAPES", operators.SHAPES[:1])
    found = rows("global_gem", "--layout", "channels_last")
    assert [row["implementation"] for row in found] == ["torch", "fast"]
    found = rows("global_gem", "--layout", "channels_last", "--implementation", "torch")
    assert [row["implementation"] for row in found] == ["torch", "torch"]


def test_replayed_kernels_are_a_second_ratio(
    rows: Rows, small: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_capture(operator: Any, shape: Shape, **further: Any) -> dict[str, Any]:
        return measured(operator, shape, capture=refuse if isinstance(operator, AvgPool2d) else same, **further)

    def same(action: Any) -> Any:
        return action

    def refuse(_: Any) -> Any:
        raise RuntimeError("operation not permitted [while] capturing\nand more")

    measured = operators.operator_speed
    monkeypatch.setattr(operators, "operator_speed", with_capture)
    found = rows("max", "avg", "--layout", "contiguous")
    out = capsys.readouterr().out
    for row in found:
        given = row["operator"] == "max"
        assert {bool(row[f"{what}_graph_{figure}"]) for what in ("forward", "backward") for figure in FIGURES} == {
            given
        }
        assert row["graph_reason"] == ("operation not permitted [while] capturing" if row["operator"] == "avg" else "")
    assert "avg, float32: no graph: operation not permitted [while] capturing" in out


def test_the_table_has_a_second_ratio_where_kernels_are_replayed() -> None:
    row = operators.operator_speed(
        AvgPool2d(2), SMALL[0], layout="contiguous", dtype="float32", budget_s=0.001, capture=lambda action: action
    )
    row["operator"] = "avg"
    yardstick, line = bench._yardstick([row], True), bench._line(row, True)
    assert [yardstick[at] for at in (4, 5, 7, 8)] == ["1", "1", "1", "1"]
    for at, what in ((5, "forward"), (8, "backward")):
        assert f"{row[f'{what}_graph_ratio']:.2f}" in line[at]
    assert len(line) == len(yardstick) == len(bench._line(row, False)) + 2
    del row["forward_graph_ms"], row["backward_graph_ms"]
    assert [bench._line(row, True)[at] for at in (5, 8)] == ["", ""]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["max", "avgg"], "unknown pooling 'avgg'; did you mean avg"),
        (["max", "--dtype", "float16"], "--dtype float16 is for --device cuda"),
        (["max", "--device", "cuda"], "--device cuda: torch finds no CUDA device here"),
        (["backbone=slides", "--device", "cuda"], "--device is for operators"),
        (["max", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["max", "--budget", "-1"], "--budget must be a number above 0 seconds, got -1.0"),
        (["max", "--budget", "nan"], "--budget must be a number above 0 seconds, got nan"),
        (["max", "--half-width", "0.1"], "--half-width is for networks"),
        (["max", "--csv", "no/such/folder.csv"], "--csv: no/such/folder.csv cannot be written"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(operators, "bench_operators", lambda *_, **__: pytest.fail("measured"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--dtype", "float64"], ["--layout", "nhwc"], ["--device", "tpu"]])
def test_an_unknown_choice_names_what_there_is(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "max", *arguments])
    assert ended.value.code == 2
    assert f"argument {arguments[0]}: invalid choice: '{arguments[1]}' (choose from" in capsys.readouterr().err
