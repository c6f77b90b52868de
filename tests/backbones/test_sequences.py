"""Surgery on networks for sequences: sites, heads and operators in one dimension."""

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

from poolbench.backbones import Anatomy, Subsample1d, assemble
from poolbench.backbones.trace import trace
from poolbench.errors import UnsupportedError
from poolbench.measure.audit import audited
from poolbench.paths import conf_dir
from poolbench.pooling import WindowPool2d

VARIANTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "pooling").glob("*.yaml"))}


class Signals(nn.Module):
    """Every kind of site, and a head called as a function."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(in_channels, 8, 5, padding=2)
        self.conv2 = nn.Conv1d(8, 16, 3, padding=1)
        self.pool2 = nn.AvgPool1d(3, 2, 1)
        self.conv3 = nn.Conv1d(16, 16, 3, stride=2, padding=1)
        self.subsample = Subsample1d(2)
        self.norm = nn.BatchNorm1d(16)
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, x):
        x = F.max_pool1d(torch.relu(self.conv1(x)), 2)
        x = self.pool2(torch.relu(self.conv2(x)))
        x = torch.relu(self.norm(self.conv3(x)) + self.subsample(x))
        return self.classifier(x.mean(-1))


class Heads(nn.Module):
    """One convolution and a head that is given."""

    def __init__(self, how: str, num_classes: int, image_size: tuple[int]) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3, padding=1)
        self.pool = nn.MaxPool1d(2)
        kinds = {"adaptive": nn.AdaptiveMaxPool1d(1), "window": nn.AvgPool1d(image_size[0] // 2)}
        self.body = kinds.get(how, nn.Identity())
        self.flatten = nn.Flatten()
        self.how = how
        self.fc = nn.Linear(8 * image_size[0] // 2 if how == "flatten" else 8, num_classes)

    def forward(self, x):
        x = self.body(self.pool(torch.relu(self.conv(x))))
        return self.fc(x.flatten(2).amax(-1) if self.how == "function" else self.flatten(x))


def signals(pooling, head=None, size=100, network="Signals", **arguments):
    backbone = {"_target_": f"{__name__}.{network}", "name": "signals", **arguments}
    return assemble(backbone, pooling, head, in_channels=3, image_size=(size,), num_classes=4, seed=0)


@pytest.mark.quick(6)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_stands_in_its_own_one_dimensional_form(name):
    made = signals(VARIANTS[name])
    shapes = [([8, 100], [8, 50]), ([16, 50], [16, 25]), ([16, 25], [16, 13]), ([16, 25], [16, 13])]
    assert [(row["input_shape"], row["output_shape"]) for row in made.sites] == shapes
    assert [row["kernel_size"] for row in made.sites][:2] == [[2], [3]]
    spatial = [getattr(operator, "spatial", 1) for operator in made.operators]
    assert set(spatial) <= {1}
    x = torch.randn(2, 3, 100, generator=torch.Generator().manual_seed(0))
    made.network(x).sum().backward()
    assert all(p.grad is not None for p in made.network.parameters() if p.requires_grad)


def test_max_pooling_is_torchs():
    made = signals(VARIANTS["max"])
    own = Signals(3, 4)
    own.load_state_dict(made.network.state_dict())
    own.pool2 = nn.MaxPool1d(3, 2, 1)
    own.conv3.stride = (1,)
    own.conv3 = nn.Sequential(own.conv3, nn.MaxPool1d(2, ceil_mode=True))
    own.subsample = nn.MaxPool1d(2, ceil_mode=True)
    x = torch.randn(2, 3, 100, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made.network.eval()(x), own.eval()(x))


def test_what_a_value_sees_and_the_work_are_counted_along_the_length():
    audit, cost = audited(signals(VARIANTS["strided_conv"]), batch_size=2, device=torch.device("cpu"))
    # 5, then 2 at stride 2; 3 of step 2, then 3 at stride 2; 3 of step 4; the subsampled shortcut sees nothing more.
    assert [row["receptive_field"] for row in audit["sites"]][:3] == [[6], [14], [22]]
    by_hand = 3 * 5 * 8 * 100 + 8 * 8 * 2 * 50 + 8 * 3 * 16 * 50 + 16 * 16 * 3 * 25 + 16 * 3 * 16 * 13 + 16 * 4
    assert cost["multiply_adds"] == by_hand + next(
        r["multiply_adds"] for r in audit["sites"] if r["name"] == "subsample"
    )
    work = audited(signals(VARIANTS["max"]), batch_size=2, device=torch.device("cpu"))[1]
    assert work["pooling_operations"] > 0


@pytest.mark.quick(5)
@pytest.mark.parametrize(
    ("how", "place"), [("adaptive", "body"), ("window", "body"), ("flatten", "flatten"), ("function", "amax")]
)
@pytest.mark.parametrize("name", ["avg_max_concat", "gamp", "adaptive", "spatial_pyramid", "class_maps_gap"])
def test_every_kind_of_head_is_exchanged(how, place, name):
    made = signals(VARIANTS[name], size=32, network="Heads", how=how)
    assert made.head["name"] == place
    asked = VARIANTS[name]["head"]["_target_"].rpartition(".")[2]
    assert made.head["operator"] in (asked.replace("2d", "1d"), f"{asked}1d")
    assert made.network(torch.zeros(2, 3, 32)).shape == (2, 4)


def test_global_max_is_the_largest_value_of_each_channel():
    made = signals(VARIANTS["gmp"], size=32, network="Heads", how="adaptive")
    x_BCL = torch.randn(5, 8, 16, generator=torch.Generator().manual_seed(1))
    standing = made.network.get_submodule(made.head["name"])
    torch.testing.assert_close(standing(x_BCL).flatten(1), x_BCL.amax(-1))


class Images2d(WindowPool2d):
    """An operator for images alone: beside it there is no Images1d."""

    def pool(self, x_BCHW):
        return F.max_pool2d(x_BCHW, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)


class OnlySequences1d(nn.Module):
    """A custom operator for sequences, which says so by its name."""

    def __init__(self, kernel_size: int, stride: int, padding: int, ceil_mode: bool) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(kernel_size, stride, padding, ceil_mode=ceil_mode)

    def forward(self, x):
        return self.pool(x)


class Anywhere(nn.Module):
    """A custom operator that takes its dimensions from its map."""

    def __init__(self, kernel_size, stride, padding, ceil_mode) -> None:
        super().__init__()
        self.arguments = (kernel_size, stride, padding, 1, ceil_mode)

    def forward(self, x):
        return (F.max_pool1d if x.ndim == 3 else F.max_pool2d)(x, *self.arguments)


def test_an_operator_without_such_a_form_is_unsupported_and_named():
    target = {"_target_": f"{__name__}.Images2d"}
    with pytest.raises(UnsupportedError, match=r"Images2d\) has no 1-D form.*sequences.*there is no .*Images1d"):
        signals({"downsample": target})
    with pytest.raises(UnsupportedError, match=r"`pooling.head` .*has no 1-D form"):
        signals({"head": {"_target_": "torchvision.ops.FrozenBatchNorm2d"}})


def test_an_operator_for_sequences_is_no_operator_for_images():
    target = {"downsample": {"_target_": f"{__name__}.OnlySequences1d"}}
    assert {row["operator"] for row in signals(target).sites} == {"OnlySequences1d"}
    slides = yaml.safe_load((conf_dir() / "backbone" / "slides.yaml").read_text())
    with pytest.raises(UnsupportedError, match=r"takes sequences .*given maps \(C, H, W\): name its 2-D form"):
        assemble(slides, target, in_channels=1, image_size=(16, 16), num_classes=4, seed=0)


def test_an_operator_of_any_dimensions_stands_as_it_is():
    target = {"downsample": {"_target_": f"{__name__}.Anywhere"}}
    slides = yaml.safe_load((conf_dir() / "backbone" / "slides.yaml").read_text())
    on_images = assemble(slides, target, in_channels=1, image_size=(16, 24), num_classes=4, seed=0)
    for made in (signals(target), on_images):
        assert {row["operator"] for row in made.sites} == {"Anywhere"}
    assert on_images.sites[0]["input_shape"] == [16, 16, 24]


def test_declared_sites_are_taken():
    class Declared(Signals):
        def __init__(self, in_channels, num_classes):
            super().__init__(in_channels, num_classes)
            self.anatomy = Anatomy(sites=("pool2",), head=None, classifier=None)

    globals()["Declared"] = Declared
    made = signals(VARIANTS["avg"], network="Declared")
    assert [row["name"] for row in made.sites] == ["pool2"]


def test_a_sequence_that_is_too_short_is_said_with_its_sizes():
    with pytest.raises(UnsupportedError, match=r"site pool2 .*fails on the map 16x1"):
        signals(VARIANTS["max"] | {"downsample": VARIANTS["max"]["downsample"] | {"padding": 0}}, size=2)
    image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(
        UnsupportedError, match=r"^net takes images \(C, H, W\), but examples are sequences of 9 places"
    ):
        trace(image, (1, 9), name="net")
    with pytest.raises(UnsupportedError, match=r"cannot take sequences of length 1 with 3 channels; the last layer"):
        signals(VARIANTS["max"], size=1)
