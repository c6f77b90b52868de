"""`poolbench inspect`: the sites of a network, before any training and without any data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poolbench.cli import main

Inspect = Callable[..., tuple[int, str, str]]
# No folder has this name: nothing may be read from there.
CIFAR10 = ["dataset=cifar10", "dataset.root=no/such/folder"]


@pytest.fixture
def inspect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inspect:
    """Run the command; return its exit status and what it wrote to standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["inspect", *arguments])
        return status, *capsys.readouterr()

    return run


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the tables' rows."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[:1] == "│"]


def test_the_sites_of_a_residual_network(inspect: Inspect) -> None:
    status, out, _ = inspect("backbone=resnet20", "pooling=avg_topk", *CIFAR10)
    assert status == 0
    assert out.splitlines()[0] == "resnet20 · avg_topk · cifar10: input 3×32×32, 10 outputs"
    sites = {
        "layer2.0.conv1": ["Conv2d", "16×32×32", "32×16×16", "18×18", "4,608", "4.7"],
        "layer2.0.shortcut.subsample": ["Subsample2d", "16×32×32", "16×16×16", "16×16", "0", "0.0"],
        "layer3.0.conv1": ["Conv2d", "32×16×16", "64×8×8", "44×44", "18,432", "4.7"],
        "layer3.0.shortcut.subsample": ["Subsample2d", "32×16×16", "32×8×8", "40×40", "0", "0.0"],
    }
    geometry = ["AvgTopKPool2d(k=2)", "2×2", "2×2", "0×0", "yes"]
    assert rows_of(out) == [[name, own, *geometry, *figures] for name, (own, *figures) in sites.items()]
    assert "head: its own, 64 features, at head\n" in out
    # 40.6 M of the network's own, and 3/4 of 4.7 M more for each convolution that is at stride 1 now.
    assert "269,722 parameters (0 of the poolings), 47.6 M multiply-adds an example" in out


@pytest.mark.slow
def test_several_poolings_and_which_are_the_same_network(inspect: Inspect) -> None:
    status, out, _ = inspect("backbone=resnet20", "pooling=max,avg,gap", *CIFAR10)
    assert status == 0
    assert [line.split(" · ")[1] for line in out.splitlines() if " · " in line] == ["max", "avg", "gap"]
    assert "head: GlobalAvgPool2d in the place of Sequential, 64 features" in out
    same = [line for line in out.splitlines() if "the same network" in line]
    assert same == ["resnet20 on cifar10: max, gap are the same network"]


def test_on_slides_a_mean_as_head_is_another_network(inspect: Inspect) -> None:
    status, out, _ = inspect("pooling=max,gap,lip")
    assert status == 0
    assert "the same network" not in out
    assert "head: GlobalAvgPool2d in the place of Flatten, 32 features" in out
    lip = [row for row in rows_of(out) if row[2].startswith("LIPPool2d")]
    # 3·3·C² weights, C scales and C shifts.
    assert [row[-2] for row in lip] == ["2,336", "9,280"]


def test_an_arm_with_two_protocols_is_named_once_among_equal_ones(inspect: Inspect) -> None:
    status, out, _ = inspect("backbone=lenet5", "pooling=max", "protocol=default,fast", *CIFAR10)
    assert status == 0
    assert "are the same network" not in out


def test_two_seeds_of_a_variant_are_one_design(inspect: Inspect) -> None:
    status, out, _ = inspect("pooling=lip,max", "seed=0,1")
    assert status == 0
    assert [line.split(" · ")[1] for line in out.splitlines() if " · " in line] == ["lip", "max"]
    assert "the same network" not in out
    # So the only variant that cannot be is an error, for any number of seeds.
    assert inspect("pooling=spatial_pyramid", "dataset.image_size=4", "seed=0,1")[0] == 2


def test_one_of_several_that_cannot_be_is_told(inspect: Inspect, tmp_path: Path) -> None:
    status, out, _ = inspect("pooling=max,spatial_pyramid", "dataset.image_size=4", "--json", "audits.json")
    assert status == 2
    assert "slides · max · digits[image_size=4]: input 1×4×4" in out
    assert "unsupported: slides · spatial_pyramid · digits[image_size=4]: `pooling.head`" in out
    audited, refused = json.loads((tmp_path / "audits.json").read_text())
    assert audited["labels"]["variant"] == "max"
    assert "at most the map's size 1x1, got (1, 2, 4)" in refused["unsupported"]


def test_the_only_one_that_cannot_be_is_an_error(inspect: Inspect) -> None:
    status, out, err = inspect("pooling=spatial_pyramid", "dataset.image_size=4")
    assert (status, out) == (2, "")
    assert "at most the map's size 1x1, got (1, 2, 4)" in err


def test_what_is_to_be_said_of_the_head_stands_in_its_line(inspect: Inspect, tmp_path: Path) -> None:
    asked = ["backbone=allcnn", "pooling=gap,adaptive", "dataset=cifar10", "dataset.root=no/such/folder"]
    status, out, _ = inspect(*asked, "dataset.image_size=9", "--json", "audits.json")
    assert status == 0
    notes = [one["audit"]["head"]["note"] for one in json.loads((tmp_path / "audits.json").read_text())]
    assert notes[0] == ""
    grid, added = notes[1].split("; ")
    assert grid == "a 2x2 grid of a 1x1 map: values are repeated"
    assert added.startswith("a linear classifier of 40 features was added: ")
    own, exchanged = [line for line in out.splitlines() if line.startswith("head: ")]
    assert own.endswith(" in the place of Sequential, 10 features, at head")
    said = "AdaptiveAvgPool2dFlatten(output_size=2) in the place of Sequential, 40 features, at head"
    assert exchanged == f"head: {said}; {grid}; {added}"


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["backbone=torchvision", "backbone.model=resnet5"], "knows no 'resnet5'; did you mean resnet50"),
        (["dataset=image_folder"], "dataset.num_classes=…"),
        (["dataset.imagesize=8"], "dataset.imagesize"),
        (["pooling=avg_topkk"], "did you mean avg_topk"),
        (["pooling=avg_topk", "pooling.downsample.k=5"], "got 5"),
        (["seed=-1"], "got -1"),
        (["dataset.image_size=0"], "`dataset.image_size` must be a whole number, at least 1"),
        (["--jsn", "x"], "--jsn"),
    ],
)
def test_a_mistake_is_a_usage_error(inspect: Inspect, arguments: list[str], says: str) -> None:
    status, out, err = inspect(*arguments)
    assert (status, out) == (2, "")
    assert says in err


def test_classes_that_are_given_need_no_folder(inspect: Inspect) -> None:
    status, out, _ = inspect("dataset=image_folder", "dataset.num_classes=7", "dataset.root=no/such/folder")
    assert status == 0
    assert "input 3×32×32, 7 outputs" in out.splitlines()[0]


def test_the_size_of_the_images_is_an_override(inspect: Inspect) -> None:
    status, out, _ = inspect("dataset.image_size=24", "dataset.channels=2")
    assert status == 0
    assert [(row[-5], row[-4]) for row in rows_of(out)] == [("16×24×24", "16×12×12"), ("32×12×12", "32×6×6")]
    assert "input 2×24×24" in out


def test_what_is_left_alone_and_why(inspect: Inspect) -> None:
    network = ["backbone=torchvision", "backbone.model=resnet18", "dataset.image_size=64"]
    status, pooled, _ = inspect(*network)
    assert status == 0
    assert "strided convolutions are kept" not in pooled
    status, kept, _ = inspect(*network, "backbone.strided_convolutions=kept")
    assert status == 0
    assert [row[0] for row in rows_of(kept)] == ["maxpool"]
    assert len(rows_of(pooled)) > 4
    (line,) = [line for line in kept.splitlines() if "strided convolutions are kept" in line]
    assert line.startswith("left alone: ")
    assert "layer2.0.conv1" in line
    assert "layer2.0.downsample.0" in line
    assert "(backbone.strided_convolutions=kept)" in line


def test_the_audit_as_json(inspect: Inspect, tmp_path: Path) -> None:
    status, _, _ = inspect("pooling=max", "protocol.batch_size=4", "--json", "some/folder/audits.json")
    assert status == 0
    (found,) = json.loads((tmp_path / "some/folder/audits.json").read_text())
    assert found["labels"] == {"backbone": "slides", "variant": "max", "dataset": "digits"} | found["labels"]
    assert found["input_shape"] == [1, 16, 16]
    sites: list[dict[str, Any]] = found["audit"]["sites"]
    # conv 5 x 5, window: 6; conv at step 2: 6 + 4·2 = 14, window: 16.
    assert [(site["name"], site["receptive_field"]) for site in sites] == [("pool1", [6, 6]), ("pool2", [16, 16])]
    assert found["cost"]["memory_batch_size"] == 4
    assert found["cost"]["parameters_pooling"] == 0


def test_a_file_that_cannot_be_written_is_a_usage_error(inspect: Inspect, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = inspect("--json", "file/audits.json")
    assert status == 2
    assert "--json: file/audits.json cannot be written" in err


def test_help_lists_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["inspect", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "--json FILE" in out
    assert "poolbench inspect backbone=resnet20" in out
