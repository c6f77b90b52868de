"""Kernels of sums: equal to plain torch, at borders too, and where a value does not fit done again by the formula."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from poolbench.kernels.cpu import launch, library
from poolbench.kernels.cpu.buffers import Buffers
from poolbench.kernels.graph import Value, Window, custom_gradient, exp, log, where, within
from poolbench.kernels.plain import OPERATIONS
from poolbench.kernels.sums import Summands, sums
from poolbench.kernels.tape import Tape
from poolbench.pooling import LehmerPool2d, LogSumExpPool2d, PowerMeanPool1d, PowerMeanPool2d, SoftPool2d, TapPool2d

layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 1e-2}
OPERATORS: dict[str, Callable[..., TapPool2d]] = {
    "power_mean": lambda channels, **geometry: PowerMeanPool2d(**geometry, per="channel", channels=channels),
    "lehmer": lambda channels, **geometry: LehmerPool2d(**geometry),
    "softpool": lambda channels, **geometry: SoftPool2d(**geometry),
    "log_sum_exp": lambda channels, **geometry: LogSumExpPool2d(**geometry),
}
operators = pytest.mark.parametrize("name", OPERATORS)


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch, fresh_plans: None) -> list[Any]:
    """What kernels were asked for."""
    asked: list[Any] = []
    monkeypatch.setattr(launch, "kernel", lambda program, spec: asked.append(spec) or library.kernel(program, spec))
    return asked


def images(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(7)).relu().to(dtype)


def run(pool: TapPool2d, x: Tensor, implementation: str) -> list[Tensor]:
    """Return result and gradients."""
    pool.implementation = implementation
    assert pool.implementation_for(x)[0] == implementation
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = pool(leaf)
    gradient = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).to(y.dtype).view(y.shape)
    return [y.detach(), *torch.autograd.grad(y, [leaf, *pool.parameters()], gradient)]


def check(pool: TapPool2d, x: Tensor) -> None:
    fast, plain = run(pool, x, "fast"), run(pool, x, "torch")
    for at, (one, other) in enumerate(zip(fast, plain, strict=True)):
        assert one.stride() == other.stride()
        # A parameter's gradient is the small difference of two sums over the whole map.
        tolerance = TOLERANCES[x.dtype] * (1 if at < 2 else 10)
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.quick(2)
@layouts
@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 1, "padding": 1},
        {"kernel_size": (2, 4), "stride": (2, 3)},
        {"kernel_size": (4, 2), "stride": (1, 2), "padding": (2, 0), "ceil_mode": True},
        {"kernel_size": (3, 5), "stride": 2, "padding": 1, "dilation": (2, 1)},
        {"kernel_size": (5, 2), "stride": (2, 3)},
        {"kernel_size": (2, 3), "stride": (2, 1), "padding": 1},
        {"kernel_size": (3, 1), "stride": (2, 1), "padding": (1, 0)},
        {"kernel_size": 3, "stride": (1, 2), "padding": (0, 1), "dilation": (1, 2)},
        {"kernel_size": (2, 3), "stride": (2, 1), "dilation": (1, 2)},
    ],
    ids=str,
)
def test_equals_plain_torch(geometry: dict[str, Any], layout: torch.memory_format, specs: list[Any]) -> None:
    for size in ((2, 3, 9, 83), (3, 40, 8, 36)):
        check(SoftPool2d(**geometry), images(*size).contiguous(memory_format=layout))
    assert {spec.in_sums for spec in specs} == {True}


@pytest.mark.quick(2)
@layouts
@pytest.mark.parametrize("name", ["power_mean", "lehmer"])
@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": 2, "stride": 2, "ceil_mode": True},
        {"kernel_size": 3, "stride": 3, "padding": 1},
        {"kernel_size": (2, 3), "stride": 2, "padding": (0, 1)},
    ],
    ids=str,
)
def test_disjoint_windows_of_what_has_a_simpler_derivative(
    geometry: dict[str, Any], name: str, layout: torch.memory_format, specs: list[Any]
) -> None:
    x = images(2, 16, 9, 35).contiguous(memory_format=layout)
    check(OPERATORS[name](16, **geometry), x)
    assert [spec.in_sums for spec in specs] == [True, True]


@pytest.mark.quick(3)
@layouts
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.float32) for name in OPERATORS]
    + [(name, dtype) for name in ("softpool", "log_sum_exp") for dtype in (torch.float64, torch.bfloat16)],
    ids=str,
)
def test_every_operator_and_dtype(name: str, dtype: torch.dtype, layout: torch.memory_format, specs: list[Any]) -> None:
    x = images(3, 40, 8, 36, dtype=dtype).contiguous(memory_format=layout)
    check(OPERATORS[name](40, kernel_size=3, stride=2, padding=1), x)
    assert [spec.in_sums for spec in specs] == [True, True]


def test_disjoint_windows_gain_nothing_from_sums_of_weights(specs: list[Any]) -> None:
    check(SoftPool2d(2), images(2, 3, 8, 32))
    assert [spec.in_sums for spec in specs] == [False, False]


def test_where_rows_lie_between_windows_the_formula_is_run(specs: list[Any]) -> None:
    check(PowerMeanPool2d(2, stride=3), images(2, 3, 9, 20))
    assert [spec.in_sums for spec in specs] == [False, False]


def test_sequences() -> None:
    x = images(2, 3, 50)
    pool = PowerMeanPool1d(3, 2, 1)
    fast = pool(x)
    pool.implementation = "torch"
    torch.testing.assert_close(fast, pool(x))


@pytest.mark.quick(2)
@operators
@layouts
@pytest.mark.parametrize("misfit", [math.nan, math.inf, -math.inf, 1e30, 1e36, -1e30], ids=str)
def test_a_value_that_does_not_fit(name: str, misfit: float, layout: torch.memory_format) -> None:
    """The image it is in is done by the formula; those before and behind it know nothing of it."""
    x = images(3, 16, 12, 20)
    whole = x.contiguous(memory_format=layout)
    x[1, 5, 4, 7] = misfit
    x = x.contiguous(memory_format=layout)
    pool = OPERATORS[name](16, kernel_size=3, stride=2, padding=1)
    check(pool, x)
    one, other = run(pool, x, "fast"), run(pool, whole, "fast")
    for image in (0, 2):
        assert torch.equal(one[0][image], other[0][image])
        assert torch.equal(one[1][image], other[1][image])
    if layout is torch.contiguous_format:  # there a unit is one channel's map
        assert torch.equal(one[1][1, 6], other[1][1, 6])


@pytest.mark.quick(1)
@pytest.mark.parametrize("dilation", [1, (2, 1), (1, 2)], ids=str)
@pytest.mark.parametrize("name", ["power_mean", "softpool"])
def test_blocks_of_channels_that_are_not_alike(name: str, dilation: Any) -> None:
    """Three vectors of channels in two blocks, several of each for a thread; a NaN in one block is none in another."""
    x = images(2, 48, 9, 11).contiguous(memory_format=torch.channels_last)
    pool = OPERATORS[name](48, kernel_size=3, stride=2, padding=1, dilation=dilation)
    before = torch.get_num_threads()
    try:
        for threads in (3, 4):
            torch.set_num_threads(threads)
            check(pool, x)
        spoilt = x.clone(memory_format=torch.preserve_format)
        spoilt[0, 5, 4, 7] = math.nan
        one, other = run(pool, spoilt, "fast"), run(pool, x, "fast")
        assert torch.equal(one[1][:, 32:], other[1][:, 32:])
    finally:
        torch.set_num_threads(before)


@pytest.mark.quick(1)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("p", [0.03, 0.1, 0.3, 3.0, -2.0])
@pytest.mark.parametrize(
    "geometry", [{"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "stride": 3}], ids=str
)
@pytest.mark.parametrize("name", ["power_mean", "lehmer"])
def test_powers_of_bfloat16(name: str, geometry: dict[str, Any], p: float, layout: torch.memory_format) -> None:
    """Results are as exact as their rounding, and so is the gradient of p, which is none of bfloat16."""
    x = (images(4, 16, 20, 20) + 0.01).to(torch.bfloat16).contiguous(memory_format=layout)

    def found(implementation: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        pool = OPERATORS[name](16, **geometry)
        for parameter in pool.parameters():
            torch.nn.init.constant_(parameter, p)
        pool.implementation = implementation
        pool = pool.double() if dtype == torch.float64 else pool
        y = pool(x.to(dtype))
        gradient = torch.linspace(-1, 2, y.numel()).bfloat16().to(dtype).view(y.shape)
        (of_p,) = torch.autograd.grad(y, list(pool.parameters()), gradient)
        return y.detach().double(), of_p.double()

    (y, of_p), (exact_y, exact_of_p) = found("fast", torch.bfloat16), found("torch", torch.float64)
    torch.testing.assert_close(y, exact_y, rtol=2**-8 + 1e-4, atol=0)
    torch.testing.assert_close(of_p, exact_of_p, rtol=2e-3, atol=2e-3 * exact_of_p.abs().max().item())


@layouts
def test_what_an_image_leaves_behind_is_not_taken_for_the_next_one(layout: torch.memory_format) -> None:
    """Column 2 belongs to no window: of the first image it leaves NaN where the second has not yet computed its own."""
    x = images(2, 16, 12, 20)
    x[0, :, :, 2] = math.nan
    check(SoftPool2d((5, 2), (2, 3)), x.contiguous(memory_format=layout))


@pytest.mark.parametrize("kind", [SoftPool2d, LogSumExpPool2d])
def test_values_that_fit_for_their_weight_alone(kind: type[TapPool2d]) -> None:
    """β·x is small enough, x is not: multiplied by its weight it would overflow."""
    x = images(1, 16, 12, 20)
    x *= 1e30 / x.max()
    one, other = (kind(3, 2, 1, beta=39e-30, implementation=way)(x) for way in ("fast", "torch"))
    assert other.isfinite().all()
    torch.testing.assert_close(one, other, rtol=1e-5, atol=0)


@pytest.mark.quick(2)
@pytest.mark.parametrize("beta", [1e-3, 0.1, 1.0, 5.0])
def test_log_sum_exp_of_equal_values(beta: float) -> None:
    """By sums to what a logarithm of numbers near 1 can tell, by the formula exactly."""
    for value in (0.0, 1e-4, 1.0, 4.0):
        y = LogSumExpPool2d(3, 2, 1, beta=beta)(torch.full((1, 16, 8, 8), value))
        assert (y - value).abs().max().item() <= (1e-6 if beta >= 1 else 0.0)


@pytest.mark.quick(5)
@pytest.mark.parametrize("p", [-30.0, -9.0, -7.4, -2.5, -1.0, 0.01, 1.0, 3.0, 7.4, 8.0, 30.0])
@pytest.mark.parametrize("most", [1.0, 1e3, 1e5, 1e7, 1e12])
@pytest.mark.parametrize("name", ["power_mean", "lehmer"])
def test_powers_that_fit_neither_overflow_nor_vanish(name: str, most: float, p: float) -> None:
    x = torch.logspace(-7, math.log10(most), 16 * 12 * 20).view(1, 20, 12, 16).transpose(1, 3).contiguous()
    pool = OPERATORS[name](16, kernel_size=3, stride=2, padding=1)
    for parameter in pool.parameters():
        torch.nn.init.constant_(parameter, p)
    for one, other in zip(run(pool, x, "fast")[:2], run(pool, x.double(), "torch")[:2], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=2e-3, atol=2e-4)


@pytest.mark.quick(1)
@layouts
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 80, 64, 64), (5, 48, 40, 24)], ids=str)
def test_threads_change_nothing(threads: int, size: tuple[int, ...], layout: torch.memory_format) -> None:
    x, pool = images(*size).contiguous(memory_format=layout), PowerMeanPool2d(3, 2, 1, per="channel", channels=size[1])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = run(pool, x, "fast")
        torch.set_num_threads(1)
        alone = run(pool, x, "fast")
    finally:
        torch.set_num_threads(before)
    assert torch.equal(together[0], alone[0])
    assert torch.equal(together[1], alone[1])
    torch.testing.assert_close(together[2], alone[2], rtol=1e-4, atol=1e-3)  # summed in another order


@pytest.mark.quick(5)
@pytest.mark.parametrize("p", [-3.0, 0.1, 1.0, 3.0, 7.0, 40.0])
@pytest.mark.parametrize("value", [1e-6, 1e-3, 1.0, 2.0**33, 2.0**34, 2.0**61, 1e37])
def test_of_equal_values_at_both_sides_of_what_fits(p: float, value: float) -> None:
    """The mean is that value, and each of the four gets a quarter of the gradient."""
    x = torch.full((1, 2, 4, 16), value).requires_grad_()
    y = PowerMeanPool2d(2, p=p)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y, torch.full_like(y, value), rtol=2e-5, atol=0)
    if value > 1e-6:
        torch.testing.assert_close(gradient, torch.full_like(x, 0.25), rtol=2e-5, atol=0)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 300.0])
def test_softmax_weights_are_as_close_to_exact_ones_as_the_formula_is(spread: float) -> None:
    x = torch.randn(2, 16, 12, 16, generator=torch.Generator().manual_seed(3)) * spread
    exact = run(SoftPool2d(3, 2, 1), x.double(), "torch")
    for found, right in zip(run(SoftPool2d(3, 2, 1), x, "fast"), exact, strict=True):
        torch.testing.assert_close(found.double(), right, rtol=2e-5, atol=2e-6 * max(1.0, spread))


def values_of(tape: Tape, inputs: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for op, arguments, leaf in tape.operations:
        if op == "const":
            found.append(leaf)
        elif op in inputs:
            found.append(inputs[op][leaf])
        else:
            found.append(OPERATIONS[op](*[found[at] for at in arguments]))
    return [found[at] for at in tape.outputs]


def test_the_derivative_comes_in_two_steps() -> None:
    """log Σ p·eˣ: its derivative by x is eˣ / Σ eˣ, by p it is 1 / p."""

    def summands(one: Window) -> Summands:
        return Summands([exp(one.values[0]) * one.param(0)], within(one.values[0], 10.0))

    def of_sums(window: Window, found: Any) -> Value:
        return log(found[0])

    made = sums(3, 1, summands, of_sums)
    assert (made.count, made.kept) == (1, 1)
    x, p = torch.tensor([0.5, 1.0, -2.0], dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    parts = [values_of(made.summands, {"tap": [each], "param": [p]}) for each in x]
    assert all(fits for _, fits, _ in parts)
    total = sum(part for part, _, _ in parts)
    assert values_of(made.result, {"sum": [total]}) == [total.log()]
    share, of_param = values_of(made.cotangents, {"sum": [total], "gradient": [1.0]})
    assert share == 1 / total
    assert of_param == 0  # the result depends on the parameter through the sum alone
    found = [
        values_of(made.derivative, {"kept": [kept], "cotangent": [share], "param": [p], "tap": [each]})
        for each, (_, _, kept) in zip(x, parts, strict=True)
    ]
    torch.testing.assert_close(torch.stack([gx for gx, _ in found]), x.softmax(0))
    torch.testing.assert_close(sum(gp for _, gp in found), 1 / p)


def test_what_depends_on_parameters_alone_is_done_once_for_a_channel() -> None:
    made = PowerMeanPool2d(3, 2, 1).program.sums
    assert made is not None
    assert "div" in made.per_channel.count()
    for tape in (made.result, made.cotangents, made.summands):
        assert tape.uses("per_channel")
    assert made.result.count().get("div", 0) == 0
    assert made.cotangents.count()["div"] == 1  # by the sum
    p, sum_ = 3.0, torch.tensor(40.0)
    per_channel = values_of(made.per_channel, {"param": [torch.tensor(p)]})
    (mean,) = values_of(made.result, {"sum": [sum_], "per_channel": per_channel})
    torch.testing.assert_close(mean, 2.0**-8 * (sum_ / 9) ** (1 / p))


@pytest.mark.quick(1)
@layouts
def test_a_condition_on_a_parameter(layout: torch.memory_format) -> None:
    """A truth is no number that could be kept for a channel, and what is kept may be as small as it likes."""

    class Turned(PowerMeanPool2d):
        def formula(self, window: Window) -> Value:
            return super().formula(window) * exp(where(window.param(0) > 0.0, -100.0 * window.param(0), 0.0))

        def of_sums(self, window: Window, sums: Any) -> Value:
            result = super().of_sums(window, sums)
            return result * exp(where(window.param(0) > 0.0, -100.0 * window.param(0), 0.0))

    x = images(2, 16, 12, 64).contiguous(memory_format=layout)
    for p in (1.0, -1.0):
        pool = Turned(3, 2, 1, p=p)
        assert pool.program.sums is not None
        assert pool.program.sums.per_channel.uses("gt")
        one, other = run(pool, x, "fast"), run(pool, x, "torch")
        torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=1e-12)


def test_slopes_are_kept_where_there_are_fewer_than_of_what_finds_them() -> None:
    made = PowerMeanPool2d(3, 2, 1).program.sums
    assert made is not None
    assert made.kept == 2  # along the value and along p
    assert not made.derivative.uses("tap")
    made = SoftPool2d(3, 2, 1).program.sums
    assert made is not None
    assert made.kept == 0  # e^x is summed, and is there
    assert made.derivative.uses("tap")


def test_a_known_slope_takes_the_place_of_the_derivative() -> None:
    def summands(one: Window) -> Summands:
        x = one.values[0]
        return Summands([custom_gradient(x * x, (x, x * 7.0))], within(x, 1.0))

    made = sums(2, 0, summands, lambda window, found: found[0])
    assert made.kept == 0
    assert values_of(made.derivative, {"tap": [3.0], "cotangent": [2.0]}) == [42.0]


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_within(bound: float) -> None:
    made = sums(
        1, 0, lambda one: Summands([one.values[0]], within(one.values[0], bound)), lambda window, found: found[0]
    )
    x = torch.tensor([-bound, bound, bound + 0.1, -bound - 0.1, math.nan, math.inf, -math.inf])
    assert values_of(made.summands, {"tap": [x]})[1].tolist() == [True, True, False, False, False, False, False]


def test_buffers_do_not_overlap(specs: list[Any]) -> None:
    pool = PowerMeanPool2d(5, 2, 2)
    run(pool, images(1, 3, 20, 20), "fast")
    for spec in specs:
        made = pool.program.sums
        assert made is not None
        buffers = Buffers(made, spec, pool.program.params)
        places = buffers.places()
        assert list(places.values()) == sorted(places.values())
        assert buffers.spec.ring == 8
        assert buffers.spec.reach == (5, 5)
        assert buffers.pitch(20, 10, 1) >= buffers.left() + 20
        assert places["kept"] - places["summand"] == buffers.spec.ring
