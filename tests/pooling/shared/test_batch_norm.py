"""Batch normalisation of operators: torch's where torch's can be had, and defined where that is an error."""

import copy

import pytest
import torch
from torch import Tensor, func, nn
from torch.optim.swa_utils import update_bn
from torch.utils.checkpoint import checkpoint

from poolbench.pooling.shared.batch_norm import BatchNorm


@pytest.fixture
def norm() -> BatchNorm:
    torch.manual_seed(0)
    made = BatchNorm(3)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made


def images(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 5, 4, generator=torch.Generator().manual_seed(1)) * 2 + 1


def statistics(norm: nn.BatchNorm2d) -> list[Tensor]:
    return [value.clone() for value in norm.buffers()]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_it_is_torchs(norm: BatchNorm, layout: torch.memory_format) -> None:
    theirs = nn.BatchNorm2d(3)
    theirs.load_state_dict(norm.state_dict())
    for training in (True, True, False):
        found = []
        for module in (norm, theirs):
            x = images().contiguous(memory_format=layout).requires_grad_()
            y = module.train(training)(x)
            found.append([y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])])
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(statistics(norm), statistics(theirs))


def test_without_a_momentum_statistics_are_of_all_batches(norm: BatchNorm) -> None:
    theirs = nn.BatchNorm2d(3)
    batches = [images() * scale for scale in (1.0, 2.0, 5.0)]
    for module in (norm, theirs):
        update_bn(batches, nn.Sequential(module))
    torch.testing.assert_close(statistics(norm), statistics(theirs), rtol=1e-4, atol=1e-5)


def test_what_has_no_statistics_leaves_them_alone(norm: BatchNorm) -> None:
    before = statistics(norm)
    assert norm(images(0)).shape == (0, 3, 5, 4)
    torch.testing.assert_close(norm(torch.full((1, 3, 1, 1), 7.0)).flatten(), norm.bias)
    func.vmap(lambda image: norm(image[None]))(images())
    assert all(torch.equal(one, other) for one, other in zip(statistics(norm), before, strict=True))


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpointed_pass_counts_once(norm: BatchNorm, use_reentrant: bool) -> None:
    other = copy.deepcopy(norm)
    norm(images())
    checkpoint(other, images().requires_grad_(), use_reentrant=use_reentrant).sum().backward()
    torch.testing.assert_close(statistics(other), statistics(norm))
    assert norm.num_batches_tracked == 1


def test_half_precision_is_normalised_in_float32(norm: BatchNorm) -> None:
    x = images().half()
    assert norm.eval()(x).dtype == torch.float32
    torch.testing.assert_close(norm(x), norm(x.float()))
