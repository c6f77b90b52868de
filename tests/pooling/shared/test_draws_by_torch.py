"""Draws where torch itself says who draws what: checkpointing, vmap, workers of a DataLoader, inference mode."""

import copy
import io
from typing import Any

import pytest
import torch
from pooling.cases import CHANNELS, Case, as_configured, each
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, get_worker_info

from poolbench.pooling import StochasticPool2d
from poolbench.pooling.shared.draws import Draws, draws_state, load_draws_state

each_random = each(lambda case: case.kind.is_random and as_configured(case))
reentrant = pytest.mark.parametrize("use_reentrant", [True, False], ids=["reentrant", "not reentrant"])


def network(operator: nn.Module) -> nn.Module:
    """What saves its inputs stands behind what draws, twice, and dropout between."""
    torch.manual_seed(0)
    first, last = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
    return nn.Sequential(first, nn.Sigmoid(), operator, nn.Dropout(0.3), last, nn.Sigmoid(), operator).double().train()


def slope(network: Any, x: Tensor, step: Tensor, use_reentrant: bool) -> tuple[Tensor, Tensor]:
    """Return the change of two checkpointed passes along a step, by autograd and by differences, of equal draws."""

    def energy(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        passes = [checkpoint(network, x + more, use_reentrant=use_reentrant) for more in (0.0, 0.5)]
        return torch.stack(passes).square().sum()

    leaf = x.clone().requires_grad_()
    energy(leaf).backward()
    assert leaf.grad is not None
    return (leaf.grad * step).sum(), (energy(leaf + step) - energy(leaf - step)).detach() / 2


@pytest.mark.quick(4)
@each_random
@reentrant
def test_a_checkpointed_pass_is_repeated_with_its_draws(case: Case, use_reentrant: bool) -> None:
    x = case.images(2, CHANNELS, 12, 12, dtype=torch.float64)
    step = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).view_as(x) * 1e-6
    found, expected = slope(network(case.operator()), x, step, use_reentrant)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-12)


@pytest.mark.quick(4)
@each_random
@reentrant
def test_checkpointed_passes_draw_anew_and_count_once(case: Case, use_reentrant: bool) -> None:
    operator, x = case.operator().train(), case.images(2, CHANNELS, 9, 8).requires_grad_()
    before = operator.draws.count.clone()
    operator(x)
    once = operator.draws.count - before
    first, second = (checkpoint(operator, x, use_reentrant=use_reentrant) for _ in range(2))
    assert not torch.equal(first, second)
    (first.sum() + second.sum()).backward()
    assert operator.draws.count == before + 3 * once


# torch's own, of a tensor between what is compiled and what is not.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@each(lambda case: case.name == "stochastic" and as_configured(case))
@reentrant
def test_checkpointed_passes_are_right_when_compiled(case: Case, use_reentrant: bool) -> None:
    net = nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 1), nn.Sigmoid(), case.operator(), nn.Conv2d(CHANNELS, CHANNELS, 1)
    )
    net.train()

    def run(x: Tensor) -> Any:
        return checkpoint(net, x, use_reentrant=use_reentrant)

    found = []
    for function in (run, torch.compile(run, backend="aot_eager")):
        torch.manual_seed(1)
        x = case.images(2, CHANNELS, 9, 8).requires_grad_()
        y = function(x)
        y.square().sum().backward()
        found.append((y.detach(), x.grad))
    torch._dynamo.reset()
    torch.testing.assert_close(found[0], found[1])


@each_random
def test_a_pass_in_inference_mode_leaves_the_stream_usable(case: Case) -> None:
    operator, x = case.operator().train(), case.images(2, CHANNELS, 9, 8)
    with torch.inference_mode():
        operator(x)
        operator.draws.reseed(1)
        operator(x)
    assert not any(buffer.is_inference() for buffer in operator.buffers())
    operator.draws.reseed(5)
    file = io.BytesIO()
    torch.save(operator, file)
    file.seek(0)
    kept, copied = torch.load(file, weights_only=False), copy.deepcopy(operator)
    other = case.operator().train()
    other.load_state_dict(operator.state_dict())
    load_draws_state(other, draws_state(operator))
    expected = operator(x.requires_grad_())
    for one in (kept, copied, other):
        assert torch.equal(one(x), expected)
    expected.sum().backward()


@each_random
def test_a_pass_without_gradients_draws_from_the_stream_of_its_own(case: Case) -> None:
    operator, x = case.operator().train(), case.images(2, CHANNELS, 9, 8)
    operator.draws.reseed(5)
    expected, before = operator(x), torch.random.get_rng_state()
    for context in (torch.no_grad(), torch.inference_mode()):
        operator.draws.reseed(5)
        with context:
            assert torch.equal(operator(x), expected)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_stream_built_in_inference_mode_is_a_plain_one() -> None:
    with torch.inference_mode():
        draws = Draws()
    draws.reseed(3)
    draws.load_state_dict({"seed": torch.tensor(4), "count": torch.tensor(2)})
    assert not draws.seed.is_inference()


@pytest.mark.quick(4)
@each_random
def test_vmap_decides_by_its_randomness(case: Case) -> None:
    operator = case.operator().train()
    x = case.images(1, CHANNELS, 12, 12).expand(4, -1, -1, -1)

    def pooled(randomness: str) -> Tensor:
        return torch.func.vmap(lambda image: operator(image[None])[0], randomness=randomness)(x)

    assert len(pooled("different").unique(dim=0)) == 4
    same = pooled("same")
    # Rows of a matrix product, which an operator with a layer has, may round differently.
    closeness = {} if any(isinstance(part, nn.Linear) for part in operator.modules()) else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(same, same[:1].expand_as(same), **closeness)
    assert not torch.equal(pooled("same"), pooled("same"))
    with pytest.raises(RuntimeError, match="randomness"):
        pooled("error")
    assert type(operator.draws.count + 0) is Tensor
    assert operator.draws.count.ndim == 0
    torch.testing.assert_close(operator.eval()(x), torch.func.vmap(lambda image: operator(image[None])[0])(x))


@each_random
def test_a_transform_leaves_a_plain_count(case: Case) -> None:
    operator, x = case.operator().train(), case.images(2, CHANNELS, 9, 8)
    torch.func.grad(lambda image: operator(image).sum())(x)
    copy.deepcopy(operator)(x)
    assert operator.draws.count.item() > 0


class Pooled(Dataset[Tensor]):
    """One map, pooled by whichever worker is asked, and the worker's number."""

    def __init__(self, operator: nn.Module) -> None:
        self.operator = operator

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> Tensor:
        worker = get_worker_info()
        assert worker is not None
        return torch.cat(
            [torch.tensor([float(worker.id)]), self.operator(torch.linspace(1, 2, 256).view(1, 16, 16)).flatten()]
        )


def test_workers_of_a_loader_draw_differently() -> None:
    torch.manual_seed(0)
    loader = DataLoader(Pooled(StochasticPool2d(2).train()), num_workers=2, multiprocessing_context="fork")
    torch.manual_seed(0)
    rows = torch.cat([*loader, *loader])
    assert rows[:, 0].unique().tolist() == [0.0, 1.0]
    assert len(rows[:, 1:].unique(dim=0)) == len(rows)
    torch.manual_seed(0)
    assert torch.equal(torch.cat([*loader, *loader]), rows)
