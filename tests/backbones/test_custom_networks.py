"""Custom operators, heads and networks, and what is said where they do not fit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from poolbench.backbones import Assembled
from poolbench.errors import ConfigurationError, UnsupportedError

Assemble = Callable[..., Assembled]
Own = Callable[[str], str]


def downsample(target: str, **arguments: Any) -> dict[str, Any]:
    return {"name": "mine", "downsample": {"_target_": target, **arguments}, "head": None}


def heading(target: str, **arguments: Any) -> dict[str, Any]:
    return {"name": "mine", "downsample": None, "head": {"_target_": target, **arguments}}


def backbone(target: str, **arguments: Any) -> dict[str, Any]:
    return {"name": "mynet", "_target_": target, **arguments}


PLAIN = """
class Pool(nn.Module):
    def __init__(self, kernel_size, stride, padding=0, ceil_mode=False):
        super().__init__()
        self.geometry = kernel_size, stride, padding, ceil_mode
    def forward(self, x):
        k, s, p, c = self.geometry
        return F.lp_pool2d(x, 2.0, k, s, c)
"""

FORWARDING = """
class Pool(nn.MaxPool2d):
    def __init__(self, *args, weight=1.0, **kwargs):
        super().__init__(*args, **kwargs)
"""

NO_CEIL = """
class Pool(nn.MaxPool2d):
    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__(kernel_size, stride, padding)
"""


@pytest.mark.parametrize("source", [PLAIN, FORWARDING], ids=["plain", "kwargs"])
@pytest.mark.parametrize("network", ["slides", "resnet20"])
def test_operator_gets_the_sites_geometry(assemble: Assemble, own: Own, source: str, network: str) -> None:
    made = assemble(network, downsample(f"{own(source)}.Pool"), shape=(3, 9, 9))
    assert {row["operator"] for row in made.sites} == {"Pool"}
    assert {row["geometry"] for row in made.sites} == {"equal"}
    assert made.network(torch.randn(2, 3, 9, 9)).shape == (2, 10)


def test_torchs_own_pooling_can_be_named(assemble: Assemble) -> None:
    made = assemble("slides", downsample("torch.nn.LPPool2d", norm_type=2))
    assert made.sites[0]["arguments"] == "norm_type=2"


def test_operator_without_ceil_mode_serves_where_nothing_hangs_over(assemble: Assemble, own: Own) -> None:
    pooling = downsample(f"{own(NO_CEIL)}.Pool")
    assert assemble("resnet20", pooling, shape=(3, 8, 8)).sites
    with pytest.raises(UnsupportedError, match=r"makes 32x3x3 of the map 16x7x7.*give 32x4x4.*takes no `ceil_mode`"):
        assemble("resnet20", pooling, shape=(3, 7, 7))


def test_own_geometry_is_shown(assemble: Assemble) -> None:
    made = assemble("slides", downsample("poolbench.pooling.AvgPool2d", kernel_size=3, padding=1))
    for row in made.sites:
        assert (row["geometry"], row["arguments"]) == ("own", "")
        assert (row["kernel_size"], row["stride"], row["padding"]) == ([3, 3], [2, 2], [1, 1])


def test_own_geometry_that_is_the_sites_is_equal(assemble: Assemble) -> None:
    made = assemble("slides", downsample("poolbench.pooling.AvgPool2d", kernel_size=2, stride=None))
    assert {row["geometry"] for row in made.sites} == {"equal"}
    assert made.sites[0]["stride"] == [2, 2]


UNPADDED = """
class Pool(nn.MaxPool2d):
    def __init__(self, kernel_size, stride):
        super().__init__(kernel_size, stride)

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.MaxPool2d(3, 3, padding=1), nn.Flatten(), nn.Linear(3 * 9, num_classes))
"""


def test_padding_that_is_not_taken_is_shown_as_own_geometry(assemble: Assemble, own: Own) -> None:
    module = own(UNPADDED)
    # 9x9 gives 3x3 with the network's padding and without.
    (site,) = assemble(backbone(f"{module}.Net"), downsample(f"{module}.Pool"), shape=(3, 9, 9)).sites
    assert (site["geometry"], site["padding"]) == ("own", [0, 0])


def test_wrong_argument_is_found_where_the_network_keeps_its_convolutions(assemble: Assemble) -> None:
    with pytest.raises(ConfigurationError, match=r"at site layer2\.0\.conv1` .*unknown argument 'activaton'"):
        assemble("resnet20", downsample("poolbench.pooling.StridedConv2d", activaton="relu"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"kernel_size": 3},
            r"site pool1 of slides: AvgPool2d \(kernel_size=\(3, 3\), stride=\(2, 2\).*makes 16x15x15",
        ),
        ({"stride": 1}, r"makes 16x31x31 of the map 16x32x32, but every operator must give 16x16x16"),
        ({"kernel_size": 40}, r"site pool1 of slides: AvgPool2d \(kernel_size=\(40, 40\).*fails on the map 16x32x32"),
    ],
)
def test_geometry_that_changes_the_shape_is_unsupported(
    assemble: Assemble, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(UnsupportedError, match=text):
        assemble("slides", downsample("poolbench.pooling.AvgPool2d", **arguments))


@pytest.mark.parametrize(
    ("pooling", "text"),
    [
        (downsample("poolbench.pooling.GlobalAvgPool2d"), "must be a window operator, whose constructor takes"),
        (heading("poolbench.pooling.MaxPool2d", kernel_size=2), "a window operator belongs into `pooling.downsample`"),
        (heading("torch.nn.MaxPool2d", kernel_size=2), r"must give features of shape \(B, F\), got \(2, 32, 2, 2\)"),
        (downsample("poolbench.pooling.AvgTopKPool2d", k=10), r"at site pool1.*`k` must be in 1..4"),
        (downsample("poolbench.pooling.AvgTopKPool2d"), "missing argument 'k'"),
        (downsample("poolbench.pooling.AvgTopKPool2d", k=2, m=1), "unknown argument 'm'"),
        (downsample("poolbench.pooling.AvgPool2d", kernel_size="2"), "`kernel_size` must be one or two whole numbers"),
        (downsample("poolbench.pooling.StridedConv2d", activation="tanh"), "`activation` must be 'relu' or null"),
        (downsample("poolbench.pooling.AvgPol2d"), "did you mean AvgPool2d"),
        (downsample("torch.nn.Flatten"), "must be a window operator"),
        (heading("collections.OrderedDict"), "must be a torch.nn.Module .* got OrderedDict"),
        ({"downsample": {"k": 2}}, "`pooling.downsample` must be null or have `_target_`"),
        ({"dowsample": None}, "unknown slot in `pooling` 'dowsample'; did you mean downsample"),
    ],
)
def test_what_is_wrong_in_itself_is_a_configuration_error(
    assemble: Assemble, pooling: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        assemble("slides", pooling, shape=(3, 16, 16) if "torch.nn" in str(pooling) else (3, 32, 32))
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("raise RuntimeError('even sizes only')", UnsupportedError, "fails on the map 16x32x32: even sizes only"),
        ("raise KeyError('nothing')", ConfigurationError, "fails on the map 16x32x32: KeyError: 'nothing'"),
        ("return x, x", ConfigurationError, "must give a tensor, got tuple"),
    ],
)
def test_operator_that_fails_is_named_with_its_site(
    assemble: Assemble, own: Own, body: str, kind: type[Exception], text: str
) -> None:
    source = f"class Pool(nn.MaxPool2d):\n    def forward(self, x):\n        {body}\n"
    with pytest.raises(ConfigurationError, match=text) as caught:
        assemble("slides", downsample(f"{own(source)}.Pool"))
    assert type(caught.value) is kind


def test_constructor_that_fails_is_named(assemble: Assemble, own: Own) -> None:
    source = (
        "class Pool(nn.Module):\n    def __init__(self, kernel_size, stride):\n        assert stride == 3, 'threes'\n"
    )
    with pytest.raises(ConfigurationError, match=r"`pooling\.downsample at site pool1`.*AssertionError: threes"):
        assemble("slides", downsample(f"{own(source)}.Pool"))


HEADS = """
class Norms(nn.Module):
    def __init__(self, channels, map_size, num_classes, power=2, **rest):
        super().__init__()
        self.power, self.seen = power, (channels, map_size, num_classes)
    def forward(self, x):
        return x.flatten(2).norm(self.power, 2)

class Picky(nn.Module):
    def forward(self, x):
        if x.shape[-1] > 4:
            raise ValueError(f"maps up to 4x4, got {x.shape[-1]}")
        return x.flatten(1)
"""


def test_custom_head_is_given_what_it_asks_for(assemble: Assemble, own: Own) -> None:
    made = assemble("slides", heading(f"{own(HEADS)}.Norms", power=3))
    assert made.operators[-1].seen == (32, (8, 8), 10)
    assert (made.head["operator"], made.head["arguments"], made.head["features"]) == ("Norms", "power=3", 32)
    assert made.network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_head_that_fails_is_named_with_the_map(assemble: Assemble, own: Own) -> None:
    with pytest.raises(
        UnsupportedError, match=r"`pooling.head` \(Picky\) fails on the last map of slides, 32x8x8: maps"
    ):
        assemble("slides", heading(f"{own(HEADS)}.Picky"))


def test_level_finer_than_the_map_is_unsupported(assemble: Assemble) -> None:
    with pytest.raises(UnsupportedError, match="last map of resnet20, 64x1x1: `levels` must be at most"):
        assemble("resnet20", "spatial_pyramid", shape=(3, 4, 4))


REMARKS = """
class Plain(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))

class Remarks(Plain):
    def remark(self, map_size):
        return f"looks at {map_size}"
"""


def test_what_a_head_remarks_is_in_the_audit(assemble: Assemble, own: Own) -> None:
    name = own(REMARKS)
    assert assemble("slides", heading(f"{name}.Remarks")).audit()["head"]["note"] == "looks at (8, 8)"
    assert assemble("slides", heading(f"{name}.Plain")).audit()["head"]["note"] == ""
    made = assemble("resnet20", "adaptive", shape=(3, 4, 4))
    assert made.audit()["head"]["note"] == "a 2x2 grid of a 1x1 map: values are repeated"
    assert made.network(torch.randn(2, 3, 4, 4)).shape == (2, 10)


SHARED_POOL = """
class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        self.conv1, self.conv2 = nn.Conv2d(in_channels, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.avgpool = nn.AvgPool2d(8)
        self.fc = nn.Linear(6, num_classes)
    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))
"""


def test_one_pooling_at_two_places(assemble: Assemble, own: Own) -> None:
    net = backbone(f"{own(SHARED_POOL)}.Net")
    made = assemble(net, "avg")
    assert [(row["name"], row["input_shape"], row["operator"]) for row in made.sites] == [
        ("pool", [4, 32, 32], "AvgPool2d")
    ]
    assert made.head["native"] == "AvgPool2d", "an average pooling that is the head is no site"
    assert made.audit()["network_digest"] != assemble(net, "max").audit()["network_digest"]
    with pytest.raises(UnsupportedError, match=r"site pool of mynet: StridedConv2d .*fails on the map 6x16x16"):
        assemble(net, "strided_conv")


def test_a_pooling_under_two_names_is_replaced_under_both(assemble: Assemble, own: Own) -> None:
    source = SHARED_POOL.replace("self.avgpool", "self.again = self.pool\n        self.avgpool", 1)
    made = assemble(backbone(f"{own(source)}.Net"), "avg")
    assert made.network.get_submodule("again") is made.network.get_submodule("pool")


BARE = """
class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3)
    def forward(self, x):
        return torch.logsumexp(self.conv(x)[..., ::2, ::2].flatten(2), 2)
"""


def test_network_without_sites_or_head(assemble: Assemble, own: Own) -> None:
    net = backbone(f"{own(BARE)}.Net")
    with pytest.raises(UnsupportedError, match=r"`pooling\.downsample`: mynet has no site to act on"):
        assemble(net, "avg")
    with pytest.raises(UnsupportedError, match=r"`pooling\.head`: mynet has no head to act on"):
        assemble(net, "gap")
    with pytest.raises(UnsupportedError, match="`head`: mynet has no head to act on"):
        assemble(net, {"name": "none"}, "gap")
    made = assemble(net, {"name": "none", "downsample": None, "head": None})
    assert (made.sites, made.head["features"], made.operators) == ([], None, [])


NAMED = """
from poolbench.backbones import Anatomy

class Net(nn.Module):
    def __init__(self, num_classes, image_size, site="pool", head=None, classifier=None, classes=None):
        super().__init__()
        self.pool, self.idle = nn.MaxPool2d(2), nn.MaxPool2d(2)
        self.classifier = nn.Linear(3 * (image_size[0] // 2) ** 2, classes or num_classes)
        self.anatomy = Anatomy(sites=(site,), head=head, classifier=classifier)
    def forward(self, x):
        return self.classifier(self.pool(x).flatten(1))
"""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"site": "pool9"}, "the anatomy of mynet names 'pool9', but it has no such module"),
        ({"classifier": "fc"}, "the anatomy of mynet names 'fc', but it has no such module"),
        ({"site": "idle"}, "the anatomy of mynet names 'idle', but its forward pass takes no map through it"),
        ({"site": "classifier"}, "site 'classifier' must be a max or average pooling.* got Linear"),
        ({"classes": 7}, r"mynet must give 10 logits for an image.*got shape \(7,\)"),
    ],
)
def test_network_that_is_not_what_it_says(assemble: Assemble, own: Own, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        assemble(backbone(f"{own(NAMED)}.Net", **arguments), "max", shape=(3, 8, 8))


def test_network_of_a_function_with_kwargs(assemble: Assemble) -> None:
    made = assemble(backbone("torchvision.models.resnet18", num_classes=10), "max", shape=(3, 16, 16))
    assert [row["name"] for row in made.sites][:3] == ["conv1", "maxpool", "layer2.0.conv1"]
    with pytest.raises(UnsupportedError, match=r"mynet must give 10 logits.*got shape \(1000,\)"):
        assemble(backbone("torchvision.models.resnet18"), "max", shape=(3, 16, 16))
    with pytest.raises(UnsupportedError, match=r"mynet cannot take images of 16x16 with 1 channels.*reached was conv1"):
        assemble(backbone("torchvision.models.resnet18", num_classes=10), "max", shape=(1, 16, 16))


OTHER_CONV = """
class Standardised(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias, self.stride)

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(Standardised(3, 4, 2, stride=2), nn.Flatten(), nn.Linear(4 * 16, num_classes))
"""


def test_convolution_with_a_forward_of_its_own_is_not_taken_apart(assemble: Assemble, own: Own) -> None:
    net = backbone(f"{own(OTHER_CONV)}.Net")
    for variant in ("strided_conv", "avg"):
        with pytest.raises(UnsupportedError, match=r"no site to act on.*0: a Standardised: only a plain"):
            assemble(net, variant, shape=(3, 8, 8))
    made = assemble(net, {"name": "own"}, shape=(3, 8, 8))
    assert [row["name"] for row in made.left] == ["0"]


LAZY = """
class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(num_classes))
"""


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_layers_draw_by_the_seed(assemble: Assemble, own: Own) -> None:
    net = backbone(f"{own(LAZY)}.Net")
    first, same, other = (
        assemble(net, variant, shape=(3, 8, 8), seed=seed).network.get_parameter("3.weight")
        for variant, seed in (("max", 0), ("avg", 0), ("max", 1))
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_stochastic_operator_draws_nothing_of_the_callers(assemble: Assemble, own: Own) -> None:
    source = (
        "class Pool(nn.MaxPool2d):\n    def forward(self, x):\n        return super().forward(x + torch.rand_like(x))\n"
    )
    before = torch.get_rng_state()
    assemble("slides", downsample(f"{own(source)}.Pool")).audit()
    assert torch.equal(torch.get_rng_state(), before)


TWINS = """
class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.MaxPool2d(2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, num_classes))
"""


def test_new_operators_of_two_sites_start_apart(assemble: Assemble, own: Own) -> None:
    network = assemble(backbone(f"{own(TWINS)}.Net"), "strided_conv", shape=(3, 8, 8)).network
    first, second = (network.get_parameter(f"{site}.conv.weight") for site in (0, 1))
    assert first.shape == second.shape
    assert not torch.equal(first, second)
