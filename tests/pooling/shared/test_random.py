"""What every window operator that draws promises of its draws, in training."""

import copy
from typing import Any

import pytest
import torch
from pooling.cases import CASES, CHANNELS, SEQUENCES, Case, each, layouts
from torch import Tensor, nn

from poolbench.pooling import RandomMixedPool2d, RankStochasticPool2d, StochasticPool2d
from poolbench.pooling.shared.draws import Draws, draws_state, load_draws_state

each_random = each(lambda case: case.kind.is_random)


def started(case: Case, seed: int = 0) -> Any:
    """Build with a seed, as a network is built; the parameters of two seeds are the same."""
    operator = case.operator()
    torch.manual_seed(seed)
    operator.draws = Draws()
    return operator.train()


def drawn(operator: nn.Module, x: Tensor, count: int = 3) -> Tensor:
    return torch.stack([operator(x) for _ in range(count)])


@pytest.fixture
def x(case: Case) -> Tensor:
    return case.images(4, CHANNELS, 9, 8)


@each_random
def test_every_forward_pass_draws_anew(case: Case, x: Tensor) -> None:
    first, second, third = drawn(started(case), x)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


@each_random
def test_two_operators_draw_differently(case: Case, x: Tensor) -> None:
    """As two of one network, of which the second is built after the first."""
    first, second = started(case), started(case)
    torch.manual_seed(0)
    first.draws, second.draws = Draws(), Draws()
    assert not torch.equal(drawn(first, x), drawn(second, x))


@each_random
def test_a_seed_before_building_makes_draws_repeat(case: Case, x: Tensor) -> None:
    first = drawn(started(case), x)
    torch.rand(7)
    assert torch.equal(drawn(started(case), x), first)
    assert not torch.equal(drawn(started(case, seed=1), x), first)


@each_random
def test_a_new_seed_starts_the_stream_anew(case: Case, x: Tensor) -> None:
    operator = started(case)
    operator.draws.reseed(5)
    first = drawn(operator, x)
    operator.draws.reseed(6)
    assert not torch.equal(drawn(operator, x), first)
    operator.draws.reseed(5)
    assert torch.equal(drawn(operator, x), first)


@each_random
def test_state_goes_on_where_it_was(case: Case, x: Tensor) -> None:
    operator = started(case)
    drawn(operator, x)
    state, copied, other = draws_state(operator), copy.deepcopy(operator), started(case, seed=9)
    expected = drawn(operator, x)
    assert torch.equal(drawn(copied, x), expected)
    load_draws_state(other, state)
    assert torch.equal(drawn(other, x), expected)


@each_random
def test_draws_are_no_part_of_the_weights_and_files_that_have_them_load(case: Case, x: Tensor) -> None:
    """Trained weights go from a network with the operator to one without it and back, whoever wrote them."""
    operator, other = started(case), started(case, seed=9)
    drawn(operator, x)
    assert not [name for name in operator.state_dict() if "draws" in name]
    other.load_state_dict(operator.state_dict(), strict=True)
    # As an earlier version wrote it.
    kept = {f"draws.{name}": getattr(operator.draws, name).clone() for name in ("seed", "count")}
    old = operator.state_dict() | kept
    expected = drawn(operator, x)
    other.load_state_dict(old, strict=True)
    assert torch.equal(drawn(other, x), expected)
    with pytest.raises(RuntimeError, match=r"draws\.strange"):
        other.load_state_dict(old | {"draws.strange": torch.zeros(())}, strict=True)


@each_random
def test_the_global_generator_is_left_alone(case: Case, x: Tensor) -> None:
    operator = started(case)
    first = drawn(copy.deepcopy(operator), x)
    before = torch.random.get_rng_state()
    for _ in range(3):
        operator(x)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1234)
    operator = started(case)
    torch.rand(100)
    assert torch.equal(drawn(operator, x), first)


@each_random
def test_evaluation_between_shifts_no_draw(case: Case, x: Tensor) -> None:
    operator = started(case)
    expected = drawn(copy.deepcopy(operator), x, 2)
    first = operator(x)
    operator.eval()(x)
    assert torch.equal(torch.stack([first, operator.train()(x)]), expected)


@pytest.mark.quick(3)
@each_random
@layouts
def test_draws_do_not_depend_on_the_layout(case: Case, x: Tensor, layout: torch.memory_format) -> None:
    expected = drawn(started(case), x)
    pooled = drawn(started(case), x.contiguous(memory_format=layout))
    torch.testing.assert_close(pooled, expected)
    assert started(case)(x.contiguous(memory_format=layout)).is_contiguous(memory_format=layout)


@pytest.mark.quick(3)
@each_random
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_draws_do_not_depend_on_the_dtype(case: Case, x: Tensor, dtype: torch.dtype) -> None:
    x = x.to(dtype)
    exact = drawn(started(case).double(), x.double())
    pooled = drawn(started(case).to(dtype), x)
    assert pooled.dtype == dtype
    eps = torch.finfo(dtype).eps
    # A drawn number may fall on the other side of a chance that is rounded.
    close = torch.isclose(pooled.double(), exact, rtol=4 * eps, atol=4 * eps)
    assert close.double().mean() > 0.99


@each_random
def test_images_draw_for_themselves_or_together_but_always_alike(case: Case, x: Tensor) -> None:
    """A forward pass of more images draws the same for the first of them, but where the batch is seen as well."""
    if case.kind.sees_batch:
        assert not torch.equal(started(case)(x)[:2], started(case)(x[:2]))
        return
    torch.testing.assert_close(started(case)(x)[:2], started(case)(x[:2]))


@each_random
def test_the_gradient_is_of_what_was_drawn(case: Case, x: Tensor) -> None:
    operator = started(case).double()
    x = x.double().requires_grad_()
    same = copy.deepcopy(operator)
    pooled = operator(x)
    step = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).view_as(x) * 1e-7
    moved = same(x.detach() + step)
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    torch.testing.assert_close((gradient * step).sum(), (moved - pooled).sum().detach(), rtol=1e-4, atol=1e-12)


@pytest.mark.quick(4)
@each(lambda case: case.kind.is_random, specs=SEQUENCES)
def test_sequences_draw_too(case: Case) -> None:
    x = case.images(4, CHANNELS, 12)
    first, second, third = drawn(started(case), x)
    assert not (torch.equal(first, second) and torch.equal(second, third))
    assert torch.equal(drawn(started(case), x), torch.stack([first, second, third]))


# ---- which draws, and how often ----

# Whose evaluation is not the mean of its draws, by its own definition, and where its draws are counted instead.
OTHERWISE = {
    "fractional_max": "evaluates with edges that are rounded: test_fractional_max.py counts the edges drawn",
    "gaussian": "evaluates without noise, of which the softplus is no mean: test_gaussian.py looks at what is drawn",
    "lps": "evaluates to the best component alone: test_polyphase.py counts how often each has the largest noise",
}
implementations = pytest.mark.parametrize("implementation", ["fast", "torch"])


def test_what_evaluates_otherwise_draws() -> None:
    assert OTHERWISE.keys() < {case.name for case in CASES.values() if case.kind.is_random}


@pytest.mark.quick(2)
@each(lambda case: case.kind.is_random and case.name not in OTHERWISE)
def test_the_mean_of_many_draws_is_the_evaluation(case: Case) -> None:
    passes, copies = 400, 6
    x = torch.cat([each.float() for each in case.kinds_of_images(1, CHANNELS, 6, 5).values()])
    operator = started(case)
    expected = copy.deepcopy(operator).eval()(x)
    # All images of a forward pass may draw together, so it counts as one.
    sample = drawn(operator, x.repeat(copies, 1, 1, 1), passes).unflatten(1, (copies, len(x))).mean(1)
    error = sample.std(0) / passes**0.5
    assert (error > 0).any()
    assert ((sample.mean(0) - expected).abs() <= 5 * error + 1e-6).all()


def how_often(operator: Any, window: list[float], values: list[float]) -> Tensor:
    """Return how often each value came out of 4000 equal windows, of several images, channels and places."""
    torch.manual_seed(3)
    operator.draws = Draws()
    rows = torch.tensor(window).view(2, -1)
    pooled = operator.train()(rows.repeat(10, 20).expand(10, 2, -1, -1))
    assert pooled.numel() == 4000
    counts = torch.stack([(pooled == value).sum() for value in values])
    assert counts.sum() == 4000
    return counts


def check_chances(counts: Tensor, weights: list[float]) -> None:
    """Compare counts with chances: their χ² of up to 3 degrees of freedom exceeds 16.3 once in a thousand times."""
    chances = torch.tensor(weights) / sum(weights)
    assert (counts[chances == 0] == 0).all()
    expected = (chances * counts.sum())[chances > 0]
    assert ((counts[chances > 0] - expected).square() / expected).sum() < 16.3


@implementations
@pytest.mark.parametrize(
    ("window", "weights"),
    [
        ([1.0, 2.0, 3.0, 6.0], [1.0, 2.0, 3.0, 6.0]),
        ([6.0, 3.0, 2.0, 1.0], [6.0, 3.0, 2.0, 1.0]),
        ([-8.0, 3.0, 0.0, 1.0], [0.0, 3.0, 0.0, 1.0]),
        ([-1.0, -2.0, -3.0, -9.0], [1.0, 1.0, 1.0, 1.0]),
        ([-1.0, 0.0, -3.0, -9.0], [1.0, 1.0, 1.0, 1.0]),
    ],
    ids=str,
)
def test_stochastic_draws_in_proportion_to_the_value(
    window: list[float], weights: list[float], implementation: str
) -> None:
    operator = StochasticPool2d(2, implementation=implementation)
    check_chances(how_often(operator, window, window), weights)


@implementations
def test_mixed_takes_the_maximum_half_of_the_time(implementation: str) -> None:
    operator = RandomMixedPool2d(2, implementation=implementation)
    check_chances(how_often(operator, [1.0, 2.0, 3.0, 6.0], [6.0, 3.0]), [0.5, 0.5])


@implementations
@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_rank_stochastic_draws_by_rank(alpha: float, implementation: str) -> None:
    operator = RankStochasticPool2d(2, alpha=alpha, implementation=implementation)
    weights = [alpha * (1 - alpha) ** rank for rank in range(4)]
    check_chances(how_often(operator, [1.0, 6.0, -3.0, 2.0], [6.0, 2.0, 1.0, -3.0]), weights)


@implementations
def test_a_window_at_the_border_draws_among_its_own_values(implementation: str) -> None:
    """Of a 3 x 3 window at a corner five places are outside: its four values have all of the chances."""
    window, weights = torch.tensor([[1.0, 2.0], [3.0, 6.0]]), [1.0, 2.0, 3.0, 6.0]
    for kind, expected in ((StochasticPool2d, weights), (RankStochasticPool2d, [1.0, 2.0, 4.0, 8.0])):
        torch.manual_seed(3)
        operator = kind(3, 2, 1, implementation=implementation).train()
        pooled = operator(window.expand(1000, 4, 2, 2))
        assert pooled.shape == (1000, 4, 1, 1)
        counts = torch.stack([(pooled == value).sum() for value in window.flatten()])
        assert counts.sum() == 4000
        check_chances(counts, expected)
