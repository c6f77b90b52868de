"""A classifier behind a head of class maps: where one is added, where none is, and where that cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones import Anatomy, Assembled, Width
from poolbench.backbones import assemble as assemble_specs
from poolbench.backbones.torchvision_model import torchvision_model
from poolbench.errors import UnsupportedError
from poolbench.measure.cost import cost
from poolbench.measure.matching import TOLERANCE, match, size_of

Assemble = Callable[..., Assembled]
Conf = Callable[..., dict[str, Any]]
ADDED = "a linear classifier of {} features was added: this head does not pool the class maps straight to the logits"


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_what_is_added_and_said(assemble: Assemble) -> None:
    made, plain = assemble("allcnn", "avg_max_concat"), assemble("allcnn", "max")
    assert made.head["note"] == ADDED.format(20)
    assert (made.head["features"], made.head["gives_logits"], plain.head["note"]) == (20, False, "")
    assert made.audit()["head"] == made.head
    own, state = plain.network.state_dict(), made.network.state_dict()
    assert state.keys() - own.keys() == {"head.linear.weight", "head.linear.bias"}
    assert all(torch.equal(state[name], own[name]) for name in own)
    assert state["head.linear.weight"].shape == (10, 20)


def test_the_logits_are_a_linear_function_of_the_heads_features(assemble: Assemble) -> None:
    network = assemble("allcnn", "adaptive").network.eval()
    head, x = network.get_submodule("head"), torch.randn(2, 10, 6, 6, generator=torch.Generator().manual_seed(0))
    state = network.state_dict()
    features = F.adaptive_avg_pool2d(x, 2).flatten(1)
    expected = features @ state["head.linear.weight"].T + state["head.linear.bias"]
    torch.testing.assert_close(head(x), expected)


def test_parameters_and_multiply_adds_count_it_and_not_as_a_poolings_own(assemble: Assemble) -> None:
    made, plain = assemble("allcnn", "adaptive"), assemble("allcnn", "max")
    assert count(made.network) - count(plain.network) == 40 * 10 + 10
    assert made.parameters_pooling == 0
    found, before = (cost(arm.network, (3, 32, 32), operators=arm.operators) for arm in (made, plain))
    assert found["parameters"] - before["parameters"] == 410
    assert found["multiply_adds"] - before["multiply_adds"] == 400


def test_heads_own_parameters_are_its_own(assemble: Assemble) -> None:
    made = assemble("allcnn", {"name": "both", "downsample": None, "head": {"_target_": f"{__name__}.Scaled"}})
    assert {"head.pool.scale", "head.linear.weight"} <= made.network.state_dict().keys()
    assert made.parameters_pooling == 1
    assert made.audit()["network_digest"] is not None


class Scaled(nn.Module):
    """Every second value of each class map."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x[..., ::2, ::2].flatten(1)


@pytest.mark.parametrize("variant", ["gap", "gmp", "class_maps_gap", "attention"])
def test_heads_that_keep_the_width_stay_as_they_are(assemble: Assemble, variant: str) -> None:
    made = assemble("allcnn", variant)
    assert made.head["note"] == ""
    assert not any("linear" in name for name in made.network.state_dict())


def test_weights_depend_on_the_seed_and_the_width_alone(assemble: Assemble) -> None:
    name = "head.linear.weight"
    adaptive, largest, other = (
        assemble("allcnn", variant, seed=seed).network.state_dict()[name]
        for variant, seed in (("adaptive", 0), ("adaptive_max", 0), ("adaptive", 1))
    )
    bias = assemble("allcnn", "avg_max_concat").network.get_parameter("head.linear.bias")
    assert (bias == 0).all(), "arms of other widths share it"
    assert torch.equal(adaptive, largest)
    assert not torch.equal(adaptive, other)
    bound = 1 / 40**0.5
    assert 0.9 * bound < adaptive.abs().max() <= bound, "as torch draws a linear layer"
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assemble("allcnn", "adaptive").audit()
    assert torch.equal(torch.get_rng_state(), before)


def test_arms_that_are_one_network_are_found(assemble: Assemble, conf: Conf) -> None:
    def digest(variant: str | dict[str, Any], seed: int = 0) -> Any:
        return assemble("allcnn", variant, seed=seed).audit()["network_digest"]

    pyramid = conf("pooling", "spatial_pyramid")
    pyramid["head"] |= {"levels": [2], "mode": "avg"}
    assert digest("adaptive") == digest("adaptive", seed=3) == digest(pyramid)
    assert len({digest(variant) for variant in ("max", "adaptive", "adaptive_max", "avg_max_concat")}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("by", ["params", "macs"])
@pytest.mark.parametrize(("backbone", "model"), [("allcnn", None), ("torchvision", "squeezenet1_1")])
def test_widths_are_matched_with_it(conf: Conf, backbone: str, model: str | None, by: str) -> None:
    spec = conf("backbone", backbone) | ({"model": model} if model else {})
    images: dict[str, Any] = {"in_channels": 3, "image_size": (64, 64), "num_classes": 50, "seed": 0}

    def arm(variant: str, width: Width) -> Assembled:
        return assemble_specs(spec, conf("pooling", variant), **images, width=width)

    reference = arm("max", Width())
    found = match(by, lambda width: arm("adaptive", width), reference)
    assert abs(found.difference) <= TOLERANCE
    made = arm("adaptive", Width(found.width, found.phase))
    assert size_of(made, by) == found.reached
    assert ADDED.format(200) in made.head["note"]
    if model and by == "params":
        assert found.width < 1, "200·50 + 50 parameters are more than 1 % of this network"
    halved = arm("adaptive", Width(0.5))
    assert halved.network(torch.zeros(2, 3, 64, 64)).shape == (2, 50)


def test_trained_weights_are_all_kept(assemble: Assemble, conf: Conf, tmp_path: Path) -> None:
    path = tmp_path / "trained.pth"
    torch.save(torchvision_model("squeezenet1_1", 3, 10, (64, 64)).state_dict(), path)
    backbone = conf("backbone", "torchvision", model="squeezenet1_1", weights=str(path))
    said = assemble(backbone, "adaptive", shape=(3, 64, 64)).audit()["starting_weights"]
    assert said["exchanged"] == []
    assert said["kept"] == said["loaded"]


# ---- custom networks ----


class ClassMapped(nn.Module):
    """Class maps, averaged by a function or a module, and what may come behind."""

    def __init__(self, num_classes: int, end: str, maps: int | None = None) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, maps or num_classes, 3), nn.MaxPool2d(2)
        self.end = end
        if end in ("module", "flatten", "convolution"):
            self.avgpool = nn.AdaptiveAvgPool2d(1)
        if end == "flatten":
            self.flatten = nn.Flatten()
        if end == "convolution":
            self.last = nn.Conv2d(maps or num_classes, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv(x))
        if self.end in ("mean", "keepdim"):
            return x.mean((2, 3), keepdim=self.end == "keepdim").flatten(1)
        x = self.avgpool(x)
        if self.end == "flatten":
            return self.flatten(x)
        return (self.last(x) if self.end == "convolution" else x).flatten(1)


def of_class_maps(end: str, **more: Any) -> dict[str, Any]:
    return {"name": "mine", "_target_": f"{__name__}.ClassMapped", "end": end, **more}


@pytest.mark.parametrize("end", ["mean", "keepdim", "module", "flatten"])
def test_custom_networks(assemble: Assemble, end: str) -> None:
    made = assemble(of_class_maps(end), "adaptive", shape=(3, 12, 12))
    assert made.head["note"] == ADDED.format(40)
    logits = made.network(torch.randn(2, 3, 12, 12))
    assert logits.shape == (2, 10)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.network.parameters())
    assert len([name for name in made.network.state_dict() if name.endswith(".linear.weight")]) == 1


def test_both_notes_stand_side_by_side(assemble: Assemble) -> None:
    made = assemble(of_class_maps("module"), "adaptive", shape=(3, 5, 5))
    assert made.head["note"] == f"a 2x2 grid of a 1x1 map: values are repeated; {ADDED.format(40)}"


def test_networks_own_grid_is_remarked_on(assemble: Assemble, conf: Conf) -> None:
    made = assemble(conf("backbone", "torchvision", model="alexnet"), "max", shape=(3, 64, 64))
    assert made.head["note"] == "a 6x6 grid of a 1x1 map: values are repeated"


@pytest.mark.parametrize("maps", [7, None])
def test_where_weights_follow_there_are_no_class_maps(assemble: Assemble, maps: int | None) -> None:
    """A convolution behind the head makes the logits, be its inputs by chance as many as there are classes."""
    text = rf"no classifier follows the head of mine: it must keep the width, {maps or 10}"
    with pytest.raises(UnsupportedError, match=text):
        assemble(of_class_maps("convolution", maps=maps), "adaptive", shape=(3, 12, 12))


class OtherWidth(nn.Module):
    """Gives logits by a product that is no layer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 7, 3), nn.MaxPool2d(2), nn.Sequential(nn.AdaptiveAvgPool2d(1))
        self.head.append(nn.Flatten())
        self.weight = nn.Parameter(torch.randn(7, num_classes))
        self.anatomy = Anatomy(sites=("pool",), head="head", classifier=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.conv(x))) @ self.weight


def test_where_the_width_is_not_that_of_the_classes_it_must_be_kept(assemble: Assemble) -> None:
    spec = {"name": "mine", "_target_": f"{__name__}.OtherWidth"}
    text = r"gives 28 features of the map 7x5x5, but no classifier follows the head of mine: it must keep the width, 7"
    with pytest.raises(UnsupportedError, match=text):
        assemble(spec, "adaptive", shape=(3, 12, 12))
    assert assemble(spec, "gmp", shape=(3, 12, 12)).head["note"] == ""
