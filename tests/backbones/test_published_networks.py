"""The networks in their published form: parameters, anatomy, the sizes they serve."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from backbones.shapes import shapes_for

from poolbench.backbones import Anatomy, Assembled, discover
from poolbench.backbones.flow import following
from poolbench.backbones.resnet18 import resnet18
from poolbench.backbones.trace import trace
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.paths import conf_dir
from poolbench.spec import build
from poolbench.streams import drawing

BACKBONES = sorted(path.stem for path in (conf_dir() / "backbone").glob("*.yaml") if "\nmodel:" not in path.read_text())
SMALL, GREY = (3, 32, 32), (1, 32, 32)


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("backbone", "changes", "pooling", "shape", "num_classes", "parameters"),
    [
        ("slides", {}, "max", SMALL, 10, 270_942),
        ("slides", {}, "avg_max_concat", SMALL, 10, 32_862),
        ("keras_cnn", {}, "max", SMALL, 10, 122_570),
        ("keras_cnn", {"last_convolution": False}, "max", SMALL, 10, 167_562),
        ("lenet5", {"padding": 0}, "max", GREY, 10, 61_706),
        ("allcnn", {}, "strided_conv", SMALL, 10, 1_369_738),
        ("resnet20", {}, "max", SMALL, 10, 269_722),
        ("resnet20", {}, "strided_conv", SMALL, 10, 269_722),
        ("resnet18", {}, "max", SMALL, 10, 11_173_962),
        ("resnet18", {"stem": "imagenet"}, "max", (3, 64, 64), 1000, 11_689_512),
    ],
)
def test_parameters_are_the_published_ones(
    assemble: Callable[..., Assembled],
    conf: Callable[..., dict[str, Any]],
    backbone: str,
    changes: dict[str, Any],
    pooling: str,
    shape: tuple[int, int, int],
    num_classes: int,
    parameters: int,
) -> None:
    made = assemble(conf("backbone", backbone, **changes), pooling, shape=shape, num_classes=num_classes)
    assert sum(p.numel() for p in made.network.parameters()) == parameters


@pytest.mark.parametrize("backbone", BACKBONES)
def test_anatomy_is_declared_as_it_would_be_found(conf: Callable[..., dict[str, Any]], backbone: str) -> None:
    surgerys = ("name", "strided_convolutions")
    spec = {key: value for key, value in conf("backbone", backbone).items() if key not in surgerys}
    (shape,) = shapes_for(backbone, [SMALL])
    network = build(spec, {"in_channels": shape[0], "num_classes": 10, "image_size": shape[1:]}, where="backbone")
    assert isinstance(network.anatomy, Anatomy)
    with following(network) as flow:
        calls = trace(network, shape, name=backbone).calls
    found = discover(network, calls, flow, len(shape) - 1).anatomy
    assert (set(found.sites), found.head, found.classifier) == (
        set(network.anatomy.sites),
        network.anatomy.head,
        network.anatomy.classifier,
    )


def test_imagenet_stem_has_two_sites_more(assemble: Callable[..., Assembled], conf: Callable[..., Any]) -> None:
    made = assemble(conf("backbone", "resnet18", stem="imagenet"), "avg")
    assert [row["name"] for row in made.sites][:2] == ["conv1", "maxpool"]
    assert len(made.sites) == 8


def test_imagenet_stem_for_another_number_of_channels_has_torchvisions_geometry() -> None:
    grey, published = (
        resnet18(in_channels=1, num_classes=10, stem="imagenet").conv1,
        torchvision.models.resnet18().conv1,
    )
    for part in ("out_channels", "kernel_size", "stride", "padding", "bias"):
        assert getattr(grey, part) == getattr(published, part)


@pytest.mark.parametrize(
    ("backbone", "changes", "least"),
    [
        ("slides", {}, 4),
        ("keras_cnn", {}, 18),
        ("keras_cnn", {"last_convolution": False}, 10),
        ("lenet5", {"padding": 0}, 32),
        ("lenet5", {"padding": 2}, 4),
        ("allcnn", {}, 9),
        ("resnet20", {}, 1),
        ("resnet18", {}, 1),
    ],
)
def test_smallest_image_is_as_documented(
    assemble: Callable[..., Assembled],
    conf: Callable[..., dict[str, Any]],
    backbone: str,
    changes: dict[str, Any],
    least: int,
) -> None:
    spec = conf("backbone", backbone, **changes)
    assert assemble(spec, "max", shape=(1, least, least)).sites
    if least > 1:
        small = f"{least - 1}x{least - 1}"
        with pytest.raises(UnsupportedError, match=rf"{backbone} cannot take images of {small}: at \w+ the map is"):
            assemble(spec, "max", shape=(1, least - 1, least - 1))


def test_oblong_images_are_served(assemble: Callable[..., Assembled]) -> None:
    made = assemble("slides", "avg", shape=(2, 12, 21))
    assert made.sites[1]["output_shape"] == [32, 3, 5]
    assert made.network(torch.zeros(3, 2, 12, 21)).shape == (3, 10)


@pytest.mark.parametrize(
    ("backbone", "changes", "text"),
    [
        ("resnet20", {"depth": 21}, r"`depth` must be 6n \+ 2 .* got 21"),
        ("resnet18", {"stem": "large"}, "`stem` must be 'small' or 'imagenet', got 'large'"),
        ("slides", {"widht": 3}, "unknown argument 'widht'"),
    ],
)
def test_wrong_argument_is_named(
    assemble: Callable[..., Assembled],
    conf: Callable[..., dict[str, Any]],
    backbone: str,
    changes: dict[str, Any],
    text: str,
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        assemble(conf("backbone", backbone, **changes), "max")


def test_weights_are_those_of_the_constructor(assemble: Callable[..., Assembled]) -> None:
    from poolbench.backbones import Slides

    with drawing(3, "backbone"):
        native = Slides(3, 10, (32, 32))
    made = assemble("slides", "avg", seed=3).network.state_dict()
    assert all(torch.equal(made[name], value) for name, value in native.state_dict().items())
