"""What makes a map smaller and is neither site nor head is listed, with its sizes and a true reason."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones import Assembled
from poolbench.backbones.axes import axes_of_images, follow, places

Assemble = Callable[..., Assembled]
IMAGE = (3, 16, 16)


def net(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"name": "mine", "_target_": f"{__name__}.{kind}", **arguments}


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "slice": lambda x: x[..., ::2, ::2],
    "convolution": lambda x: F.conv2d(x, torch.ones(4, 4, 1, 1), stride=2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2)[:, :4],
    "upsample_nearest2d": lambda x: F.interpolate(x, scale_factor=0.5),
    "upsample_bilinear2d": lambda x: F.interpolate(x, size=(8, 8), mode="bilinear"),
    "unfold": lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)),
    "view": lambda x: x.view(2, 4, 8, 2, 8, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 16, 8, 8)[:, :4],
    "index_select": lambda x: x.index_select(2, torch.arange(0, 16, 2)).index_select(3, torch.arange(0, 16, 2)),
    "amax": lambda x: x.view(2, 4, 8, 2, 8, 2).amax((3, 5)),
    "grid_sampler_2d": lambda x: F.grid_sample(x, torch.zeros(2, 8, 8, 2), align_corners=False),
    "im2col": lambda x: F.unfold(x, 2, stride=2).view(2, 4, 4, 8, 8).mean(2),
}
MODULES: dict[str, Callable[[], nn.Module]] = {
    "LPPool2d": lambda: nn.LPPool2d(2, 2),
    "FractionalMaxPool2d": lambda: nn.FractionalMaxPool2d(2, output_size=8),
    "PixelUnshuffle": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 4, 1)),
    "Upsample": lambda: nn.Upsample(scale_factor=0.5),
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d(8),
    "Unfold": lambda: nn.Sequential(nn.Unfold(2, stride=2), nn.Unflatten(2, (8, 8)), nn.Conv2d(16, 4, 1)),
    "Conv2d": lambda: nn.Conv2d(4, 4, 9),
    "MaxPool2d": lambda: nn.Sequential(nn.MaxPool2d(2, return_indices=True), First()),
    "dilated": lambda: nn.MaxPool2d(2, 2, dilation=2, padding=1),
}


class First(nn.Module):
    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        return x[0]


class Net(nn.Module):
    """A map of 4x16x16, made 4x8x8 in one way or another, a convolution, the mean."""

    def __init__(self, num_classes: int, step: str = "", module: str = "") -> None:
        super().__init__()
        self.first, self.step = nn.Conv2d(3, 4, 3, padding=1), step
        self.reduce = MODULES[module]() if module else nn.Identity()
        self.last, self.gap, self.fc = nn.Conv2d(4, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(self.first(x))
        if self.step:
            x = STEPS[self.step](x)
        return self.fc(self.gap(self.last(x)).flatten(1))


@pytest.mark.parametrize("step", STEPS)
def test_steps_in_code_are_listed(assemble: Assemble, step: str) -> None:
    made = assemble(net("Net", step=step), "gap", shape=IMAGE)
    assert made.sites == []
    assert made.head["name"] == "gap"
    row = made.left[0]
    assert row["native"] == "Net"
    assert row["name"].removeprefix("mine (").lstrip("_").removesuffix(")").removeprefix("unsafe_") == step
    assert row["input_shape"][-2:] == [16, 16] or step in ("view", "amax", "unfold")
    assert "in the network's own code" in row["reason"]


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_listed(assemble: Assemble, module: str) -> None:
    made = assemble(net("Net", module=module), "gap", shape=IMAGE)
    assert made.sites == []
    (row,) = made.left
    assert row["native"] == ("MaxPool2d" if module == "dilated" else module)
    assert row["name"] == ("reduce.0" if isinstance(MODULES[module](), nn.Sequential) else "reduce")
    assert row["input_shape"] == [4, 16, 16]
    assert row["output_shape"][-1] in (8, 64)
    reasons = {
        "MaxPool2d": "it gives indices, too",
        "dilated": "its window is dilated",
        "Conv2d": "because it is not padded",
        "AdaptiveAvgPool2d": "it is not the head: layers behind it see maps (last: 4x8x8)",
    }
    assert reasons.get(module, "no max or average pooling, strided convolution or Subsample2d") in row["reason"]


def test_what_makes_no_map_smaller_is_not_listed(assemble: Assemble) -> None:
    assert assemble(net("Net"), "gap", shape=IMAGE).left == []


class Sliced(nn.Module):
    """One map of which every second place is taken, then the border cut off."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv, self.more = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8 * 10 * 10, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.more(self.conv(x)[:, :, ::2, ::2])[:, :, 3:13, 3:13].flatten(1))


def test_a_border_that_is_cut_off_is_told_from_a_stride(assemble: Assemble) -> None:
    rows = {
        tuple(row["output_shape"][1:]): row["reason"] for row in assemble(net("Sliced"), "max", shape=(3, 32, 32)).left
    }
    assert "network's own code" in rows[16, 16]
    assert "cuts off the border" in rows[10, 10]


class Tokens(nn.Module):
    """Patches as tokens, a class token, an AvgPool1d over them, attention."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.token, self.norm = nn.Parameter(torch.zeros(1, 1, 8)), nn.LayerNorm(8)
        self.pool, self.layer = nn.AvgPool1d(2), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.patches(x).flatten(2)).transpose(1, 2)
        x = torch.cat([self.norm(self.token.expand(len(x), -1, -1)), x], 1)
        return self.fc(self.layer(x)[:, 0])


def test_tokens_are_places_and_patches_no_site(assemble: Assemble) -> None:
    made = assemble(net("Tokens"), "max", shape=(3, 32, 32))
    assert made.sites == []
    rows = {row["name"]: (row["input_shape"], row["output_shape"], row["reason"]) for row in made.left}
    assert list(rows) == ["patches", "pool", "mine (select)"]
    assert rows["patches"][:2] == ([3, 32, 32], [8, 4, 4])
    assert "cuts the image into patches" in rows["patches"][2]
    assert rows["pool"][:2] == ([8, 16], [8, 8])
    assert "by select (9x8 → 8)" in made.head["note"]
    small = assemble(net("Tokens"), "max", shape=(3, 32, 32), num_classes=3).audit()
    assert small["head"]["native"] == ""


@pytest.mark.slow
def test_networks_of_timm(assemble: Assemble, conf: Callable[..., dict[str, Any]]) -> None:
    expected = {"resnetblur50": ("BlurPool2d", 4), "tresnet_m": ("SpaceToDepth", 1)}
    for model, (kind, number) in expected.items():
        rows = assemble(conf("backbone", "timm", model=model), "max", shape=(3, 64, 64)).left
        found = [row for row in rows if row["native"] == kind]
        assert len(found) == number, model
        assert all(row["input_shape"][-1] >= 2 * row["output_shape"][-1] for row in found)


def test_axes_by_hand() -> None:
    images = axes_of_images((2, 3, 8, 8))
    tokens = follow("view", {}, [((2, 3, 8, 8), images)], (2, 3, 64))
    assert tokens is not None
    assert places(tokens) == 64
    features = follow("view", {}, [((2, 3, 64), tokens)], (2, 192))
    assert features is not None
    assert places(features) == 1
    windows = follow("view", {}, [((2, 3, 8, 8), images)], (2, 3, 4, 2, 4, 2))
    assert windows is not None
    order = {"dims": [0, 1, 3, 5, 2, 4]}
    turned = follow("permute", order, [((2, 3, 4, 2, 4, 2), windows)], (2, 3, 2, 2, 4, 4))
    deep = follow("view", {}, [((2, 3, 2, 2, 4, 4), turned)], (2, 12, 4, 4))
    assert deep is not None
    assert places(deep) == 16
    padded = follow("constant_pad_nd", {}, [((2, 3, 8, 8), images)], (2, 3, 10, 10))
    assert padded is not None
    assert places(padded) == 64, "a padding makes no places"
