"""What single window operators promise beyond the conformance suite."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.pooling import (
    AvgPool2d,
    AvgTopKPool2d,
    ConvMaxPool1d,
    ConvMaxPool2d,
    GatedPool2d,
    LehmerPool2d,
    MaxPool2d,
    MedianPool2d,
    MinPool2d,
    MixedPool2d,
    OrdinalPool2d,
    PowerMeanPool2d,
    RankStochasticPool2d,
    RankWeightedPool2d,
    StridedConv2d,
    TMaxAvgPool2d,
    WindowPool2d,
)


def images(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def pooled_and_gradient(operator: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    pooled = operator(x)
    (gradient,) = torch.autograd.grad((pooled * torch.arange(pooled.numel()).view_as(pooled)).sum(), x)
    return pooled, gradient


# ---- avg_topk ----


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_top_1_is_the_maximum_also_with_ties(ceil_mode: bool) -> None:
    x = images(2, 3, 8, 7).relu()
    top, expected = AvgTopKPool2d(3, 2, 1, ceil_mode, k=1), nn.MaxPool2d(3, 2, 1, ceil_mode=ceil_mode)
    torch.testing.assert_close(pooled_and_gradient(top, x), pooled_and_gradient(expected, x), rtol=0, atol=0)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_top_n_is_the_mean(ceil_mode: bool) -> None:
    x = images(2, 3, 8, 7)
    top, expected = AvgTopKPool2d(3, 2, 1, ceil_mode, k=9), AvgPool2d(3, 2, 1, ceil_mode)
    torch.testing.assert_close(pooled_and_gradient(top, x), pooled_and_gradient(expected, x))


@pytest.mark.quick(5)
@pytest.mark.parametrize("k", range(1, 10))
@pytest.mark.parametrize("relu", [False, True])
def test_every_k_at_the_border(k: int, relu: bool) -> None:
    # A corner has four values, an edge six: fewer than k for some.
    x = images(2, 2, 5, 5).relu() if relu else images(2, 2, 5, 5)
    (pooled, gradient), ones = pooled_and_gradient(AvgTopKPool2d(3, 1, 1, k=k), x), torch.ones(2, 2, 5, 5)
    corner = x[..., :2, :2].flatten(2).sort(-1, descending=True).values[..., : min(k, 4)].mean(-1)
    torch.testing.assert_close(pooled[..., 0, 0], corner)
    torch.testing.assert_close(gradient.sum(), torch.arange(ones.numel()).sum().double())


def test_ties_take_the_first_in_the_order_of_reading() -> None:
    x = torch.tensor([[[[1.0, 5.0, 0.0], [1.0, 1.0, 0.0]]]], requires_grad=True)
    AvgTopKPool2d((2, 3), k=3)(x).backward(torch.tensor([[[[3.0]]]]))
    assert x.grad is not None
    assert x.grad.tolist() == [[[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]]]


def test_minus_infinity_is_a_value_and_padding_is_none() -> None:
    x = torch.tensor([[[[3.0, -torch.inf], [-torch.inf, -torch.inf]]]])
    assert AvgTopKPool2d(3, 2, 1, k=1)(x).item() == 3
    assert AvgTopKPool2d(3, 2, 1, k=5)(x).item() == -torch.inf


CHOOSING: dict[str, Callable[..., nn.Module]] = {
    "max": MaxPool2d,
    "min": MinPool2d,
    "median": MedianPool2d,
    "mixed": MixedPool2d,
    "avg_topk, k=1": partial(AvgTopKPool2d, k=1),
    "avg_topk, k=5": partial(AvgTopKPool2d, k=5),
    "ordinal": partial(OrdinalPool2d, per="layer"),
    "rank_stochastic": RankStochasticPool2d,
    "rank_weighted": partial(RankWeightedPool2d, normalize=True),
    "t_max_avg": partial(TMaxAvgPool2d, k=3, rule="all"),
}


@pytest.mark.quick(9)
@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize("value", [-torch.inf, torch.inf], ids=str)
@pytest.mark.parametrize("name", CHOOSING)
def test_infinite_values_get_the_gradient_and_padding_none(name: str, value: float, implementation: str) -> None:
    x = torch.full((1, 2, 6, 7), value, requires_grad=True)
    y = CHOOSING[name](3, 2, 1, implementation=implementation)(x)
    assert (y == value).all()
    y.backward(torch.arange(1.0, y.numel() + 1).view(y.shape))
    assert x.grad is not None
    assert x.grad.sum().item() == pytest.approx(y.numel() * (y.numel() + 1) / 2)


def test_a_window_with_nan_keeps_the_whole_gradient() -> None:
    x = torch.full((1, 1, 4, 4), torch.nan, requires_grad=True)
    AvgTopKPool2d(2, k=3)(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad.sum(), torch.tensor(4.0))


@pytest.mark.quick(4)
@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize("kind", [MaxPool2d, MinPool2d])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("channels", [3, 16])
def test_windows_with_nan_keep_the_whole_gradient(
    channels: int, place: int, kind: type[WindowPool2d], implementation: str
) -> None:
    x = torch.rand(1, channels, 5, 35, generator=torch.Generator().manual_seed(1)) + 1
    x[..., 0::2, place::2] = torch.nan  # one in each window, but for place 1 in those that hang over the right border
    for layout in (torch.contiguous_format, torch.channels_last):
        leaf = x.clone(memory_format=layout).requires_grad_()
        y = kind(2, ceil_mode=True, implementation=implementation)(leaf)
        y.sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.sum().item() == y.numel()
        if place == 0:  # it is the first of each window, so that nothing beats it
            assert torch.equal(leaf.grad, x.isnan().float())


def test_a_batch_that_is_worked_on_in_parts() -> None:
    x = torch.randn(5, 64, 64, 64)  # an image has as many outputs as a part holds
    operator = AvgTopKPool2d(2, k=2)
    whole, single = pooled_and_gradient(operator, x), [operator(image[None]) for image in x]
    assert torch.equal(whole[0], torch.cat(single))
    assert whole[1].count_nonzero() == 2 * whole[0].numel() - 2  # the first output's gradient was given as 0


def test_a_large_window_takes_exactly_k_of_equal_values() -> None:
    x = torch.zeros(1, 1, 9, 9, requires_grad=True)
    AvgTopKPool2d(9, k=70)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.count_nonzero() == 70


def test_half_precision_sums_in_float32() -> None:
    # In float16, 2048 + 1 is 2048: a sum made there would lose the ones.
    x = torch.ones(1, 1, 8, 8, dtype=torch.float16)
    x[..., 0, 0] = 2048
    assert AvgTopKPool2d(8, k=33)(x).item() == torch.tensor((2048 + 32) / 33).half().item()


@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize(("rule", "decides"), [("max", 6.0), ("all", 3.0)])
def test_a_threshold_that_is_just_reached_is_reached(rule: str, decides: float, implementation: str) -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    for threshold, expected in ((decides, 6.0), (decides + 1e-3, 4.5)):
        operator = TMaxAvgPool2d(2, k=2, threshold=threshold, rule=rule, implementation=implementation)
        assert operator(x).item() == expected


@pytest.mark.parametrize("k", [0, 5, -1, 2.0, True, None])
def test_k_has_bounds(k: object) -> None:
    with pytest.raises(ValueError, match=rf"`k` must be in 1..4 for kernel_size=2, got {k}"):
        AvgTopKPool2d(2, k=k)  # type: ignore[arg-type]


# ---- dilation ----


@pytest.mark.parametrize(
    ("size", "steps_over"), [((4, 9), True), ((5, 5), False), ((9, 4), True), ((6, 5), False)], ids=str
)
def test_a_dilated_window_without_any_value_is_an_error(size: tuple[int, int], steps_over: bool) -> None:
    pool, x = MaxPool2d(2, stride=1, padding=1, dilation=5), images(1, 2, *size)
    theirs = nn.MaxPool2d(2, stride=1, padding=1, dilation=5)(x)
    assert theirs.isneginf().any().item() is steps_over
    if not steps_over:
        assert torch.equal(pool(x), theirs)
        return
    with pytest.raises(ValueError, match=r"must have a value for each window, got \d+x\d+, which dilation=\(5, 5\)"):
        pool(x)


# ---- min ----


def test_padding_never_is_the_minimum() -> None:
    x = images(1, 2, 4, 4).abs() + 1
    assert MinPool2d(3, 2, 1)(x).min() == x.min()


# ---- avg ----


def test_padding_counts_as_zeros_only_on_request() -> None:
    x = torch.ones(1, 1, 4, 4)
    assert AvgPool2d(2, 2, 1)(x)[0, 0, 0, 0].item() == 1
    assert AvgPool2d(2, 2, 1, count_include_pad=True)(x)[0, 0, 0, 0].item() == 0.25
    with pytest.raises(ValueError, match="`count_include_pad` must be true or false, got 1"):
        AvgPool2d(2, count_include_pad=1)  # type: ignore[arg-type]


# ---- mixed ----


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_mixed_learns_what_no_fixed_pooling_can(per: str) -> None:
    x, shares = images(8, 2, 8, 8).float(), torch.tensor([0.2, 0.2] if per == "layer" else [0.2, 0.9]).view(1, 2, 1, 1)
    target = shares * F.max_pool2d(x, 2) + (1 - shares) * F.avg_pool2d(x, 2)
    operator = MixedPool2d(2, per=per, channels=2)
    start = operator.logit.detach().clone()
    optimizer = torch.optim.Adam(operator.parameters(), lr=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        F.mse_loss(operator(x), target).backward()
        optimizer.step()
    assert (operator.logit - start).abs().min() > 0.5
    fixed = min(F.mse_loss(pool(x), target).item() for pool in (MaxPool2d(2), AvgPool2d(2), MinPool2d(2)))
    assert F.mse_loss(operator(x), target).item() < fixed / 100


def test_mixed_starts_half_and_half_and_ends_at_the_fixed_ones() -> None:
    x, operator = images(1, 2, 4, 4).float(), MixedPool2d(2)
    torch.testing.assert_close(operator(x), (F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)) / 2)
    for logit, fixed in ((50.0, F.max_pool2d), (-50.0, F.avg_pool2d)):
        nn.init.constant_(operator.logit, logit)
        torch.testing.assert_close(operator(x), fixed(x, 2))


def test_mixed_arguments() -> None:
    with pytest.raises(ValueError, match="`per` must be 'layer' or 'channel', got 'map'"):
        MixedPool2d(2, per="map")
    with pytest.raises(ValueError, match="`channels` must be the number of channels for per='channel', got None"):
        MixedPool2d(2, per="channel")
    assert MixedPool2d(2, per="channel", channels=5).logit.shape == (5,)
    assert "per='layer'" in repr(MixedPool2d(2))


# ---- strided_conv ----


def test_strided_conv_without_activation_is_torchs_convolution() -> None:
    x, operator = images(2, 3, 6, 6).float(), StridedConv2d(3, 2, 1, channels=3, activation=None)
    expected = F.conv2d(x, operator.conv.weight, operator.conv.bias, stride=2, padding=1)
    torch.testing.assert_close(operator(x), expected)
    assert (operator(x) < 0).any()
    assert (StridedConv2d(3, 2, 1, channels=3)(x) >= 0).all()


@pytest.mark.parametrize("kind", [StridedConv2d, ConvMaxPool2d, ConvMaxPool1d])
def test_arguments_of_a_convolution(kind: type[StridedConv2d] | type[ConvMaxPool2d]) -> None:
    with pytest.raises(ValueError, match="`channels` must be a whole number of at least 1, got 0"):
        kind(2, channels=0)
    with pytest.raises(ValueError, match="`activation` must be 'relu' or null, got 'gelu'"):
        kind(2, channels=1, activation="gelu")


# ---- conv_max ----


def test_maxima_have_values_of_the_convolved_map_only() -> None:
    """With the activation left out, all of them may be below 0: neither padding nor what hangs over is a 0 then."""
    operator = ConvMaxPool2d(3, 2, 1, ceil_mode=True, channels=1, activation=None)
    nn.init.zeros_(operator.conv.weight)
    nn.init.constant_(operator.conv.bias, -1.0)  # type: ignore[arg-type]
    assert (operator(torch.ones(1, 1, 6, 6)) == -1).all()


def test_conv_max_of_an_even_window_looks_ahead() -> None:
    operator = ConvMaxPool1d(2, channels=1)
    nn.init.ones_(operator.conv.weight)
    # Sums with the next value, of the last one with a zero: 3, 6, 12, 8.
    assert operator(torch.tensor([[[1.0, 2.0, 4.0, 8.0]]])).tolist() == [[[6.0, 12.0]]]


# ---- power_mean, lehmer ----


@pytest.mark.quick(4)
@pytest.mark.parametrize("kind", [PowerMeanPool2d, LehmerPool2d])
@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize("p", [-40.0, -8.0, -1.0, 8.0, 40.0])
def test_padding_decides_nothing_whatever_the_exponent(
    kind: type[PowerMeanPool2d] | type[LehmerPool2d], implementation: str, p: float
) -> None:
    x, operator = images(2, 3, 7, 7).abs() + 0.5, kind(3, 2, 1, p=p, implementation=implementation)
    corner = kind(2, p=p).double()(x[..., :2, :2])
    torch.testing.assert_close(operator(x.float())[..., :1, :1].double(), corner, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("implementation", ["fast", "torch"])
@pytest.mark.parametrize("weight", [0.0, 0.5, -0.5])
def test_a_gate_that_sees_an_infinite_value(implementation: str, weight: float) -> None:
    pool = GatedPool2d(2, implementation=implementation)
    with torch.no_grad():
        pool.weight.fill_(weight)
    x = torch.tensor([[[[1.0, -torch.inf, 1.0, torch.inf], [2.0, 3.0, 2.0, 3.0]]]])
    # A share of the mean, however small, is infinite where the mean is.
    assert pool(x).tolist() == [[[[-torch.inf, torch.inf]]]]
    assert pool(torch.full((1, 1, 2, 2), torch.nan)).isnan().all()
