"""`poolbench cost`: what networks cost, without training or timing them, and without any data."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cells import SHORT, records

from poolbench.cli import main

Cost = Callable[..., tuple[int, str, str]]
OWN = """
from torch import nn

class Own(nn.MaxPool2d):
    def __init__(self, kernel_size, stride, padding=0, ceil_mode=False):
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
"""


@pytest.fixture
def cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cost:
    """Run the command; return its exit status and what it wrote to standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["cost", *arguments])
        return status, *capsys.readouterr()

    return run


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the table's rows."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[:1] == "│"]


def test_a_row_for_each_variant(cost: Cost) -> None:
    status, out, _ = cost("pooling=max,avg_topk,lip", "--batch-size", "32", *["dataset=cifar10", "dataset.root=none"])
    assert status == 0
    assert "3x32x32 examples, memory of a step of 32 in float32" in out
    rows = rows_of(out)
    assert [row[:5] for row in rows] == [
        ["slides", "cifar10", "max", "270,942", "0"],
        ["slides", "cifar10", "avg_topk", "270,942", "0"],
        ["slides", "cifar10", "lip", "282,558", "11,616"],
    ]
    # 75·16·1024 + 400·32·256 of the convolutions, 2048·120 + 120·84 + 84·10 of the classifier.
    assert rows[0][5] == "4.76"
    # 6,144 windows: 3 comparisons each, and 7 operations for the mean of two; a map of 24,576 values comes to them.
    assert [row[6:9] for row in rows[:2]] == [["0.018", "0.098", "0.025"], ["0.043", "0.098", "0.025"]]
    assert float(rows[2][6]) > 9
    kept, peak = ([float(row[at]) for row in rows] for at in (9, 10))
    assert kept[2] > kept[0]
    assert all(more > less > 0 for more, less in zip(peak, kept, strict=True))


def test_an_operator_that_states_no_work_has_dashes(
    cost: Cost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "operator_of_my_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = "pooling.downsample._target_=operator_of_my_own.Own"
    status, out, _ = cost("pooling=max", "~pooling.downsample.implementation", own, "--csv", "rows.csv")
    assert status == 0
    (row,) = rows_of(out)
    assert row[6:9] == ["–", "–", "–"]
    assert row[3:5] == ["85,822", "0"]
    with (tmp_path / "rows.csv").open(newline="") as lines:
        (found,) = csv.DictReader(lines)
    assert [found[f"pooling_{key}"] for key in ("operations", "bytes_read", "bytes_written")] == ["", "", ""]


def test_rows_as_csv_and_json(cost: Cost, tmp_path: Path) -> None:
    status, _, _ = cost("pooling=max,lip", "--batch-size=5", "--csv", "a/rows.csv", "--json", "b/rows.json")
    assert status == 0
    with (tmp_path / "a/rows.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    detailed = json.loads((tmp_path / "b/rows.json").read_text())
    assert [row["variant"] for row in rows] == [row["variant"] for row in detailed] == ["max", "lip"]
    for row, found in zip(rows, detailed, strict=True):
        assert row["input_shape"] == "x".join(map(str, found["input_shape"])) == "1x16x16"
        assert {key: row[key] for key in found["cost"]} == {key: str(value) for key, value in found["cost"].items()}
        assert found["cost"]["memory_batch_size"] == 5
        assert [site["name"] for site in found["sites"]] == ["pool1", "pool2"]
        assert all({"parameters", "multiply_adds", "receptive_field"} <= set(site) for site in found["sites"])
    sites = detailed[1]["sites"]
    assert sum(site["parameters"] for site in sites) == detailed[1]["cost"]["parameters_pooling"] == 11616
    assert sites[0]["multiply_adds"] == 9 * 16 * 16 * 16 * 16


def test_the_batch_of_the_memory_is_the_protocols_unless_given(cost: Cost) -> None:
    titles = [cost("protocol.batch_size=6", *more)[1].splitlines()[0] for more in ([], ["--batch-size", "7"])]
    assert [" step of 6 " in titles[0], " step of 7 " in titles[1]] == [True, True]


def test_the_size_of_the_images_is_an_override(cost: Cost) -> None:
    status, out, _ = cost("dataset.image_size=8")
    assert status == 0
    assert "1x8x8 examples" in out
    # 25·16 + 16, 400·32 + 32, 32·2·2·120 + 120, 120·84 + 84, 84·10 + 10
    assert rows_of(out)[0][3] == f"{416 + 12832 + 15480 + 10164 + 850 + 0:,}"


def test_examples_of_another_shape_are_another_table(cost: Cost) -> None:
    status, out, _ = cost("dataset.image_size=8,16", "protocol.batch_size=6")
    assert status == 0
    titles = [line for line in out.splitlines() if " examples, memory of a step of 6 " in line]
    assert [title.split()[0] for title in titles] == ["1x8x8", "1x16x16"]
    assert len(rows_of(out)) == 2


def test_one_of_several_that_cannot_be_is_told(cost: Cost, tmp_path: Path) -> None:
    status, out, _ = cost("pooling=spatial_pyramid,max", "dataset.image_size=4", "--csv", "rows.csv")
    assert status == 2
    assert [row[2] for row in rows_of(out)] == ["max"]
    assert "unsupported: slides · spatial_pyramid · digits[image_size=4]: `pooling.head`" in out
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 2


def test_several_that_all_cannot_be(cost: Cost) -> None:
    status, out, _ = cost("backbone=allcnn", "pooling=max,avg", "dataset.image_size=4")
    assert status == 2
    assert rows_of(out) == []
    assert out.count("unsupported: ") == 2


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pooling=spatial_pyramid", "dataset.image_size=4"], "at most the map's size 1x1"),
        (["backbone=torchvision", "backbone.model=resnet5"], "knows no 'resnet5'; did you mean resnet50"),
        (["dataset=image_folder"], "dataset.num_classes=…"),
        (["pooling=maxx"], "did you mean max"),
        (["dataset.imagesize=8"], "dataset.imagesize"),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--cvs", "x"], "--cvs"),
    ],
)
def test_a_mistake_is_a_usage_error(cost: Cost, arguments: list[str], says: str) -> None:
    status, out, err = cost(*arguments)
    assert (status, out) == (2, "")
    assert says in err


def test_a_batch_size_that_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["cost", "--batch-size", "many"])
    assert end.value.code == 2
    assert "--batch-size: invalid int value: 'many'" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--csv", "--json"])
def test_a_file_that_cannot_be_written_is_a_usage_error(cost: Cost, tmp_path: Path, flag: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in ("file/rows", "folder"):
        status, _, err = cost(flag, path)
        assert status == 2
        assert f"{flag}: {path} cannot be written" in err
    assert [child.name for child in (tmp_path / "folder").iterdir()] == []


def test_a_record_has_what_the_command_shows(train: Callable[..., int], cost: Cost, tmp_path: Path) -> None:
    assert train("pooling=lip") == 0
    (record,) = records(tmp_path / "results" / "adhoc").values()
    assert cost(*SHORT, "pooling=lip", "--json", "rows.json")[0] == 0
    (shown,) = json.loads((tmp_path / "rows.json").read_text())
    assert record["audit"]["sites"] == shown["sites"]
    assert [site["receptive_field"] for site in record["audit"]["sites"]] == [[8, 8], [22, 22]]
    assert [site["parameters"] for site in record["audit"]["sites"]] == [9 * 16 * 16 + 32, 9 * 32 * 32 + 64]
    assert [site["multiply_adds"] for site in record["audit"]["sites"]] == [9 * 16 * 16 * 256, 9 * 32 * 32 * 64]
    assert record["cost"].items() >= shown["cost"].items()
    assert record["cost"]["memory_method"] == "fake"
    assert shown["cost"].keys() == {
        "parameters",
        "parameters_trainable",
        "parameters_pooling",
        "multiply_adds",
        "pooling_operations",
        "pooling_bytes_read",
        "pooling_bytes_written",
        "kept_bytes",
        "peak_bytes",
        "memory_batch_size",
        "memory_method",
    }


def test_help_lists_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["cost", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(flag in out for flag in ("--batch-size BATCH_SIZE", "--csv FILE", "--json FILE"))
    assert "poolbench cost backbone=resnet20" in out
