"""What Gaussian pooling draws, and that the spread of its draws is learned."""

import math

import pytest
import torch
from torch import Tensor, nn

from poolbench.pooling import AvgPool2d, GaussianPool2d

implementations = pytest.mark.parametrize("implementation", ["fast", "torch"])


def drawing(mu: float, sigma: float, implementation: str = "fast") -> GaussianPool2d:
    """Return a pool of one channel whose numbers do not depend on the map."""
    torch.manual_seed(0)
    pool = GaussianPool2d(2, channels=1, implementation=implementation)
    for layer, value in ((pool.mu, mu), (pool.sigma, math.log(sigma / (1 - sigma)))):
        nn.init.zeros_(layer.norm.weight)
        nn.init.constant_(layer.norm.bias, value)
    return pool


def numbers(pool: GaussianPool2d) -> Tensor:
    """Return what many windows of mean 0 and deviation 1 give: the drawn numbers of deviations."""
    return pool(torch.tensor([[-1.0, 1.0]]).repeat(200, 100)[None, None]).detach().flatten()


@implementations
def test_numbers_are_softplus_of_normal_ones(implementation: str) -> None:
    found = numbers(drawing(0.4, 0.7, implementation).train())
    normal = (found.expm1().log() - 0.4) / 0.7  # softplus undone
    count = normal.numel()
    assert abs(normal.mean().item()) < 5 / math.sqrt(count)
    assert abs(normal.square().mean().item() - 1) < 5 * math.sqrt(2 / count)
    for at in (-1.5, -0.5, 0.0, 0.5, 1.5):  # the whole distribution, not two moments alone
        share = (1 + math.erf(at / math.sqrt(2))) / 2
        assert abs((normal < at).double().mean().item() - share) < 5 * math.sqrt(share * (1 - share) / count)


def test_evaluation_draws_nothing() -> None:
    found = numbers(drawing(0.4, 0.7).eval())
    torch.testing.assert_close(found, torch.full_like(found, math.log1p(math.exp(0.4))))


def test_the_spread_of_the_draws_is_learned() -> None:
    pool = drawing(0.4, 0.7).train()
    optimizer = torch.optim.Adam([pool.sigma.norm.bias], lr=0.1)
    x = torch.tensor([[-1.0, 1.0]]).repeat(20, 10)[None, None]
    for _ in range(60):
        optimizer.zero_grad()
        pool(x).var().backward()
        optimizer.step()
    assert pool.sigma.norm.bias.sigmoid().item() < 0.1


def test_the_share_of_noise_lies_between_0_and_1_however_large_the_map() -> None:
    torch.manual_seed(0)
    pool = GaussianPool2d(2, channels=16).train()
    x = torch.rand(8, 16, 8, 8) * 1000
    number = (pool(x) - AvgPool2d(2)(x)) / pool.deviation(x)
    # softplus of a normal number of mean 0 and variance 1 over the batch, and noise of at most as much
    assert number.min() > 0
    assert number.max() < 8


def test_without_deviation_it_is_the_mean() -> None:
    x = torch.full((1, 1, 4, 4), -2.5)
    assert torch.equal(drawing(3.0, 0.9).train()(x), AvgPool2d(2)(x))


@implementations
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-60, 1.0, 2.0**60, 2.0**100], ids=str)
def test_deviations_have_the_range_of_the_map(scale: float, implementation: str) -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]) * scale
    pool = GaussianPool2d(2, channels=1, implementation=implementation)
    torch.testing.assert_close(pool.deviation(x).item() / scale, math.sqrt(3.5), rtol=1e-6, atol=0)


@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize("scale", [1e15, 1e18, 1e-18])
def test_gradients_have_the_range_of_results(scale: float, implementation: str) -> None:
    """The number of deviations grows with the map: what comes from above to a deviation is as large."""
    torch.manual_seed(0)
    pool = GaussianPool2d(2, channels=3, implementation=implementation).eval()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64) * scale
    grads = []
    for dtype in (torch.float32, torch.float64):
        given = x.to(dtype).requires_grad_()
        pool.to(dtype)(given).sum().backward()
        grads.append(given.grad.double())
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-3 * float(grads[1].abs().max()))
