"""What the head of a network is: shown by the way of its map, whatever modules are called."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones import Assembled
from poolbench.errors import UnsupportedError

Assemble = Callable[..., Assembled]
SIZE = (3, 16, 16)


def net(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"name": "mine", "_target_": f"{__name__}.{kind}", **arguments}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


class Base(nn.Module):
    """Two convolutions around a max pooling: 8 maps of 8x8."""

    def __init__(self, num_classes: int, features: int = 8) -> None:
        super().__init__()
        self.conv1, self.pool = nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2)
        self.conv2, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(features, num_classes)

    def maps(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(self.pool(torch.relu(self.conv1(x)))))


class Ends(Base):
    """The whole map by functions, in the ways that people write it."""

    def __init__(self, num_classes: int, way: str) -> None:
        super().__init__(num_classes)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        x = self.maps(x)
        n, c, h, w = x.shape
        if self.way == "avg_pool2d":
            x = F.avg_pool2d(x, 8).view(n, -1)
        elif self.way == "avg_pool2d of its size":
            x = F.avg_pool2d(x, x.size()[2:]).flatten(1)
        elif self.way == "max_pool2d of its size":
            x = F.max_pool2d(x, kernel_size=x.size(3)).squeeze(3).squeeze(2)
        elif self.way == "mean twice":
            x = x.mean(2).mean(2)
        elif self.way == "mean of rows":
            x = torch.mean(torch.mean(x, dim=3), dim=2)
        elif self.way == "mean of tokens":
            x = x.flatten(2).mean(-1)
        elif self.way == "mean of a view":
            x = x.view(n, c, -1).mean(2)
        elif self.way == "mean of tokens last":
            x = x.flatten(2).transpose(1, 2).mean(1)
        elif self.way == "sum over places":
            x = x.sum((2, 3)) / (h * w)
        elif self.way == "amax":
            x = x.amax((-2, -1))
        elif self.way == "amax twice":
            x = x.amax(3).amax(2)
        elif self.way == "max twice":
            x = x.max(3)[0].max(2)[0]
        elif self.way == "max of tokens":
            x = x.flatten(2).max(-1).values
        elif self.way == "logsumexp":
            x = torch.logsumexp(x.flatten(2), -1)
        elif self.way == "norm":
            x = x.flatten(2).norm(dim=-1)
        elif self.way == "scaled":
            x = x.mean(2).mean(2) * 52
        return self.fc(x)


MEANS = ("mean twice", "mean of rows", "mean of tokens", "mean of a view", "mean of tokens last", "sum over places")
MAXIMA = ("amax", "amax twice", "max twice", "max of tokens", "max_pool2d of its size")


@pytest.mark.quick(3)
@pytest.mark.parametrize("way", [*MEANS, *MAXIMA, "avg_pool2d", "avg_pool2d of its size"])
def test_functions_over_the_whole_map_are_the_head(assemble: Assemble, way: str) -> None:
    own, other = ("gmp", "gap") if way in MAXIMA else ("gap", "gmp")
    digests = [
        assemble(net("Ends", way=way), variant, shape=SIZE).audit()["network_digest"] for variant in ("max", own)
    ]
    made = assemble(net("Ends", way=way), other, shape=SIZE)
    assert [row["name"] for row in made.sites] == ["pool"]
    assert made.left == []
    assert digests[0] == digests[1] != made.audit()["network_digest"]
    torch.manual_seed(0)
    plain, x = Ends(10, way).eval(), torch.randn(2, *SIZE)
    kept = assemble(net("Ends", way=way), "max", shape=SIZE).network.eval()
    kept.load_state_dict(plain.state_dict())
    torch.testing.assert_close(kept(x), plain(x))


def test_what_else_stands_behind_the_mean_stays(assemble: Assemble) -> None:
    made = assemble(net("Ends", way="scaled"), "gap", shape=SIZE).network.eval()
    plain = Ends(10, "scaled").eval()
    plain.load_state_dict(made.state_dict())
    x = torch.randn(2, *SIZE)
    torch.testing.assert_close(made(x), plain(x))


@pytest.mark.parametrize(("way", "operation"), [("logsumexp", "logsumexp"), ("norm", "linalg_vector_norm")])
def test_another_function_is_named_and_how_to_declare_it(assemble: Assemble, way: str, operation: str) -> None:
    text = (
        rf"mine has no head to act on: its last map becomes features inside the code of Ends, by {operation} \(8x64 → 8"
    )
    with pytest.raises(
        UnsupportedError, match=text + r".*self\.anatomy = poolbench\.backbones\.Anatomy\(sites="
    ) as said:
        assemble(net("Ends", way=way), "gap", shape=SIZE)
    assert "a module named head" not in str(said.value)
    made = assemble(net("Ends", way=way), "max", shape=SIZE)
    assert [(row["name"], row["input_shape"], row["output_shape"]) for row in made.left] == [
        (f"mine ({operation})", [8, 64], [8])
    ]


class Named(Base):
    """Modules in the wrong place under the names of a head or classifier, or the right one under none."""

    def __init__(self, num_classes: int, case: str) -> None:
        super().__init__(num_classes, features=16 if case == "two" else 8 * 16 if case == "middle" else 8)
        self.case, self.gap = case, nn.AdaptiveAvgPool2d(1)
        if case in ("stem", "bare stem"):
            self.head = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()) if case == "stem" else nn.ReLU()
        elif case == "convolutions":
            self.head = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
        elif case == "1x1 classifier":
            self.head = nn.Conv2d(8, num_classes, 1)
        elif case == "middle":
            self.mid, self.conv3 = nn.AdaptiveMaxPool2d(4), nn.Conv2d(8, 8, 3, padding=1)
        elif case == "two":
            self.gmp = nn.AdaptiveMaxPool2d(1)
        elif case == "inside":
            self.global_pool = nn.Sequential(nn.Conv2d(8, 8, 1), nn.AdaptiveAvgPool2d(1))
        elif case == "gate":
            self.avgpool, self.fc1 = nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1)
        elif case == "classifier":
            self.classifier, self.last = nn.Linear(8, 8), self.fc
            del self.fc
        elif case == "normalised":
            self.head = Normalised()

    def forward(self, x: Tensor) -> Tensor:
        if "stem" in self.case:
            return self.fc(self.gap(self.maps(self.head(x))).flatten(1))
        x = self.maps(x)
        if self.case == "convolutions":
            x = self.head(x)
        elif self.case == "1x1 classifier":
            return self.gap(self.head(x)).flatten(1)
        elif self.case == "middle":
            return self.fc(torch.relu(self.conv3(self.mid(x))).flatten(1))
        elif self.case == "two":
            return self.fc(torch.cat([self.gap(x), self.gmp(x)], 1).flatten(1))
        elif self.case == "inside":
            return self.fc(self.global_pool(x).flatten(1))
        elif self.case == "gate":
            x = x * torch.sigmoid(self.fc1(self.avgpool(x)))
        elif self.case == "classifier":
            x = self.classifier(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.last(self.gap(x).flatten(1))
        elif self.case == "normalised":
            return self.fc(self.head(x))
        return self.fc(self.gap(x).flatten(1))


class Normalised(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 52 * F.normalize(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("case", "head"),
    [
        ("stem", "gap"),
        ("bare stem", "gap"),
        ("convolutions", "gap"),
        ("1x1 classifier", "gap"),
        ("inside", "global_pool.1"),
        ("gate", "gap"),
        ("classifier", "gap"),
        ("normalised", "head.adaptive_avg_pool2d"),
    ],
)
def test_a_name_is_no_evidence(assemble: Assemble, case: str, head: str) -> None:
    plain = assemble(net("Named", case=case), "max", shape=SIZE)
    assert plain.head["name"] == head
    assert count(plain.network) == count(Named(10, case))
    for variant, more in (("gap", 0), ("gmp", 0), ("adaptive", 0 if case == "1x1 classifier" else 3 * 8 * 10)):
        if case == "normalised" and variant == "adaptive":
            continue
        made = assemble(net("Named", case=case), variant, shape=SIZE)
        added = 40 * 10 + 10 if case == "1x1 classifier" and variant == "adaptive" else 0
        assert count(made.network) == count(plain.network) + more + added, variant
        assert made.network(torch.randn(2, *SIZE)).shape == (2, 10)


@pytest.mark.parametrize(
    ("case", "texts"),
    [
        ("middle", ["by view (8x4x4 → 128)", "mid: layers behind it see maps (conv3: 8x4x4)"]),
        (
            "two",
            ["gap: its map reaches the logits on another way, too", "gmp: its map reaches the logits on another way"],
        ),
    ],
)
def test_where_no_module_is_the_head_it_says_why(assemble: Assemble, case: str, texts: list[str]) -> None:
    with pytest.raises(UnsupportedError, match="mine has no head to act on") as said:
        assemble(net("Named", case=case), "gap", shape=SIZE)
    assert all(text in str(said.value) for text in texts)


def test_reasons_are_true(assemble: Assemble) -> None:
    (gate,) = assemble(net("Named", case="gate"), "max", shape=SIZE).left
    assert gate["name"] == "avgpool"
    assert "on another way, too, as past a gate" in gate["reason"]
    (middle,) = assemble(net("Named", case="middle"), "max", shape=SIZE).left[:1]
    assert middle["name"] == "mid"
    assert "layers behind it see maps" in middle["reason"]


class Flat(Base):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, features=8 * 64)
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flatten(self.maps(x)))


def test_what_flattens_the_last_map_is_the_head_where_nothing_pools_it(assemble: Assemble) -> None:
    assert assemble(net("Flat"), "max", shape=SIZE).head["name"] == "flatten"
    assert count(assemble(net("Flat"), "gap", shape=SIZE).network) == count(Flat(10)) - (512 - 8) * 10


class Columns(nn.Module):
    """As in much-copied code for small images: five max poolings, and an average of the one place that is left."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for given in (3, 8, 8, 8):
            layers += [nn.Conv2d(given, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2, 2)]
        self.features = nn.Sequential(*layers, nn.AvgPool2d(1, 1))
        self.classifier = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


def test_the_last_of_equal_windows_is_a_site_though_it_takes_the_whole_map(assemble: Assemble) -> None:
    made = assemble(net("Columns"), "gap", shape=SIZE)
    assert [row["name"] for row in made.sites] == [f"features.{index}" for index in (3, 7, 11, 15)]
    assert (made.sites[-1]["input_shape"], made.head["name"]) == ([8, 2, 2], "features.16")


@pytest.mark.slow
def test_timms_networks(assemble: Assemble, conf: Callable[..., dict[str, Any]]) -> None:
    for model, size, head in (("selecsls42", 96, "global_pool"), ("resnetv2_50", 64, "head.global_pool")):
        spec = conf("backbone", "timm", model=model)
        plain, other = (assemble(spec, variant, shape=(3, size, size)) for variant in ("max", "gap"))
        assert plain.head["name"] == other.head["name"] == head
        assert count(plain.network) == count(other.network)


class MeanOfPlaces(nn.Module):
    """(B, H, W, C) → (B, C)."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return x_BHWC.mean((1, 2))


class ChannelsBehind(Base):
    """The last map as Swin transformers have it: (B, H, W, C), here with as many rows and columns as channels."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.head = MeanOfPlaces()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.head(self.maps(x).permute(0, 2, 3, 1)))


def test_a_head_of_channels_that_stand_behind_the_places_pools_the_places(assemble: Assemble) -> None:
    plain, gap, gmp = (assemble(net("ChannelsBehind"), variant, shape=SIZE) for variant in ("max", "gap", "gmp"))
    x = torch.randn(2, *SIZE)
    network = plain.network.eval()
    assert count(gap.network) == count(gmp.network) == count(network)
    torch.testing.assert_close(gap.network.eval()(x), network(x))
    largest = network.fc(network.maps(x).amax((2, 3)))
    torch.testing.assert_close(gmp.network.eval()(x), largest)


@pytest.mark.slow
def test_a_swin_transformer_keeps_its_width(assemble: Assemble, conf: Callable[..., dict[str, Any]]) -> None:
    spec = conf("backbone", "timm", model="swin_tiny_patch4_window7_224")
    plain, gap = (assemble(spec, variant, shape=(3, 224, 224)) for variant in ("max", "gap"))
    assert count(plain.network) == count(gap.network) == 27_527_044
    x = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(gap.network.eval()(x), plain.network.eval()(x))
