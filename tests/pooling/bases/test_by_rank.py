"""Operators of ranked values, sorted by torch: equal to their formulas, and quickly built however large the window."""

import math
from typing import Any

import pytest
import torch
from pooling.cases import CASES, CHANNELS, OTHERS, Case, each_geometry
from torch import Tensor, func

from poolbench.pooling import AvgTopKPool2d, MedianPool2d, RankStochasticPool2d
from poolbench.pooling.bases import by_rank
from poolbench.pooling.bases.by_rank import RankedPool2d


def is_ranked(case: Case) -> bool:
    # A gate asks for the places of values, which a sort forgets: such windows may not be large.
    is_gated = case.spec.get("coefficients") == "gated"
    return case.implementation == "torch" and issubclass(case.kind, RankedPool2d) and not is_gated


ALL = {**CASES, **OTHERS}
RANKED = {name: case for name, case in ALL.items() if is_ranked(case)}
each_ranked = pytest.mark.parametrize("case", RANKED.values(), ids=RANKED)


def results(operator: Any, x: Tensor) -> list[Tensor]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = operator(x)
    above = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(y)
    return [y, *torch.autograd.grad(y, [x, *operator.parameters()], above)]


def both(case: Case, monkeypatch: pytest.MonkeyPatch, **geometry: Any) -> tuple[Any, Any]:
    """Return an operator by its formula, and the same by torch's sort."""
    formula = case.operator(**geometry)
    with monkeypatch.context() as patch:
        patch.setattr(by_rank, "MOST_COMPARISONS", -1)
        sorted_ = case.operator(**geometry)
        assert not sorted_.programs
        assert sorted_.is_sorted
    sorted_.plain = lambda x: _sorted_plain(sorted_, monkeypatch, x)
    return formula, sorted_


def _sorted_plain(operator: RankedPool2d, monkeypatch: pytest.MonkeyPatch, x: Tensor) -> Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(by_rank, "MOST_COMPARISONS", -1)
        return RankedPool2d.plain(operator, x)


@pytest.mark.quick(10)
@each_geometry(is_ranked, specs=ALL)
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_sorted_equals_formula(
    case: Case, geometry: dict[str, Any], training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    formula, sorted_ = (operator.double().train(training) for operator in both(case, monkeypatch, **geometry))
    maps = case.kinds_of_images(2, CHANNELS, 11, 8, dtype=torch.float64)
    infinite = maps["random"].clone()
    infinite[..., ::2, :] = -math.inf
    for x in (*maps.values(), infinite):
        found, expected = results(sorted_, x), results(formula, x)
        torch.testing.assert_close(found, expected, equal_nan=True)


@each_ranked
def test_what_is_not_a_number_stays_so(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    formula, sorted_ = both(case, monkeypatch, **case.usual)
    x = case.images(2, CHANNELS, 8, 8)
    x[0, 0, 0, 0] = x[1, 1, 5, 2] = math.nan
    assert torch.equal(sorted_(x).isnan(), formula(x).isnan())


@pytest.mark.quick(7)
@each_ranked
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_summed_in_float32(case: Case, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    formula, sorted_ = both(case, monkeypatch, **case.usual)
    x = case.images(2, CHANNELS, 8, 8, dtype=dtype).contiguous(memory_format=torch.channels_last)
    y = sorted_(x)
    assert y.dtype is dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, formula(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("pool", [MedianPool2d(14), AvgTopKPool2d(14, 7, 7, k=60, ceil_mode=True)], ids=str)
def test_large_windows_can_be_transformed(pool: RankedPool2d) -> None:
    assert pool.is_sorted
    x = torch.rand(2, 2, 17, 15, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    y = pool(x)
    rows = torch.randn(3, *y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    singly = torch.stack([torch.autograd.grad(y, x, row, retain_graph=True)[0] for row in rows])
    torch.testing.assert_close(torch.autograd.grad(y, x, rows, is_grads_batched=True, retain_graph=True)[0], singly)
    torch.testing.assert_close(func.vmap(pool)(x.detach()[:, None]).squeeze(1), y.detach())
    assert torch.autograd.gradgradcheck(pool, x[:1, :1].detach().requires_grad_())


def test_a_median_by_hand() -> None:
    x = torch.arange(28.0 * 28).flip(0).view(1, 1, 28, 28)
    assert MedianPool2d(28)(x).item() == (28 * 28 - 1) / 2
    assert MedianPool2d(28).implementation_for(x) == ("torch", "the window of 784 values is too large for a kernel")
    assert MedianPool2d((27, 27))(x[..., :27, :27].contiguous()).item() == x[..., :27, :27].median().item()


def test_draws_by_rank_have_their_chances() -> None:
    torch.manual_seed(0)
    pool, x = RankStochasticPool2d(14, alpha=0.5), torch.arange(196.0).view(1, 1, 14, 14)
    drawn = pool(x.expand(1, 4000, 14, 14)).flatten()
    for rank in range(4):
        share = (drawn == 195 - rank).float().mean().item()
        assert abs(share - 0.5 ** (rank + 1)) < 4 * math.sqrt(0.25 / 4000)


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", RANKED)
def test_a_large_window_has_no_long_formula(name: str) -> None:
    """By operations, which a slow machine cannot change: what would take the square of its values is sorted."""
    case = RANKED[name]
    for size in (14, 28):
        operator = case.operator(kernel_size=size, stride=size, padding=0)
        assert operator.is_sorted or operator.program.operations < 64 * size * size
        x = torch.rand(1, CHANNELS, size, size, requires_grad=True)
        operator(x).sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert operator.work((CHANNELS, size, size)).operations > size * size


@pytest.mark.slow
def test_what_is_not_ranked_grows_with_the_window_alone() -> None:
    """By operations, which a slow machine cannot change: a formula's graph of n values has some dozens for each."""
    tried = 0
    for name, case in CASES.items():
        if case.implementation == "torch" and not is_ranked(case) and case.kind.geometries is None:
            counts = []
            for size in (4, 8):
                operator = case.operator(kernel_size=size, stride=size, padding=0)
                parts = [part for part in operator.modules() if getattr(part, "programs", None)]
                counts.append(sum(part.program.operations for part in parts))
            if counts[0]:
                tried += 1
                assert counts[1] < 4.6 * counts[0], name
    assert tried > 10
