"""Strided convolutions and subsampled shortcuts as sites."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.backbones import Assembled, CifarResNet, Subsample2d
from poolbench.backbones.pooled_conv import PooledConv2d
from poolbench.backbones.resnet18 import resnet18
from poolbench.errors import ConfigurationError
from poolbench.pooling import MaxPool2d
from poolbench.streams import drawing

NATIVE: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: CifarResNet(3, 10),
    "resnet18": lambda: resnet18(3, 10),
}


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.quick(1)
@pytest.mark.parametrize("backbone", NATIVE)
def test_strided_conv_is_the_networks_own_form(assemble: Callable[..., Assembled], backbone: str) -> None:
    with drawing(4, "backbone"):
        native = NATIVE[backbone]()
    made = assemble(backbone, "strided_conv", shape=(3, 20, 20), seed=4)
    assert made.network.state_dict().keys() == native.state_dict().keys()
    x_BCHW = images(4, 3, 20, 20)
    for training in (False, True):
        assert torch.equal(made.network.train(training)(x_BCHW), native.train(training)(x_BCHW))
    assert {row["geometry"] for row in made.sites} == {"equal"}
    conv = made.sites[0]
    assert conv["native"] == conv["operator"] == "Conv2d"
    assert (conv["kernel_size"], conv["stride"], conv["padding"]) == ([3, 3], [2, 2], [1, 1])


@pytest.mark.quick(1)
@pytest.mark.parametrize("backbone", NATIVE)
def test_names_of_the_networks_parameters_are_kept(assemble: Callable[..., Assembled], backbone: str) -> None:
    native = NATIVE[backbone]().state_dict()
    made = assemble(backbone, "max").network.state_dict()
    assert {name: value.shape for name, value in made.items()} == {name: v.shape for name, v in native.items()}
    assert any(isinstance(module, PooledConv2d) for module in assemble(backbone, "max").network.modules())


@pytest.mark.parametrize("size", [8, 7])
def test_max_follows_the_convolution_at_stride_1(assemble: Callable[..., Assembled], size: int) -> None:
    network = assemble("resnet20", "max", shape=(3, size, size)).network
    conv, subsample = network.get_submodule("layer2.0.conv1"), network.get_submodule("layer2.0.shortcut.subsample")
    x_BCHW = images(2, 16, size, size)
    at_stride_1 = F.conv2d(x_BCHW, conv.get_parameter("weight"), stride=1, padding=1)
    assert torch.equal(conv(x_BCHW), F.max_pool2d(at_stride_1, 2, 2, ceil_mode=True))
    assert torch.equal(subsample(x_BCHW), F.max_pool2d(x_BCHW, 2, 2, ceil_mode=True))
    assert conv(x_BCHW).shape == F.conv2d(x_BCHW, conv.get_parameter("weight"), stride=2, padding=1).shape
    # An even size leaves no window hanging over, so that this is plain 2x2 pooling.
    if size % 2 == 0:
        assert torch.equal(conv(x_BCHW), F.max_pool2d(at_stride_1, 2))


@pytest.mark.parametrize("size", [1, 6, 7])
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.Conv2d(4, 6, 1, stride=3, bias=False),
        nn.Conv2d(4, 6, (3, 5), stride=(2, 3), padding=(1, 2), dilation=(1, 1), groups=2),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="replicate"),
        nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2),
    ],
    ids=lambda conv: str(conv.extra_repr()),
)
def test_any_plain_convolution_keeps_its_shape_and_tensors(conv: nn.Conv2d, size: int) -> None:
    stride = (conv.stride[0], conv.stride[1])
    state = torch.get_rng_state()
    pooled = PooledConv2d(conv, MaxPool2d(stride, stride, ceil_mode=True))
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn"
    assert pooled.weight is conv.weight
    assert pooled.bias is conv.bias
    x_BCHW = images(2, 4, size, size)
    assert pooled(x_BCHW).shape == conv(x_BCHW).shape
    # The window's first value is the strided convolution's.
    pooled.pool = nn.Identity()
    assert torch.allclose(pooled(x_BCHW)[..., :: stride[0], :: stride[1]], conv(x_BCHW), atol=1e-6)


@pytest.mark.quick(2)
@pytest.mark.parametrize("backbone", ["resnet20", "resnet18", "slides", "allcnn", "lenet5"])
def test_conv_max_has_the_parameters_of_strided_conv(assemble: Callable[..., Assembled], backbone: str) -> None:
    control, strided = (assemble(backbone, variant) for variant in ("conv_max", "strided_conv"))
    assert control.parameters_pooling == strided.parameters_pooling
    there, here = (dict(made.network.named_parameters()) for made in (strided, control))
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in there), "they start equal too"


@pytest.mark.quick(1)
@pytest.mark.parametrize("backbone", NATIVE)
def test_behind_a_networks_own_convolution_no_second_one_is_put(
    assemble: Callable[..., Assembled], backbone: str
) -> None:
    control, pooled = (assemble(backbone, variant) for variant in ("conv_max", "max"))
    assert control.sites == pooled.sites
    assert {row["operator"] for row in control.sites} == {"MaxPool2d"}
    assert {row["native"] for row in control.sites} >= {"Conv2d"}
    assert control.audit()["network_digest"] == pooled.audit()["network_digest"]
    x_BCHW = images(2, 3, 32, 32)
    assert torch.equal(control.network.eval()(x_BCHW), pooled.network.eval()(x_BCHW))


def test_a_pooling_of_the_network_becomes_a_convolution_and_a_maximum(assemble: Callable[..., Assembled]) -> None:
    made = assemble("slides", "conv_max")
    assert {row["operator"] for row in made.sites} == {"ConvMaxPool2d"}
    assert {row["arguments"] for row in made.sites} == {"activation=relu, implementation=fast"}


def test_what_stands_behind_a_convolution_has_the_arguments_that_it_takes(
    assemble: Callable[..., Assembled], conf: Callable[..., dict[str, Any]]
) -> None:
    variant = conf("pooling", "conv_max")
    changed = {"implementation": "torch", "kernel_size": 3, "padding": 1, "ceil_mode": False}
    own = variant | {"downsample": variant["downsample"] | changed}
    rows = assemble("resnet20", own).sites
    assert {row["arguments"] for row in rows} == {"implementation=torch"}
    assert all((row["geometry"], row["kernel_size"], row["padding"]) == ("own", [3, 3], [1, 1]) for row in rows)
    wrong = variant | {"downsample": variant["downsample"] | {"activation": "gelu"}}
    with pytest.raises(ConfigurationError, match="`activation` must be 'relu' or null, got 'gelu'"):
        assemble("resnet20", wrong)


def test_subsampling_keeps_the_first_of_each_block() -> None:
    x_BCHW = torch.arange(15.0).view(1, 1, 3, 5)
    assert Subsample2d(2)(x_BCHW).tolist() == [[[[0, 2, 4], [10, 12, 14]]]]


def test_no_warning_of_torch_gets_out(assemble: Callable[..., Assembled]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assemble("resnet20", "avg", shape=(3, 7, 7)).audit()
    assert not caught
