"""Networks that know nothing of poolbench: torchvision's, timm's, and custom ones with poolings called as functions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones import Assembled
from poolbench.backbones.function_pools import expose_pools
from poolbench.backbones.timm_model import timm_model
from poolbench.backbones.torchvision_model import torchvision_model
from poolbench.errors import ConfigurationError, DataError, UnsupportedError

Assemble = Callable[..., Assembled]
Conf = Callable[..., dict[str, Any]]
SIZE = (3, 64, 64)

# By network: its sites and what is left alone.
TORCHVISION = {
    "alexnet": (4, 0),
    "vgg11_bn": (5, 0),
    "vgg16_bn": (5, 0),
    "resnet18": (8, 0),
    "resnet50": (8, 0),
    "densenet121": (5, 0),
    "googlenet": (5, 9),
    "squeezenet1_1": (4, 0),
    "mobilenet_v3_small": (5, 9),
    "efficientnet_b0": (5, 16),
    "convnext_tiny": (4, 0),
    "regnet_y_400mf": (9, 16),
}
NETWORKS = [*(("torchvision", model) for model in TORCHVISION), ("timm", "resnet26d")]
VARIANTS = ("max", "avg", "strided_conv", "avg_topk", "max_blur", "gap", "adaptive")
SAMPLE = [
    ("torchvision", "alexnet", "gap"),
    ("torchvision", "alexnet", "adaptive"),
    ("torchvision", "resnet18", "max_blur"),
    ("torchvision", "densenet121", "adaptive"),
    ("torchvision", "googlenet", "avg_topk"),
    ("torchvision", "squeezenet1_1", "adaptive"),
    ("torchvision", "mobilenet_v3_small", "strided_conv"),
    ("torchvision", "convnext_tiny", "adaptive"),
    ("torchvision", "regnet_y_400mf", "avg"),
    ("timm", "resnet26d", "avg"),
]


def check(assemble: Assemble, conf: Conf, library: str, model: str, variant: str) -> None:
    """Build, audit and run a network forward and backward."""
    made = assemble(conf("backbone", library, model=model), variant, shape=SIZE)
    audit = made.audit()
    if library == "torchvision":
        assert (len(made.sites), len(made.left)) == TORCHVISION[model]
    assert audit["network_digest"] is not None
    assert all(row["geometry"] == "equal" for row in audit["sites"])
    assert all(row["reason"] for row in audit["left_alone"])
    logits = made.network(torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 10)
    logits.logsumexp(1).sum().backward()
    missing = [name for name, p in made.network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("library", "model"), NETWORKS)
def test_every_network_with_every_variant(
    assemble: Assemble, conf: Conf, library: str, model: str, variant: str
) -> None:
    check(assemble, conf, library, model, variant)


@pytest.mark.quick(1)
@pytest.mark.parametrize(("library", "model", "variant"), SAMPLE)
def test_some_networks_with_some_variants(
    assemble: Assemble, conf: Conf, library: str, model: str, variant: str
) -> None:
    check(assemble, conf, library, model, variant)


def test_networks_own_function_is_kept_where_nothing_is_exchanged(assemble: Assemble, conf: Conf) -> None:
    """With strided convolutions kept and max pools left max pools, the surgery changes no number."""
    backbone = conf("backbone", "torchvision", model="densenet121", strided_convolutions="kept")
    backbone["drop_rate"] = 0.0
    made = assemble(backbone, {"name": "own", "downsample": None, "head": None}, shape=SIZE)
    assert [row["name"] for row in made.sites if row["native"] == "MaxPool2d"] == ["features.pool0"]
    own = torchvision_model("densenet121", 3, 10, (64, 64))
    own.load_state_dict(made.network.state_dict())
    x = torch.randn(2, *SIZE)
    for name in ("transition1", "transition2", "transition3"):
        own.features.get_submodule(name).pool = nn.MaxPool2d(2)  # as the reference has it
    torch.testing.assert_close(made.network.eval()(x), own.eval()(x))


def test_strided_convolutions_can_be_left_alone(assemble: Assemble, conf: Conf) -> None:
    made = assemble(conf("backbone", "torchvision", model="resnet18", strided_convolutions="kept"), "avg", shape=SIZE)
    assert [row["name"] for row in made.sites] == ["maxpool"]
    assert len(made.left) == 7
    assert "strided_convolutions=kept" in made.left[0]["reason"]
    with pytest.raises(ConfigurationError, match=r"strided_convolutions.*kpt.*did you mean kept"):
        assemble(conf("backbone", "torchvision", model="resnet18", strided_convolutions="kpt"), "avg", shape=SIZE)
    with pytest.raises(
        UnsupportedError, match=r"mobilenet_v3_small has no site to act on.*features\.0\.0 and the like: strided"
    ):
        assemble(
            conf("backbone", "torchvision", model="mobilenet_v3_small", strided_convolutions="kept"), "avg", shape=SIZE
        )


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("resnet50", 25_557_032),
        pytest.param("vgg16", 138_357_544, marks=pytest.mark.slow),
        ("mobilenet_v3_small", 2_542_856),
        ("densenet121", 7_978_856),
    ],
)
def test_published_parameters(assemble: Assemble, conf: Conf, model: str, parameters: int) -> None:
    made = assemble(conf("backbone", "torchvision", model=model), "max", shape=(3, 224, 224), num_classes=1000)
    assert sum(p.numel() for p in made.network.parameters()) == parameters


# ---- names, stems, channels ----


def test_unknown_models() -> None:
    with pytest.raises(ConfigurationError, match=r"torchvision knows no 'resnet51'; did you mean resnet50"):
        torchvision_model("resnet51", 3, 10, (64, 64))
    with pytest.raises(ConfigurationError, match=r"must name a network of torchvision's"):
        torchvision_model(None, 3, 10, (64, 64))
    with pytest.raises(ConfigurationError, match=r"timm knows no 'resnet26e'; did you mean .*resnet26d"):
        timm_model("resnet26e", 3, 10)


def test_timm_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ConfigurationError, match=r"pip install '.\[timm\]'"):
        timm_model("resnet26d", 3, 10)


@pytest.mark.quick(1)
@pytest.mark.parametrize("model", ["resnet18", "densenet121", "googlenet", "mobilenet_v3_small", "regnet_y_400mf"])
def test_small_stem(assemble: Assemble, conf: Conf, model: str) -> None:
    maps = {}
    for stem in ("published", "small"):
        made = assemble(conf("backbone", "torchvision", model=model, stem=stem), "avg", shape=(3, 64, 64))
        maps[stem] = made.placed[-1].shape[1]
        assert made.network(torch.zeros(2, 3, 64, 64)).shape == (2, 10)
    assert maps["small"] >= 2 * maps["published"]


@pytest.mark.slow
def test_stem_that_no_field_has() -> None:
    with pytest.raises(ConfigurationError, match=r"no stem for small images is customary for vgg11_bn"):
        torchvision_model("vgg11_bn", 3, 10, (32, 32), stem="small")
    with pytest.raises(ConfigurationError, match=r"unknown `backbone.stem` 'smal'; did you mean small"):
        torchvision_model("resnet18", 3, 10, (32, 32), stem="smal")


@pytest.mark.parametrize(("library", "model"), [("torchvision", "mobilenet_v3_small"), ("timm", "resnet10t")])
def test_other_numbers_of_channels(assemble: Assemble, conf: Conf, library: str, model: str) -> None:
    made = assemble(conf("backbone", library, model=model), "avg", shape=(1, 64, 64))
    assert made.network(torch.zeros(2, 1, 64, 64)).shape == (2, 10)


def test_map_that_vanishes_before_a_site(assemble: Assemble, conf: Conf) -> None:
    with pytest.raises(
        UnsupportedError, match=r"vgg11_bn cannot take images of 16x16.*last layer reached was features"
    ):
        assemble(conf("backbone", "torchvision", model="vgg11_bn"), "avg", shape=(3, 16, 16))


def test_transformers_know_the_size_of_their_images(assemble: Assemble, conf: Conf) -> None:
    made = assemble(conf("backbone", "torchvision", model="vit_b_32"), "max", shape=(3, 64, 64))
    assert made.sites == [], "what cuts the image into patches is no site"
    assert (made.left[0]["name"], made.left[0]["output_shape"]) == ("conv_proj", [768, 2, 2])
    assert "cuts the image into patches" in made.left[0]["reason"]
    assert made.head["native"] == "", "its classifier reads a token, no map"
    assert "inside the code of VisionTransformer, by select (5x768 → 768)" in made.head["note"]
    assert made.audit()["network_digest"] is not None


# ---- trained weights ----


def test_weights_of_a_file_are_kept_where_the_layer_survives(assemble: Assemble, conf: Conf, tmp_path: Path) -> None:
    trained = torchvision_model("mobilenet_v3_small", 3, 1000, (64, 64)).state_dict()
    path = tmp_path / "trained.pth"
    torch.save(trained, path)
    backbone = conf("backbone", "torchvision", model="mobilenet_v3_small", weights=str(path))
    made = assemble(backbone, "strided_conv", shape=SIZE)
    state = made.network.state_dict()
    same = [name for name in state if name in trained and torch.equal(state[name], trained[name])]
    said = made.audit()["starting_weights"]
    assert said["left_out"] == ["classifier.3.weight", "classifier.3.bias"]  # ten classes, not a thousand
    assert said["kept"] == said["loaded"] == sum(p.numel() for n, p in made.network.named_parameters() if n in same)
    wider = assemble(backbone, "adaptive", shape=SIZE).audit()["starting_weights"]
    assert wider["exchanged"] == ["classifier.0.weight"]
    assert wider["loaded"] - wider["kept"] == 576 * 1024
    assert "starting_weights" not in assemble("slides", "max").audit()


def test_weights_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    def offline(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        DataError, match=r"DEFAULT of resnet18 cannot be downloaded.*resnet18-.*\.pth into .*checkpoints"
    ):
        torchvision_model("resnet18", 3, 1000, (64, 64), weights="DEFAULT")
    with pytest.raises(
        ConfigurationError, match=r"`backbone.weights` of resnet18 'IMAGENET'.*did you mean IMAGENET1K_V1"
    ):
        torchvision_model("resnet18", 3, 1000, (64, 64), weights="IMAGENET")
    with pytest.raises(DataError, match=r"cannot be read: No such file"):
        torchvision_model("resnet18", 3, 10, (64, 64), weights=str(tmp_path / "none.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(DataError, match=r"is no file of weights"):
        torchvision_model("resnet18", 3, 10, (64, 64), weights=str(tmp_path / "text.pth"))
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ConfigurationError, match=r"nothing in .* fits the network"):
        torchvision_model("resnet18", 3, 10, (64, 64), weights=str(tmp_path / "other.pth"))


# ---- poolings that are called as functions ----


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.max_pool2d(self.conv(x), 2), F.avg_pool2d(x, kernel_size=2, stride=2)], 1)


class Functional(nn.Module):
    """Everything by functions: three windows, a gate that scales its map, and a mean over the last map."""

    def __init__(self, keepdim: bool = False) -> None:
        super().__init__()
        self.first, self.block, self.fc = nn.Conv2d(3, 4, 3), Block(4), nn.Linear(8, 10)
        self.scale = nn.Parameter(torch.ones(1))
        self.unused = nn.Linear(2, 2)
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x)) * self.scale
        x = x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1))
        x = self.block(F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True))
        return self.fc(x.mean([2, 3], keepdim=self.keepdim).flatten(1))


@pytest.mark.parametrize("keepdim", [False, True])
def test_functions_become_modules_that_do_the_same(keepdim: bool) -> None:
    network = Functional(keepdim).eval()
    x = torch.randn(2, 3, 21, 21)
    expected, names = network(x), [name for name, _ in network.named_parameters()]
    exposed, reasons = expose_pools(network, (3, 21, 21))
    assert not reasons
    assert torch.equal(exposed(x), expected)
    assert sorted(name for name, _ in exposed.named_parameters()) == sorted(names)
    kinds = {name: type(module) for name, module in exposed.named_modules()}
    assert kinds["max_pool2d"] is nn.MaxPool2d
    assert kinds["block.avg_pool2d"] is nn.AvgPool2d
    assert exposed.get_submodule("max_pool2d").ceil_mode


def test_functions_are_sites(assemble: Assemble, own: Callable[[str], str]) -> None:
    spec = {"name": "mine", "_target_": f"{__name__}.Functional"}
    if __name__ not in __import__("sys").modules:  # however the tests are imported
        pytest.fail("the module of the test must be importable")
    made = assemble(spec, "avg_topk", shape=(3, 21, 21))
    assert [row["name"] for row in made.sites] == ["max_pool2d", "block.max_pool2d", "block.avg_pool2d"]
    assert [row["operator"] for row in made.sites] == ["AvgTopKPool2d"] * 3
    assert made.sites[0]["ceil_mode"]
    assert [row["name"] for row in made.left] == ["adaptive_avg_pool2d", "first"], "a gate, and an unpadded convolution"
    assert assemble(spec, "adaptive", shape=(3, 21, 21)).network(torch.zeros(2, 3, 21, 21)).shape == (2, 10)


class Moody(nn.Module):
    """Pools otherwise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv(x), 2)
        return self.fc(x.mean((2, 3)) if self.training else x.amax((2, 3)))


class Branching(Moody):
    """Looks at numbers on its way."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv(x), 2)
        return self.fc(x.amax((2, 3))) if x.sum() > 1e9 else self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("kind", "reason"), [("Moody", "pools otherwise in training"), ("Branching", "cannot be rewritten: TraceError")]
)
def test_forward_method_that_cannot_be_rewritten(assemble: Assemble, kind: str, reason: str) -> None:
    made = assemble({"name": "mine", "_target_": f"{__name__}.{kind}"}, "avg", shape=(3, 21, 21))
    assert [row["name"] for row in made.sites] == ["conv"]
    assert [(row["name"], row["native"], row["input_shape"], row["output_shape"]) for row in made.left] == [
        ("mine (max_pool2d)", kind, [4, 10, 10], [4, 5, 5]),
        *(("mine (amax)", kind, [4, 5, 5], [4]) for _ in range(kind == "Moody")),
        *(("mine (mean)", kind, [4, 5, 5], [4]) for _ in range(kind == "Branching")),
    ]
    assert all(reason in row["reason"] for row in made.left)


def test_torchvisions_function_pools(assemble: Assemble, conf: Conf) -> None:
    made = assemble(conf("backbone", "torchvision", model="inception_v3"), "avg", shape=(3, 96, 96))
    assert {"Mixed_6a.max_pool2d", "Mixed_7a.max_pool2d"} <= {row["name"] for row in made.sites}
    assert {"Mixed_5b.avg_pool2d"} <= {row["name"] for row in made.left}
