"""A variant that may give maps of another size than the network's own pooling, and the classifier that follows."""

from typing import Any

import pytest
import torch
from torch import nn

from poolbench.backbones import assemble
from poolbench.errors import ConfigurationError, UnsupportedError

IMAGES: dict[str, Any] = {"in_channels": 3, "image_size": (32, 32), "num_classes": 10, "seed": 0}


def backbone(name: str) -> dict[str, Any]:
    return {"name": name.lower(), "_target_": f"poolbench.backbones.{name}"}


def variant(*, resizes: Any = True, head: str = "", **geometry: Any) -> dict[str, Any]:
    filled = {"_target_": f"poolbench.pooling.{head}"} if head else None
    downsample = {"_target_": "poolbench.pooling.MaxPool2d", **geometry}
    return {"name": "max", "resizes": resizes, "downsample": downsample, "head": filled}


@pytest.mark.parametrize(
    ("network", "window", "sizes", "features"),
    [
        ("Slides", {"kernel_size": 3, "stride": 2}, [15, 7], 32 * 7 * 7),
        ("Slides", {"kernel_size": 3, "stride": 3}, [10, 3], 32 * 3 * 3),
        ("LeNet5", {"kernel_size": 4, "stride": 4, "padding": 2}, [9, 3], 120 * 3 * 3),
        ("KerasCNN", {"kernel_size": 3}, [14, 5], None),
    ],
)
def test_sites_and_classifier_follow_the_size_that_the_window_gives(
    network: str, window: dict[str, int], sizes: list[int], features: int | None
) -> None:
    if network == "LeNet5":
        made = assemble({**backbone(network), "padding": 2}, variant(**window), **IMAGES)
    elif features is None:
        made = assemble({**backbone(network), "last_convolution": False}, variant(**window), **IMAGES)
        features = 64 * sizes[-1] ** 2
    else:
        made = assemble(backbone(network), variant(**window), **IMAGES)
    assert [row["output_shape"][1] for row in made.sites] == sizes
    assert [row["input_shape"][1] for row in made.sites][1:] != sizes[1:]
    assert {row["geometry"] for row in made.sites} == {"own"}
    assert made.head["features"] == features
    assert made.network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_what_keeps_the_size_is_the_network_that_it_is_without_leave() -> None:
    same = {"kernel_size": 3, "stride": 2, "padding": 1}
    found, plain = (assemble(backbone("Slides"), variant(resizes=leave, **same), **IMAGES) for leave in (True, False))
    assert found.sites == plain.sites
    assert found.head == plain.head
    for (name, value), other in zip(
        found.network.state_dict().items(), plain.network.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name


def test_another_head_is_fitted_to_the_map_that_there_is() -> None:
    made = assemble(backbone("Slides"), variant(kernel_size=3, stride=3, head="GlobalAvgPool2d"), **IMAGES)
    assert made.head["features"] == 32
    assert made.network(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    # The head of as many features as the map has now: the classifier still was made for another width.
    flat = {**variant(kernel_size=3, stride=3), "head": {"_target_": "torch.nn.Flatten"}}
    assert assemble(backbone("Slides"), flat, **IMAGES).network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_layers_that_do_not_depend_on_the_size_start_as_the_references() -> None:
    found = assemble(backbone("Slides"), variant(kernel_size=3, stride=2), **IMAGES).network
    plain = assemble(backbone("Slides"), {"name": "max", "downsample": None, "head": None}, **IMAGES).network
    theirs = plain.state_dict()
    differ = [n for n, v in found.state_dict().items() if v.shape != theirs[n].shape or not torch.equal(v, theirs[n])]
    linear = [name for name, module in found.named_modules() if isinstance(module, nn.Linear)]
    assert differ == [f"{linear[0]}.weight"]


def test_without_leave_it_is_refused_with_the_way_to_allow_it() -> None:
    with pytest.raises(UnsupportedError, match=r"must give 16x16x16 there; `pooling\.resizes=true` allows another"):
        assemble(backbone("Slides"), variant(resizes=False, kernel_size=3, stride=2), **IMAGES)
    with pytest.raises(ConfigurationError, match=r"`pooling\.resizes` must be true or false, got 'yes'"):
        assemble(backbone("Slides"), variant(resizes="yes", kernel_size=3), **IMAGES)


def test_a_map_that_becomes_too_small_is_named() -> None:
    with pytest.raises(UnsupportedError, match="site pool2 of slides"):
        assemble(backbone("Slides"), variant(kernel_size=9, stride=9), **IMAGES)
