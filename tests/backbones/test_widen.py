"""Networks made wider or narrower."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from backbones.shapes import shapes_for
from torch import nn

from poolbench.backbones import Assembled, CifarResNet
from poolbench.backbones.construct import construct
from poolbench.backbones.trace import trace
from poolbench.backbones.widen import Width, widen
from poolbench.errors import UnsupportedError
from poolbench.paths import conf_dir

Conf = Callable[..., dict[str, Any]]
BACKBONES = sorted(path.stem for path in (conf_dir() / "backbone").glob("*.yaml") if "\nmodel:" not in path.read_text())


def widened(conf: Conf, backbone: str, factor: float, *, seed: int = 0, **changes: Any) -> nn.Module:
    (shape,) = shapes_for(backbone, [(3, 32, 32)])
    context = {"in_channels": shape[0], "num_classes": 10, "image_size": shape[1:]}
    spec = conf("backbone", backbone, **changes)
    spec.pop("strided_convolutions", None)  # the surgery's, not the constructor's
    network = construct(spec, context, where="backbone", seed=seed, stream="backbone")
    calls = trace(network, shape, name=str(spec.get("model") or backbone)).calls
    widen(network, calls, Width(factor), shape, seed=seed, name=str(spec.get("model") or backbone))
    return network


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("phase", [0, 1, 5])
def test_every_number_keeps_its_place_at_factor_one_and_grows_with_the_factor(phase: int) -> None:
    factors = [at / 50 for at in range(1, 200)]
    for channels in range(1, 300):
        assert Width(1.0, phase)(channels) == channels
        widths = [Width(factor, phase)(channels) for factor in factors]
        assert widths == sorted(widths)
        assert all(abs(width - channels * factor) <= 1 for factor, width in zip(factors, widths, strict=True))
    assert all(Width(0.3, phase)(channels, 8) % 8 == 0 for channels in range(8, 300))


@pytest.mark.quick(8)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("factor", [0.4, 1.0, 1.7])
def test_widened_networks_learn(conf: Conf, backbone: str, factor: float) -> None:
    network, own = widened(conf, backbone, factor), widened(conf, backbone, 1.0)
    network(torch.randn(2, *shapes_for(backbone, [(3, 32, 32)])[0])).logsumexp(1).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert (count(network) > count(own)) == (factor > 1)
    assert (count(network) == count(own)) == (factor == 1)


def test_the_published_wide_residual_network_comes_out(conf: Conf) -> None:
    """Twice the width by the factor is twice the width by the constructor's argument."""
    wide = widened(conf, "resnet20", 2.0)
    built = CifarResNet(in_channels=3, num_classes=10, depth=20, width=32)
    shapes = [{name: p.shape for name, p in network.named_parameters()} for network in (wide, built)]
    assert shapes[0] == shapes[1]


def test_new_weights_start_by_the_layers_own_rule(conf: Conf) -> None:
    own, wide, again, other = (
        widened(conf, "resnet20", factor, seed=seed).state_dict()
        for factor, seed in ((1.0, 0), (2.0, 0), (2.0, 0), (2.0, 1))
    )
    name = "layer3.2.conv2.weight"
    torch.testing.assert_close(wide[name].std() * 2**0.5, own[name].std(), rtol=0.02, atol=0)
    assert torch.equal(wide[name], again[name])
    assert not torch.equal(wide[name], other[name])
    assert (wide["bn1.weight"] == 1).all()
    assert (wide["bn1.bias"] == 0).all()


@pytest.mark.parametrize("model", ["regnet_y_400mf", "mobilenet_v3_small"])
def test_groups_keep_their_width(conf: Conf, model: str) -> None:
    network, own = (widened(conf, "torchvision", factor, model=model) for factor in (1.4, 1.0))
    pairs = zip(network.modules(), own.modules(), strict=True)
    grouped = [(a, b) for a, b in pairs if isinstance(a, nn.Conv2d) and isinstance(b, nn.Conv2d) and b.groups > 1]
    assert grouped
    assert all(a.in_channels // a.groups == b.in_channels // b.groups for a, b in grouped)
    assert all(a.groups > b.groups for a, b in grouped)


def test_network_that_is_made_for_its_width(conf: Conf) -> None:
    text = r"`match`: the width of convnext_tiny cannot be changed to 1.500 times its own"
    with pytest.raises(UnsupportedError, match=text):
        widened(conf, "torchvision", 1.5, model="convnext_tiny")


def test_trained_weights_have_no_other_width(assemble: Callable[..., Assembled], conf: Conf, tmp_path: Any) -> None:
    from poolbench.backbones import assemble as assemble_specs
    from poolbench.backbones.torchvision_model import torchvision_model
    from poolbench.errors import ConfigurationError

    path = tmp_path / "weights.pth"
    torch.save(torchvision_model("resnet18", 3, 10, (32, 32)).state_dict(), path)
    backbone = conf("backbone", "torchvision", model="resnet18", weights=str(path))
    images: dict[str, Any] = {"in_channels": 3, "image_size": (32, 32), "num_classes": 10}
    with pytest.raises(ConfigurationError, match=r"`match` changes the network's width.*`backbone.weights`"):
        assemble_specs(backbone, conf("pooling", "avg"), **images, seed=0, width=Width(1.1))
