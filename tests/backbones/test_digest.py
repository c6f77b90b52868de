"""When two arms are one network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from poolbench.backbones import Assembled, network_digest

Assemble = Callable[..., Assembled]


def digest(made: Assembled) -> str:
    found = made.audit()["network_digest"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("backbone", ["resnet20", "resnet18"])
def test_gap_is_the_residual_networks_own_head(assemble: Assemble, backbone: str) -> None:
    shape = (3, 12, 12)
    assert digest(assemble(backbone, "gap", shape=shape)) == digest(assemble(backbone, "max", shape=shape))


def test_adaptive_2x2_is_flatten_on_a_2x2_map(assemble: Assemble) -> None:
    small, large = (1, 8, 8), (1, 12, 12)
    assert digest(assemble("slides", "adaptive", shape=small)) == digest(assemble("slides", "max", shape=small))
    assert digest(assemble("slides", "adaptive", shape=large)) != digest(assemble("slides", "max", shape=large))


@pytest.mark.parametrize("backbone", ["slides", "resnet20"])
def test_mean_of_the_one_largest_is_max(assemble: Assemble, conf: Callable[..., dict[str, Any]], backbone: str) -> None:
    top1 = conf("pooling", "avg_topk")
    top1["downsample"]["k"] = 1
    shape = (3, 9, 9)
    assert digest(assemble(backbone, top1, shape=shape)) == digest(assemble(backbone, "max", shape=shape))


def test_variants_differ(assemble: Assemble) -> None:
    variants = ("max", "avg", "min", "mixed", "avg_topk", "strided_conv", "gap", "gmp", "adaptive", "avg_max_concat")
    digests = {variant: digest(assemble("slides", variant)) for variant in variants}
    assert len(set(digests.values())) == len(variants)


def test_it_does_not_depend_on_the_cells_seed(assemble: Assemble) -> None:
    first, second = (assemble("allcnn", "strided_conv", shape=(1, 12, 12), seed=seed) for seed in (0, 7))
    assert digest(first) == digest(second)
    assert not torch.equal(first.network.get_parameter("conv1.weight"), second.network.get_parameter("conv1.weight"))


@pytest.mark.quick(3)
@pytest.mark.parametrize("variant", ["stochastic", "rank_stochastic", "mixed_random", "s3pool", "fractional_max"])
def test_nor_on_what_the_cells_seed_draws(assemble: Assemble, variant: str) -> None:
    first, second = (assemble("slides", variant, seed=seed).audit()["network_digest"] for seed in (0, 1))
    assert first == second is not None


def test_equal_functions_with_other_parameters_differ() -> None:
    plain, named = nn.Flatten(), nn.Flatten()
    named.scale = nn.Parameter(torch.ones(1))  # used by nothing
    assert network_digest(nn.Sequential(plain, nn.Linear(4, 2)), (1, 2, 2)) != network_digest(
        nn.Sequential(named, nn.Linear(4, 2)), (1, 2, 2)
    )


class Ties(nn.Module):
    """The largest value of the map, with all of the gradient to one of the tied, or shared among them."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 1, 2, 1))
        self.shared = shared

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.scale * torch.zeros_like(x_BCHW) + self.scale
        return x_BCHW.amax((2, 3)) if self.shared else x_BCHW.flatten(2).max(2).values


def test_equal_outputs_with_other_gradients_differ() -> None:
    assert torch.equal(Ties(True)(torch.zeros(1, 1, 2, 2)), Ties(False)(torch.zeros(1, 1, 2, 2)))
    assert network_digest(Ties(True), (1, 2, 2)) != network_digest(Ties(False), (1, 2, 2))


def test_the_network_is_left_as_it_was(assemble: Assemble) -> None:
    network = assemble("resnet20", "max", shape=(3, 8, 8)).network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network_digest(network, (3, 8, 8))
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


class Single(nn.Module):
    """Computes in float32 alone."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if x_BCHW.dtype != torch.float32:
            raise RuntimeError("float32 only")
        return x_BCHW.flatten(1)


def test_it_is_unknown_where_float64_is_not_computed() -> None:
    assert network_digest(nn.Sequential(Single(), nn.Linear(4, 2)), (1, 2, 2)) is None
