"""How far a value sees: by the formula r + (k − 1)·d·j, as published, and where gradients really come from."""

import pytest
import torch
import torchvision
import yaml
from torch import Tensor, nn

from poolbench.backbones import assemble
from poolbench.measure.receptive_field import ReceptiveField, marked, watching
from poolbench.paths import conf_dir
from poolbench.pooling import AdaptivePolyphasePool2d, LIPPool2d, MaxBlurPool2d, MaxPool2d, TIPSPool2d
from poolbench.spec import build


def seen(network: nn.Module, shape: tuple[int, int, int] = (3, 64, 64)) -> dict[str, ReceptiveField]:
    """Return what every module's output sees."""
    device = next((parameter.device for parameter in network.parameters()), "cpu")
    with torch.no_grad(), watching(network.eval()) as found:
        network(marked(torch.zeros(1, *shape, device=device)))
    return found


def side(field: ReceptiveField) -> float:
    assert field.size[0] == field.size[1]
    return field.size[0]


def test_a_plain_chain_by_hand() -> None:
    found = seen(
        nn.Sequential(
            nn.Conv2d(3, 4, 7, stride=2, padding=3),  # 1 + 6·1 = 7, then 2 pixels a step
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),  # 7 + 2·2 = 11, then 4
            nn.Conv2d(4, 4, 3, padding=2, dilation=2),  # 11 + 2·2·4 = 27
            nn.AvgPool2d(2),  # 27 + 1·4 = 31, then 8
            nn.LPPool2d(2, 2, stride=1),  # 31 + 1·8 = 39
            nn.Conv2d(4, 4, 1),  # 39
            nn.MaxPool2d((1, 2), stride=1, return_indices=False),  # columns: 39 + 8 = 47
        )
    )
    sides = [7, 7, 11, 27, 31, 39, 39]
    assert [side(found[str(i)]) for i in range(7)] == sides
    assert found["7"] == ReceptiveField((39, 47), (8, 8))


def test_dilated_windows() -> None:
    assert seen(nn.MaxPool2d(3, stride=1, dilation=2))[""] == ReceptiveField((5, 5), (1, 1))
    assert seen(MaxPool2d(3, 1, dilation=2))[""] == ReceptiveField((5, 5), (1, 1))


class Residual(nn.Module):
    """Two convolutions beside a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 5, padding=2)  # 5
        self.first = nn.Conv2d(4, 4, 3, stride=2, padding=1)  # 7, then 2 pixels a step
        self.second = nn.Conv2d(4, 4, 3, padding=1)  # 7 + 2·2 = 11
        self.shortcut = nn.Conv2d(4, 4, 1, stride=2)  # 5
        self.after = nn.Conv2d(4, 4, 3)  # 11 + 2·2 = 15

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.after(self.shortcut(x) + self.second(self.first(x).relu()))


class Branches(nn.Module):
    """Branches of several sizes, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 2, 1)
        self.five = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 5, padding=2))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(3, 2, 1))
        self.after = nn.Conv2d(6, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.cat([self.one(x), self.five(x), self.pooled(x)], 1))


class Gated(nn.Module):
    """A map times a gate that is made of all of it."""

    def __init__(self, mean: str) -> None:
        super().__init__()
        self.mean = mean
        self.whole = nn.AdaptiveAvgPool2d(1)
        self.narrow, self.wide = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 3, 1)
        self.after = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.mean == "module":
            gate = self.whole(x)
        elif self.mean == "method":
            gate = x.mean((2, 3), keepdim=True)
        else:
            gate = nn.functional.avg_pool2d(x, x.shape[2:])
        return self.after(x * self.wide(self.narrow(gate).relu()).sigmoid())


def test_a_residual_block_by_hand() -> None:
    found = seen(Residual())
    assert [side(found[name]) for name in ("stem", "first", "second", "shortcut", "after")] == [5, 7, 11, 5, 15]
    assert found["after"].step == (2, 2)


def test_branches_side_by_side_count_by_the_widest() -> None:
    found = seen(Branches())
    assert [side(found[name]) for name in ("one", "five", "pooled", "after")] == [1, 5, 3, 7]


@pytest.mark.parametrize("mean", ["module", "method", "window"])
def test_a_gate_does_not_count(mean: str) -> None:
    assert side(seen(Gated(mean))["after"]) == 3


def test_a_linear_layer_along_the_channels_is_followed() -> None:
    # The stem is 4 x 4 at stride 4, every block of convnext has a 7 x 7 convolution: 4 + 3·6·4, then 2 x 2 at stride 2.
    with torch.device("meta"):
        built = torchvision.models.convnext_tiny()
    found = seen(built)
    assert [side(found[f"features.{stage}"]) for stage in range(3)] == [4, 76, 80]
    assert found["features.2"].step == (8, 8)
    assert "classifier.2" not in found


def test_what_boils_down_to_features_sees_nothing_to_speak_of() -> None:
    found = seen(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(2, 2)))
    assert set(found) == {"0"}


# torchvision's variant, which strides at the 3 x 3 convolution of a stage's first block.
RESNET50 = {"conv1": 7, "maxpool": 11, "layer1": 35, "layer2": 91, "layer3": 267, "layer4": 427}


def test_resnet50_by_hand() -> None:
    with torch.device("meta"):
        found = seen(torchvision.models.resnet50(), (3, 224, 224))
    sees, step = 11, 4
    expected = {"conv1": 7, "maxpool": 11}
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            sees += 2 * step  # the only convolution of a block that is no 1 x 1; the first of a stage strides
            step *= 2 if block == 0 and stage > 1 else 1
        expected[f"layer{stage}"] = sees
    assert expected == RESNET50
    assert {name: side(found[name]) for name in expected} == expected
    assert found["layer4"].step == (32, 32)
    assert "fc" not in found


def test_vgg16_sees_212() -> None:
    # As Araujo, Norris and Sim have it, Computing Receptive Fields of Convolutional Neural Networks (2019).
    with torch.device("meta"):
        found = seen(torchvision.models.vgg16(), (3, 224, 224))
    assert found["features.30"] == ReceptiveField((212, 212), (32, 32))


def resnet20(pooling: str) -> dict[str, ReceptiveField]:
    specs = [yaml.safe_load((conf_dir() / f"{name}.yaml").read_text()) for name in ("backbone/resnet20", pooling)]
    made = assemble(*specs, in_channels=3, image_size=(32, 32), num_classes=10, seed=0)
    return seen(made.network, (3, 32, 32))


def test_a_convolution_that_was_parted_from_its_stride() -> None:
    found = resnet20("pooling/max")
    # conv1 3; six convolutions of layer1 make 15; then 3 x 3 at stride 1 makes 17, and the window of 2 makes 18.
    assert side(found["layer1"]) == 15
    assert found["layer2.0.conv1"] == ReceptiveField((18, 18), (2, 2))
    assert found["layer2.0.shortcut.subsample"] == ReceptiveField((16, 16), (2, 2))
    # Five more convolutions of layer2, 4 pixels each; then 3 x 3 and a window of 2.
    assert side(found["layer2"]) == 18 + 5 * 4
    assert found["layer3.0.conv1"] == ReceptiveField((18 + 5 * 4 + 4 + 2,) * 2, (4, 4))
    assert side(found["layer3"]) == 44 + 5 * 8


def test_a_filter_around_the_window_widens_it() -> None:
    plain, blurred = resnet20("pooling/max"), resnet20("pooling/max_blur")
    # A filter of 3 before the first halving and one before the second: 2 and 2·2 pixels more.
    assert side(blurred["layer2.0.conv1"]) == side(plain["layer2.0.conv1"]) + 2
    assert side(blurred["layer3.0.conv1"]) == side(plain["layer3.0.conv1"]) + 2 + 4
    assert seen(MaxBlurPool2d(2, blur_size=5))[""] == ReceptiveField((6, 6), (2, 2))
    behind = seen(nn.Sequential(nn.Conv2d(3, 3, 3, stride=2), MaxBlurPool2d(3, 2)))["1"]
    assert behind == ReceptiveField((11, 11), (4, 4))


def test_the_convolutions_of_an_importance_widen_the_window() -> None:
    for logit in ("projection", "bottleneck"):  # each has one of 3 x 3
        assert seen(LIPPool2d(2, channels=3, logit=logit))[""] == ReceptiveField((4, 4), (2, 2))
    assert seen(LIPPool2d(2, channels=3, logit_size=1))[""] == ReceptiveField((2, 2), (2, 2))


def test_polyphase_pools_without_maxima_do_not_see_their_window() -> None:
    for kernel, padding in ((2, 0), (3, 1)):
        assert seen(TIPSPool2d(kernel, 2, padding, channels=3))[""] == ReceptiveField((2, 2), (2, 2))
        without = AdaptivePolyphasePool2d(kernel, 2, padding, maximum=False)
        assert seen(without)[""] == ReceptiveField((1, 1), (2, 2))
        assert seen(AdaptivePolyphasePool2d(kernel, 2, padding))[""].size == (kernel, kernel)


YAMLS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "pooling").glob("*.yaml"))}
WINDOWS = {name: found["downsample"] for name, found in YAMLS.items() if found.get("downsample")}
# A result depends on the whole map, by a normalisation or a transform; stated are the window and the filters around it.
WHOLE_MAP = {"lip", "lip_bottleneck", "spectral", "asap", "gaussian", "tips"}
# Where a window lies is drawn or chosen for the whole map: stated is its largest size, wherever it lies.
WANDERING = {"aps", "lps", "fractional_max"}


def extent(operator: nn.Module, draw: int) -> Tensor:
    """Return which values of a map of 24 x 24 have a gradient from a result in its middle."""
    torch.manual_seed(draw)
    x = torch.randn(1, 2, 24, 24, requires_grad=True)
    (gradient,) = torch.autograd.grad(operator(x)[0, :, 6, 6].sum(), x)
    return gradient[0].abs().sum(0) > 0


def sides_of(values: Tensor) -> tuple[int, int]:
    rows, columns = values.nonzero().unbind(1)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.quick(3)
@pytest.mark.parametrize("geometry", [(2, 2, 0), (3, 2, 1)], ids=str)
@pytest.mark.parametrize("name", WINDOWS)
def test_gradients_come_from_where_an_operator_is_said_to_see(name: str, geometry: tuple[int, int, int]) -> None:
    spec = WINDOWS[name] | dict(zip(("kernel_size", "stride", "padding"), geometry, strict=True))
    operator = build(spec, {"channels": 2}, where=name).eval()
    for parameter in operator.parameters():
        nn.init.normal_(parameter)
    maps = [extent(operator, draw) for draw in range(30)]
    stated = seen(operator, (2, 24, 24))[""].size
    if name in WHOLE_MAP:
        assert min(sides_of(torch.stack(maps).any(0))) > 20 > max(stated)
    elif name in WANDERING:
        assert all(side <= limit for found in maps for side, limit in zip(sides_of(found), stated, strict=True))
    else:
        assert sides_of(torch.stack(maps).any(0)) == stated
