"""A file of trained weights: its content belongs to the identity, and what found no place is said."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from cells import SHORT, records

from poolbench.backbones import Assembled, file_digests
from poolbench.backbones.starting_weights import ATTRIBUTE
from poolbench.backbones.timm_model import timm_model
from poolbench.backbones.torchvision_model import torchvision_model
from poolbench.cli import main
from poolbench.errors import ConfigurationError, DataError
from poolbench.record import identify
from poolbench.sweep import worker

LABELS = {"backbone": "b", "variant": "v", "dataset": "d"}


def identity(**backbone: Any) -> Any:
    config = {"backbone": {"_target_": "x.Net", **backbone}, "pooling": {}, "dataset": {}, "seed": 0}
    return identify(config, LABELS, fingerprint="f", device="cpu", files=file_digests(config))


def test_another_content_under_the_same_path_is_another_block(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"first")
    state, first = path.stat(), identity(weights=str(path))
    assert identity(weights=str(path)) == first
    path.write_bytes(b"other")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    second = identity(weights=str(path))
    assert (second.block_id, second.arm_id, second.run_id) != (first.block_id, first.arm_id, first.run_id)
    assert second.block_id != first.block_id
    path.write_bytes(b"first")
    assert identity(weights=str(path)) == first


def test_cells_without_files_keep_their_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet50").write_text("a file that is called as a network is")
    config = {
        "backbone": {"name": "resnet50", "model": "resnet50", "weights": "DEFAULT", "width": 3, "act": "resnet50"}
    }
    assert file_digests(config | {"pooling": {"downsample": {"_target_": "resnet50"}}}) == {}
    plain = identify({**config, "seed": 0}, LABELS, fingerprint="f", device="cpu")
    assert identify({**config, "seed": 0}, LABELS, fingerprint="f", device="cpu", files={}) == plain


def test_any_file_that_a_network_names_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.ckpt", "weights"):
        (tmp_path / name).write_text(name)
    config = {
        "backbone": {"weights": "weights", "parts": [{"checkpoint": "./a.ckpt"}], "missing": "b.pt"},
        "head": {"file": str(tmp_path / "a.ckpt")},
        "dataset": {"root": "a.ckpt"},
    }
    found = file_digests(config)
    assert list(found) == ["backbone.weights", "backbone.parts.0.checkpoint", "head.file"]
    assert found["head.file"] == found["backbone.parts.0.checkpoint"] != found["backbone.weights"]


def test_a_checkpoint_of_another_network_does_not_read_as_a_match(
    assemble: Callable[..., Assembled], conf: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "larger.ckpt"
    torch.save(torchvision_model("resnet34", 3, 10, (64, 64)).state_dict(), path)
    said = assemble(conf("backbone", "torchvision", model="resnet18", weights=str(path)), "max", shape=(3, 64, 64))
    weights = said.audit()["starting_weights"]
    assert weights["left_out"] == []
    assert {name.partition(".")[0] for name in weights["unplaced"]} == {"layer1", "layer2", "layer3", "layer4"}
    assert "layer3.5.conv1.weight" in weights["unplaced"]
    assert len(weights["digest"]) == 16


def test_a_path_needs_no_slash_and_a_number_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = torchvision_model("mobilenet_v3_small", 3, 10, (64, 64)).state_dict()
    for name in ("local.ckpt", "plain"):
        torch.save(state, name)
        network = torchvision_model("mobilenet_v3_small", 3, 10, (64, 64), weights=name)
        assert torch.equal(network.state_dict()["features.0.0.weight"], state["features.0.0.weight"])
    wrong: Any = 5
    with pytest.raises(
        ConfigurationError, match=r"`backbone\.weights` must be null, DEFAULT, .* or the path of a file, got 5"
    ):
        torchvision_model("mobilenet_v3_small", 3, 10, (64, 64), weights=wrong)
    with pytest.raises(ConfigurationError, match=r"must be null, DEFAULT or the path of a file, got 5"):
        timm_model("resnet10t", 3, 10, weights=wrong)
    with pytest.raises(
        ConfigurationError, match=r"`backbone\.weights` of timm's resnet10t 'DEFALT'; did you mean DEFAULT"
    ):
        timm_model("resnet10t", 3, 10, weights="DEFALT")
    with pytest.raises(DataError, match=r"missing\.ckpt cannot be read: No such file"):
        timm_model("resnet10t", 3, 10, weights="missing.ckpt")
    torch.save({"module.a": torch.zeros(2)}, "other.pt")
    with pytest.raises(
        ConfigurationError, match=r"nothing in other\.pt fits .*it holds module\.a, the network has conv1"
    ):
        timm_model("resnet10t", 3, 10, weights="other.pt")


def test_of_timms_networks_what_is_drawn_anew_was_not_loaded(tmp_path: Path) -> None:
    trained = tmp_path / "trained.pt"
    torch.save(timm.create_model("resnet18", num_classes=10).state_dict(), trained)
    options = {"pretrained_cfg_overlay": {"file": str(trained), "num_classes": 10}}
    for stem, classes, left in (
        ("published", 10, ()),
        ("small", 10, ("conv1.weight",)),
        ("small", 4, ("conv1.weight", "fc.weight", "fc.bias")),
    ):
        found = getattr(timm_model("resnet18", 3, classes, stem=stem, weights="DEFAULT", **options), ATTRIBUTE)
        assert found.left_out == left


@pytest.mark.parametrize("model", ["efficientnet_b0", "mobilenetv3_small_100", "regnety_002"])
def test_stems_of_timms_networks(model: str) -> None:
    images = torch.zeros(2, 3, 32, 32)
    small, published = (timm_model(model, 3, 10, stem=stem).eval() for stem in ("small", "published"))
    sides = [network.forward_features(images).shape[-1] for network in (published, small)]
    assert sides[1] == 2 * sides[0]


@pytest.mark.slow
def test_a_file_that_changes_during_a_sweep_fails_the_cells_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first cell reads the file that was planned; the second finds another one, and its record says so."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.ckpt"
    torch.save(torchvision_model("mobilenet_v3_small", 1, 10, (32, 32)).state_dict(), path)
    run_once = worker.run_cell

    def then_overwritten(cell: Any, *rest: Any, **named: Any) -> Any:
        found = run_once(cell, *rest, **named)
        torch.save(torchvision_model("mobilenet_v3_small", 1, 10, (32, 32)).state_dict(), path)
        return found

    monkeypatch.setattr(worker, "run_cell", then_overwritten)
    network = ["backbone=torchvision", "backbone.model=mobilenet_v3_small", f"backbone.weights={path}"]
    image = ["dataset.image_size=32", "dataset.train_images=100", "protocol.batch_size=32"]
    assert main(["train", *SHORT, *network, *image, "pooling=max", "seed=0,1"]) == 1
    found = records(tmp_path / "results" / "adhoc")
    assert sorted(record["status"] for record in found.values()) == ["failed", "ok"]
    (failed,) = (record for record in found.values() if record["status"] == "failed")
    assert "`backbone.weights`: the file was changed or removed after the cell was planned" in failed["reason"]
