"""Operators against those of torch, timm and kornia that are the same, and against one another where they meet."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pooling.cases import images, tied
from torch import Tensor, nn

from poolbench.pooling import (
    AdaPool2d,
    AdaptivePolyphasePool2d,
    AvgPool1d,
    AvgPool2d,
    AvgTopKPool2d,
    BlurPool2d,
    BlurredStridedConv2d,
    ConvMaxPool2d,
    FractionalMaxPool2d,
    GatedPool2d,
    LehmerPool2d,
    LIPPool2d,
    LogSumExpPool2d,
    LpPool1d,
    LpPool2d,
    MaxBlurPool2d,
    MaxPool1d,
    MaxPool2d,
    MedianPool2d,
    MinPool2d,
    MixedPool2d,
    OrdinalPool2d,
    PowerMeanPool2d,
    RandomMixedPool2d,
    RankStochasticPool2d,
    RankWeightedPool2d,
    S3Pool2d,
    SoftPool2d,
    SpectralPool2d,
    StochasticPool2d,
    StridedConv2d,
    TMaxAvgPool2d,
    TreePool2d,
    WaveletPool2d,
)

CHANNELS = 3
# Kernel, stride, padding and whether windows may hang over.
GEOMETRIES = [(2, 2, 0, False), (3, 2, 1, False), (3, 2, 1, True), ((2, 3), (1, 2), (1, 0), True), (3, 3, 0, True)]
WHOLE = [(2, 2, 0, False), (3, 2, 0, False), ((3, 2), (1, 3), 0, False)]

each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
implementations = pytest.mark.parametrize("implementation", ["fast", "torch"])


def check_equal(
    one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], *maps: Tensor, tolerance: float = 1e-9
) -> None:
    """Compare results, and gradients too."""
    for x in maps:
        found = []
        for operator in (one, other):
            leaf = x.clone().requires_grad_()
            pooled = operator(leaf)
            found.append((pooled, *torch.autograd.grad(pooled, leaf, images(*pooled.shape))))
        torch.testing.assert_close(*found, rtol=tolerance, atol=tolerance)


def both() -> tuple[Tensor, Tensor]:
    """Return a map, and one in which windows have equal values."""
    return images(2, CHANNELS, 9, 10), tied(2, CHANNELS, 9, 10)


# ---- torch ----


@pytest.mark.quick(2)
@implementations
@each_geometry
@pytest.mark.parametrize("dilation", [1, 2])
def test_max_is_torchs(geometry: Any, dilation: int, implementation: str) -> None:
    kernel, stride, padding, ceil_mode = geometry
    ours = MaxPool2d(*geometry, dilation=dilation, implementation=implementation)
    theirs = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    check_equal(ours, theirs, *both())
    check_equal(MinPool2d(*geometry, dilation=dilation), lambda x: -theirs(-x), *both())


@implementations
@each_geometry
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_avg_is_torchs(geometry: Any, count_include_pad: bool, implementation: str) -> None:
    ours = AvgPool2d(*geometry, count_include_pad=count_include_pad, implementation=implementation)
    kernel, stride, padding, ceil_mode = geometry
    check_equal(ours, nn.AvgPool2d(kernel, stride, padding, ceil_mode, count_include_pad), *both())


@pytest.mark.quick(2)
@implementations
@pytest.mark.parametrize("geometry", WHOLE, ids=str)
@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_lp_is_torchs_divided_by_the_window(geometry: Any, p: float, implementation: str) -> None:
    kernel, stride, _, _ = geometry
    ours = LpPool2d(*geometry, p=p, implementation=implementation)
    x = images(2, CHANNELS, 9, 10).abs() + 0.1  # where torch's has a derivative
    check_equal(ours, lambda x: nn.LPPool2d(p, kernel, stride)(x) / ours.window_size ** (1 / p), x)


@implementations
def test_sequences_are_torchs(implementation: str) -> None:
    x = images(2, CHANNELS, 13)
    check_equal(MaxPool1d(3, 2, 1, implementation=implementation), nn.MaxPool1d(3, 2, 1), x)
    average = nn.AvgPool1d(3, 2, 1, ceil_mode=True, count_include_pad=False)
    check_equal(AvgPool1d(3, 2, 1, True, implementation=implementation), average, x)
    lp = LpPool1d(3, 2, p=2, implementation=implementation)
    check_equal(lp, lambda x: nn.LPPool1d(2, 3, 2)(x) / 3**0.5, x.abs() + 0.1)


def test_fractional_max_of_a_whole_ratio_is_torchs() -> None:
    x = images(2, CHANNELS, 8, 12)
    ours = FractionalMaxPool2d(2, 2, overlapping=False).eval()
    check_equal(ours, nn.FractionalMaxPool2d(2, output_ratio=0.5), x)
    check_equal(ours, nn.MaxPool2d(2), x)


# ---- timm and kornia ----


@pytest.mark.quick(2)
@implementations
@pytest.mark.parametrize("blur_size", [3, 5])
@pytest.mark.parametrize("size", [(9, 10), (8, 13)], ids=str)
def test_blur_is_that_of_timm(blur_size: int, size: tuple[int, int], implementation: str) -> None:
    from timm.layers import BlurPool2d as Theirs

    ours = BlurPool2d(3, 2, 1, blur_size=blur_size, implementation=implementation)
    check_equal(ours, Theirs(CHANNELS, blur_size).double(), images(2, CHANNELS, *size))


@pytest.mark.quick(3)
@pytest.mark.parametrize("kernel_size", [3, (1, 5), (5, 3)])
@pytest.mark.parametrize("stride", [1, 2])
def test_median_is_that_of_timm(kernel_size: Any, stride: int) -> None:
    from timm.layers.median_pool import MedianPool2d as Theirs

    check_equal(MedianPool2d(kernel_size, stride), Theirs(kernel_size, stride), images(2, CHANNELS, 9, 10))


def test_max_and_avg_are_those_of_timm_where_its_padding_is_the_same_on_both_sides() -> None:
    from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame

    x = images(2, CHANNELS, 9, 11)
    check_equal(MaxPool2d(3, 2, 1), MaxPool2dSame(3, 2), x)
    check_equal(AvgPool2d(3, 2, 1, count_include_pad=True), AvgPool2dSame(3, 2), x)


def inside(operator: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Leave out the border, beyond which kornia has zeros and the operators here something else."""
    return lambda x: operator(x)[..., 2:-2, 2:-2]


@pytest.mark.parametrize("blur_size", [3, 5])
def test_blurs_are_those_of_kornia(blur_size: int) -> None:
    from kornia.filters import blur_pool2d, max_blur_pool2d

    x = images(2, CHANNELS, 14, 16)
    blur = BlurPool2d(3, 2, 1, blur_size=blur_size)
    check_equal(inside(blur), inside(lambda x: blur_pool2d(x, blur_size)), x)
    max_blur = MaxBlurPool2d(2, 2, blur_size=blur_size)
    check_equal(inside(max_blur), inside(lambda x: max_blur_pool2d(x, blur_size, max_pool_size=2)), x)


def test_median_is_that_of_kornia() -> None:
    from kornia.filters import median_blur

    check_equal(MedianPool2d(3, 1), lambda x: median_blur(x, 3)[..., 1:-1, 1:-1], images(2, CHANNELS, 8, 9))


# ---- one another ----


def with_values(operator: Any, **values: float | Tensor) -> Any:
    """Set learned parameters."""
    with torch.no_grad():
        for name, value in values.items():
            getattr(operator, name).copy_(torch.as_tensor(value))
    return operator.double().eval()


def largest_logits(*ranks: int, steepness: float = 60.0) -> Tensor:
    logits = torch.zeros(9, 1)
    logits[list(ranks)] = steepness
    return logits


MAX, AVG, MIN, MEDIAN = (kind(3, 2, 1) for kind in (MaxPool2d, AvgPool2d, MinPool2d, MedianPool2d))
TOP_3 = AvgTopKPool2d(3, 2, 1, k=3)

# Each operator at a limit of its arguments or parameters, the one it then is, and how near it comes.
LIMITS: dict[str, Callable[[], tuple[Any, Callable[[Tensor], Tensor], float]]] = {
    "avg_topk of one": lambda: (AvgTopKPool2d(3, 2, 1, k=1), MAX, 1e-9),
    "avg_topk of all": lambda: (AvgTopKPool2d(3, 2, 1, k=9), AVG, 1e-9),
    "t_max_avg below its threshold": lambda: (TMaxAvgPool2d(3, 2, 1, k=3, threshold=100), TOP_3, 1e-9),
    "t_max_avg above its threshold": lambda: (TMaxAvgPool2d(3, 2, 1, k=3, threshold=-100), MAX, 1e-9),
    "t_max_avg, all above": lambda: (TMaxAvgPool2d(3, 2, 1, k=3, threshold=-100, rule="all"), MAX, 1e-9),
    "log_sum_exp, flat": lambda: (LogSumExpPool2d(3, 2, 1, beta=1e-6), AVG, 1e-5),
    "log_sum_exp, steep": lambda: (LogSumExpPool2d(3, 2, 1, beta=1e5), MAX, 1e-4),
    "softpool, flat": lambda: (SoftPool2d(3, 2, 1, beta=1e-7), AVG, 1e-5),
    "softpool, steep": lambda: (SoftPool2d(3, 2, 1, beta=1e5), MAX, 1e-6),
    "lp of 1": lambda: (LpPool2d(3, 2, 1, p=1), AVG, 1e-9),
    "lp, steep": lambda: (LpPool2d(3, 2, 1, p=4000), MAX, 1e-2),
    "power_mean of 1": lambda: (with_values(PowerMeanPool2d(3, 2, 1), p=1.0), AVG, 1e-9),
    "power_mean, steep": lambda: (with_values(PowerMeanPool2d(3, 2, 1), p=4000.0), MAX, 1e-2),
    "power_mean, steep downwards": lambda: (with_values(PowerMeanPool2d(3, 2, 1), p=-4000.0), MIN, 1e-2),
    "power_mean is lp": lambda: (with_values(PowerMeanPool2d(3, 2, 1), p=3.0), LpPool2d(3, 2, 1, p=3), 1e-9),
    "lehmer of 0": lambda: (with_values(LehmerPool2d(3, 2, 1), exponent=0.0), AVG, 1e-9),
    "lehmer of 1 is stochastic in evaluation": lambda: (LehmerPool2d(3, 2, 1), StochasticPool2d(3, 2, 1).eval(), 1e-9),
    "lehmer, steep": lambda: (with_values(LehmerPool2d(3, 2, 1), exponent=4000.0), MAX, 1e-2),
    "mixed, all max": lambda: (with_values(MixedPool2d(3, 2, 1), logit=60.0), MAX, 1e-9),
    "mixed, all mean": lambda: (with_values(MixedPool2d(3, 2, 1), logit=-60.0), AVG, 1e-9),
    "mixed at its start": lambda: (MixedPool2d(3, 2, 1), RandomMixedPool2d(3, 2, 1).eval(), 1e-9),
    "gated at its start": lambda: (GatedPool2d(3, 2, 1), MixedPool2d(3, 2, 1), 1e-9),
    "gated, open": lambda: (with_values(GatedPool2d(3, 2), weight=60.0), MaxPool2d(3, 2), 1e-9),
    "ordinal at its start": lambda: (OrdinalPool2d(3, 2, 1, per="layer"), AVG, 1e-9),
    "ordinal of the first rank": lambda: (
        with_values(OrdinalPool2d(3, 2, 1, per="layer"), logit=largest_logits(0)),
        MAX,
        1e-9,
    ),
    "ordinal of the middle": lambda: (
        with_values(OrdinalPool2d(3, 2, per="layer"), logit=largest_logits(4)),
        MedianPool2d(3, 2),
        1e-9,
    ),
    "ordinal of three": lambda: (
        with_values(OrdinalPool2d(3, 2, 1, per="layer"), logit=largest_logits(0, 1, 2)),
        TOP_3,
        1e-9,
    ),
    "rank_weighted, steep": lambda: (RankWeightedPool2d(3, 2, 1, alpha=1 - 1e-12), MAX, 1e-9),
    "rank_weighted by its sum": lambda: (
        RankWeightedPool2d(3, 2, 1, alpha=0.3, normalize=True),
        RankStochasticPool2d(3, 2, 1, alpha=0.3).eval(),
        1e-9,
    ),
    "rank_weighted, flat": lambda: (RankWeightedPool2d(3, 2, 1, alpha=1e-9, normalize=True), AVG, 1e-6),
    "adapool, softly": lambda: (with_values(AdaPool2d(3, 2, 1), logit=-60.0), SoftPool2d(3, 2, 1), 1e-9),
    "tree of means": lambda: (
        with_values(TreePool2d(3, 2), leaf=1 / 9, gate=torch.randn(1, 9, 1)),
        AvgPool2d(3, 2),
        1e-7,
    ),
    "lip at its start": lambda: (LIPPool2d(3, 2, 1, channels=CHANNELS).double(), AVG, 1e-9),
    "s3pool of single steps": lambda: (S3Pool2d(3, 1, 1).eval(), MaxPool2d(3, 1, 1), 1e-9),
    "max_blur without a blur": lambda: (MaxBlurPool2d(3, 2, 1, blur_size=1), MAX, 1e-9),
    "blur without a blur": lambda: (BlurPool2d(3, 2, 1, blur_size=1), lambda x: x[..., ::2, ::2], 1e-9),
    "blur of 2 is a mean": lambda: (BlurPool2d(2, blur_size=2), AvgPool2d(2), 1e-9),
    "aps of single steps": lambda: (AdaptivePolyphasePool2d(3, 1, padding_mode="replicate"), MaxPool2d(3, 1), 1e-9),
    "wavelet of Haar": lambda: (WaveletPool2d(2, normalise=True), AvgPool2d(2), 1e-9),
    "spectral of single steps": lambda: (SpectralPool2d(1), lambda x: x, 1e-9),
    "fractional_max of single values": lambda: (FractionalMaxPool2d(1).eval(), lambda x: x, 1e-9),
}


@pytest.mark.quick(5)
@pytest.mark.parametrize("name", LIMITS)
def test_meets_another_operator(name: str) -> None:
    one, other, tolerance = LIMITS[name]()
    x = images(2, CHANNELS, 9, 10).abs() + 0.2
    torch.testing.assert_close(one(x), other(x), rtol=tolerance, atol=tolerance)


def test_blurred_strided_conv_without_a_blur_is_a_strided_conv() -> None:
    arguments: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": 1, "channels": CHANNELS}
    blurred, plain = BlurredStridedConv2d(**arguments, blur_size=1).double(), StridedConv2d(**arguments).double()
    blurred.conv.load_state_dict(plain.conv.state_dict())
    check_equal(blurred, plain, *both())
    check_equal(plain, lambda x: F.relu(F.conv2d(x, plain.conv.weight, plain.conv.bias, 2, 1)), *both())


@implementations
@each_geometry
@pytest.mark.parametrize("activation", ["relu", None])
def test_conv_max_is_torchs_convolution_then_torchs_maximum(
    geometry: Any, activation: str | None, implementation: str
) -> None:
    kernel, stride, padding, ceil_mode = geometry
    ours = ConvMaxPool2d(*geometry, channels=CHANNELS, activation=activation, implementation=implementation).double()
    theirs = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)

    def composed(x: Tensor) -> Tensor:
        with warnings.catch_warnings():
            # Of a copy that it makes where the kernel is even.
            warnings.filterwarnings("ignore", "Using padding='same'", UserWarning)
            z = F.conv2d(x, ours.conv.weight, ours.conv.bias, padding="same")
        return theirs(z if activation is None else z.relu())

    check_equal(ours, composed, *both())


@each_geometry
def test_conv_max_has_the_parameters_of_strided_conv(geometry: Any) -> None:
    learned = []
    for kind in (ConvMaxPool2d, StridedConv2d):
        torch.manual_seed(0)
        learned.append(dict(kind(*geometry, channels=CHANNELS).named_parameters()))
    assert learned[0].keys() == learned[1].keys()
    assert all(torch.equal(learned[0][name], learned[1][name]) for name in learned[1]), "they start equal too"


@implementations
def test_conv_max_of_one_value_is_a_strided_conv(implementation: str) -> None:
    arguments: dict[str, Any] = {"kernel_size": 1, "stride": 2, "channels": CHANNELS, "implementation": implementation}
    pooled, strided = ConvMaxPool2d(**arguments).double(), StridedConv2d(**arguments).double()
    pooled.load_state_dict(strided.state_dict())
    check_equal(pooled, strided, *both())


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_drawn_ranks_have_geometric_chances(alpha: float) -> None:
    """The values of one window, drawn by many: how often each is."""
    values = torch.arange(4.0).view(1, 1, 2, 2)
    torch.manual_seed(0)
    drawn = RankStochasticPool2d(2, alpha=alpha).train()(values.repeat(1, 1, 60, 60))
    counted = torch.stack([(drawn == value).double().mean() for value in (3.0, 2.0, 1.0, 0.0)])
    chances = alpha * (1 - alpha) ** torch.arange(4, dtype=torch.float64)
    torch.testing.assert_close(counted, chances / chances.sum(), rtol=0, atol=4 * (0.25 / 3600) ** 0.5)
