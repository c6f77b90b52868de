"""Parameters, multiply-adds and the poolings' own work: by hand, as published, and beside another counter."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from ptflops import get_model_complexity_info
from torch import Tensor, nn

from poolbench.backbones import Slides, assemble
from poolbench.measure.cost import cost, costs
from poolbench.pooling import AvgPool2d, AvgTopKPool2d, LIPPool2d, MaxPool2d


class Drawing(nn.Module):
    """Draws from torch's generator and counts its calls, whatever the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images * torch.rand(())


class NeedsNumbers(nn.Module):
    """Cannot be passed without numbers."""

    def forward(self, images: Tensor) -> Tensor:
        return images * (1 + images.sum().item())


class Own(nn.MaxPool2d):
    """An operator of the user's: it says nothing of its work."""

    def __init__(self, kernel_size: int, stride: int, padding: int = 0, ceil_mode: bool = False) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, kernel_size=3, padding=1),  # 3·8·9 + 8 parameters, 3·8·9 products at each of 6·6 places
        nn.BatchNorm2d(8),  # 16 parameters
        nn.ReLU(),
        Drawing(),
        MaxPool2d(2),  # 8·3·3 windows, 3 comparisons each
        nn.Conv2d(8, 8, kernel_size=3, padding=1, groups=4, bias=False),  # 2·2·9·4 parameters, at 3·3 places
        nn.Flatten(),
        nn.Linear(72, 5),  # 72·5 + 5
    )


def test_cost_by_hand() -> None:
    counted = network()
    counted[7].bias.requires_grad_(False)
    found = cost(counted, (3, 6, 6), operators=[counted[4]], batch_size=3)
    memory = found.pop("kept_bytes"), found.pop("peak_bytes")
    assert found == {
        "parameters": 224 + 16 + 144 + 365,
        "parameters_trainable": 224 + 16 + 144 + 360,
        "multiply_adds": 216 * 36 + 144 * 9 + 360,
        "pooling_operations": 3 * 72,
        "pooling_bytes_read": 4 * 8 * 36,
        "pooling_bytes_written": 4 * 72,
        "memory_batch_size": 3,
        "memory_method": "fake",
    }
    assert 0 < memory[0] < memory[1]


def test_parts_by_hand() -> None:
    counted = nn.Sequential(network(), nn.Linear(5, 2))
    parts = costs(counted, (3, 6, 6), parts=["0.0", "0.4", "0.5", "0"]).parts
    assert {name: (part.parameters, part.multiply_adds) for name, part in parts.items()} == {
        "0.0": (224, 216 * 36),
        "0.4": (0, 0),
        "0.5": (144, 144 * 9),
        "0": (224 + 16 + 144 + 365, 216 * 36 + 144 * 9 + 360),
    }


def test_what_a_pass_without_numbers_cannot_do_is_run() -> None:
    found = cost(nn.Sequential(nn.Flatten(), NeedsNumbers(), nn.Linear(4, 2)), (1, 2, 2), batch_size=3)
    # Kept are the images, whose product it is, and no more: the factor is a number, and what the layer takes is 3·4.
    assert (found["memory_method"], found["multiply_adds"], found["kept_bytes"]) == ("run", 8, 4 * 3 * 4)


def test_what_fails_with_numbers_too_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        cost(nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), (1, 2, 2))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(1)])
def test_multiply_adds_have_no_poolings_in_them(pool: nn.Module) -> None:
    found = cost(pool, (3, 6, 6))
    assert (found["parameters"], found["multiply_adds"], found["pooling_operations"]) == (0, 0, 0)
    assert found["memory_method"] == "fake"
    assert found["kept_bytes"] == 0


def test_nothing_changes() -> None:
    counted = network().train()
    counted[1].eval()  # a part that was frozen stays so
    before = {name: value.clone() for name, value in counted.state_dict().items()}
    gradients = [torch.full_like(parameter, 3.0) for parameter in counted.parameters()]
    for parameter, gradient in zip(counted.parameters(), gradients, strict=True):
        parameter.grad = gradient
    for kind in (counted, nn.Sequential(counted, NeedsNumbers())):
        modes = [module.training for module in kind.modules()]
        torch.manual_seed(7)
        expected = torch.get_rng_state()
        cost(kind, (3, 6, 6), operators=[counted[4]])
        assert torch.equal(torch.get_rng_state(), expected)
        assert [module.training for module in kind.modules()] == modes
        assert all(torch.equal(value, before[name]) for name, value in counted.state_dict().items())
        assert all(p.grad is g and bool((g == 3).all()) for p, g in zip(counted.parameters(), gradients, strict=True))
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in kind.modules())


def test_the_input_has_the_networks_dtype() -> None:
    assert cost(nn.Sequential(nn.Flatten(), nn.Linear(4, 2).double()), (1, 2, 2))["multiply_adds"] == 8


def test_one_image_trains_no_batch_norm() -> None:
    # In training mode a batch norm refuses a single value for each channel.
    assert cost(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4).train()), (4, 1, 1))["multiply_adds"] == 0


# As the articles and torchvision's pages give them: 10⁹ multiply-adds to so many places, and parameters.
PUBLISHED = {
    "resnet18": (1.81, 2, 11_689_512),
    "resnet50": (4.09, 2, 25_557_032),
    "vgg16": (15.47, 2, 138_357_544),
    "mobilenet_v3_small": (0.06, 2, 2_542_856),
}


def published(name: str) -> nn.Module:
    with torch.device("meta"):
        built: nn.Module = getattr(torchvision.models, name)()
    return built


def additions_of_biases(built: nn.Module, images: Tensor) -> int:
    """Return how many values the layers with a bias give."""
    found = 0

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal found
        found += output.numel()

    for module in built.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            module.register_forward_hook(note)
    with torch.no_grad():
        built(images)
    return found


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(name: str) -> None:
    built = published(name).eval()
    found = cost(built.to_empty(device="cpu"), (3, 224, 224))
    giga, places, parameters = PUBLISHED[name]
    assert found["parameters"] == parameters
    assert round(found["multiply_adds"] / 1e9, places) == giga
    assert found["memory_method"] == "fake"
    documented = torchvision.models.get_model_weights(name).DEFAULT.meta
    assert documented["num_params"] == parameters
    assert found["multiply_adds"] / 1e9 == pytest.approx(documented["_ops"], abs=6e-4)
    # ptflops counts the addition of a bias as well, one for each value; else both count the same operations.
    built = published(name).eval()
    other, _ = get_model_complexity_info(
        built, (3, 224, 224), as_strings=False, print_per_layer_stat=False, backend="aten"
    )
    biases = additions_of_biases(built, torch.zeros(1, 3, 224, 224, device="meta"))
    assert found["multiply_adds"] + biases == other
    assert other == pytest.approx(found["multiply_adds"], rel=0.01)


def test_the_article_of_mobilenet_v3_has_56_million() -> None:
    found = cost(published("mobilenet_v3_small").to_empty(device="cpu"), (3, 224, 224))
    assert found["multiply_adds"] == pytest.approx(56e6, rel=0.01)


# slides on 3x32x32: maps of 16x32x32 and 32x16x16 come to the sites, windows of 2 x 2.
MAPS = [(16, 32, 32), (32, 16, 16)]
VALUES, WINDOWS = 16 * 1024 + 32 * 256, 16 * 256 + 32 * 64


def slides_with(make: Callable[[int], nn.Module]) -> tuple[Slides, list[nn.Module]]:
    built = Slides(3, 10, (32, 32))
    built.pool1, built.pool2 = make(16), make(32)
    return built, [built.pool1, built.pool2]


def test_work_of_avg_topk_by_hand() -> None:
    built, operators = slides_with(lambda channels: AvgTopKPool2d(2, k=2))
    found = cost(built, (3, 32, 32), operators=operators)
    # The largest of 4 takes 3 comparisons, the next 2; then a sum and a division.
    assert found["pooling_operations"] == 7 * WINDOWS
    assert found["pooling_bytes_read"] == 4 * VALUES
    assert found["pooling_bytes_written"] == 4 * WINDOWS


def test_work_of_lip_by_hand() -> None:
    built, operators = slides_with(lambda channels: LIPPool2d(2, channels=channels))
    found = cost(built, (3, 32, 32), operators=operators)
    stated = [operator.work(shape) for operator, shape in zip(operators, MAPS, strict=True)]
    for key in ("operations", "bytes_read", "bytes_written"):
        assert found[f"pooling_{key}"] == sum(getattr(work, key) for work in stated)
    by_hand = 0
    for channels, height, width in MAPS:
        values, windows = channels * height * width, channels * height * width // 4
        # 3x3 convolution; normalised; 12·sigmoid, e^G and x·e^G of the scaled map; two means of 4; ratio and scale.
        by_hand += 2 * 9 * channels * values + 10 * values + 8 * channels + (5 + 3) * values + 2 * 4 * windows
        by_hand += 2 * windows
    assert found["pooling_operations"] == by_hand
    parameters = sum(9 * channels**2 + 2 * channels for channels, _, _ in MAPS)
    assert found["pooling_bytes_read"] == 4 * (VALUES + parameters)
    assert found["multiply_adds"] - cost(slides_with(lambda _: AvgPool2d(2))[0], (3, 32, 32))["multiply_adds"] == sum(
        9 * channels * math.prod((channels, height, width)) for channels, height, width in MAPS
    )


def test_behind_a_strided_convolution_the_map_is_the_whole_one() -> None:
    spec = {"name": "resnet8", "_target_": "poolbench.backbones.CifarResNet", "depth": 8}
    pooling = {"name": "avg", "downsample": {"_target_": "poolbench.pooling.AvgPool2d"}}
    made = assemble(spec, pooling, in_channels=3, image_size=(16, 16), num_classes=10, seed=0)
    found = cost(made.network, (3, 16, 16), operators=made.operators)
    # Blocks: a convolution that widens and then is pooled, and a shortcut that is pooled before it is widened.
    values = (32 + 16) * 16 * 16 + (64 + 32) * 8 * 8
    assert found["pooling_bytes_read"] == 4 * values
    assert found["pooling_bytes_written"] == values
    assert found["pooling_operations"] == values  # 3 additions and a product in each window


def test_an_operator_of_ones_own_has_no_work() -> None:
    made = slides_with(lambda _: Own(2, 2))
    found = cost(made[0], (3, 32, 32), operators=made[1])
    assert [found[f"pooling_{key}"] for key in ("operations", "bytes_read", "bytes_written")] == [None] * 3
    mixed = Slides(3, 10, (32, 32))
    mixed.pool1 = MaxPool2d(2)
    assert cost(mixed, (3, 32, 32), operators=[mixed.pool1, mixed.pool2])["pooling_operations"] is None
