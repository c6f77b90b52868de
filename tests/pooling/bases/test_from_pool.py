"""`from_pool`: the site of another pooling, for every operator."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from pooling.cases import CASES, CHANNELS, SEQUENCES, Case, each
from torch import nn

from poolbench.pooling import (
    AdaptivePolyphasePool2d,
    AvgPool1d,
    AvgPool2d,
    AvgTopKPool1d,
    AvgTopKPool2d,
    LpPool1d,
    LpPool2d,
    MaxPool1d,
    MaxPool2d,
    MinPool1d,
)


def once(case: Case) -> bool:
    return case.implementation == "torch"


def own_arguments(case: Case) -> Mapping[str, Any]:
    wanted = {"channels": CHANNELS} if "channels" in inspect.signature(case.kind).parameters else {}
    return {key: value for key, value in case.spec.items() if key != "_target_"} | wanted


@pytest.mark.quick(14)
@each(once, specs=CASES | SEQUENCES)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_every_operator_takes_the_geometry_of_a_max_pooling(case: Case, ceil_mode: bool) -> None:
    geometry = case.usual | {"ceil_mode": ceil_mode}
    kind = nn.MaxPool1d if case.kind.spatial == 1 else nn.MaxPool2d
    torch.manual_seed(0)
    found = case.kind.from_pool(kind(**geometry), **own_arguments(case))
    torch.manual_seed(0)
    built = case.kind(**geometry, **own_arguments(case))
    for name in ("kernel_size", "stride", "padding", "ceil_mode", "dilation"):
        assert getattr(found, name) == getattr(built, name), name
    x = torch.rand((2, CHANNELS, 9, 8) if case.kind.spatial == 2 else (2, CHANNELS, 9))
    assert torch.equal(found.eval()(x), built.eval()(x))
    assert found(x).shape == kind(**geometry)(x).shape


@each(lambda case: once(case) and case.kind.geometries is None, specs=CASES | SEQUENCES)
def test_a_dilation_is_taken_over_or_refused(case: Case) -> None:
    pool = (nn.MaxPool1d if case.kind.spatial == 1 else nn.MaxPool2d)(2, stride=2, dilation=2)
    if "dilation" in inspect.signature(case.kind).parameters:
        assert case.kind.from_pool(pool, **own_arguments(case)).dilation[-1] == 2
        return
    with pytest.raises(ValueError, match=f"`pool` must have no `dilation`: {case.kind.__name__} has none, got 2"):
        case.kind.from_pool(pool, **own_arguments(case))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_an_average_stays_the_same_average(include: bool, padding: int, ceil_mode: bool) -> None:
    theirs = nn.AvgPool2d(3, 2, padding, ceil_mode=ceil_mode, count_include_pad=include)
    x = torch.randn(2, 3, 8, 7)
    torch.testing.assert_close(AvgPool2d.from_pool(theirs)(x), theirs(x))
    # It costs the kernel only where there is padding to count.
    assert AvgPool2d.from_pool(theirs).count_include_pad is (include and padding > 0)
    line = nn.AvgPool1d(3, 2, padding, ceil_mode=ceil_mode, count_include_pad=include)
    torch.testing.assert_close(AvgPool1d.from_pool(line)(x[0]), line(x[0]))
    assert AvgPool2d.from_pool(theirs, count_include_pad=False).count_include_pad is False


def test_an_exponent_is_taken_over() -> None:
    x = torch.rand(2, 3, 8, 9)
    ours, theirs = LpPool2d.from_pool(nn.LPPool2d(3, 2)), nn.LPPool2d(3, 2)
    assert ours.p == 3
    torch.testing.assert_close(ours(x) * 4 ** (1 / 3), theirs(x))  # torch's has no division by n
    assert LpPool1d.from_pool(nn.LPPool1d(2.5, 3)).p == 2.5
    assert LpPool2d.from_pool(nn.LPPool2d(3, 2), p=1.0).p == 1
    assert AvgTopKPool2d.from_pool(nn.LPPool2d(3, 2), k=2).k == 2


def test_operators_of_this_library_are_poolings_too() -> None:
    found = AvgTopKPool2d.from_pool(MaxPool2d((3, 2), (2, 1), (1, 0), True, dilation=(1, 2)), k=2)
    assert (found.kernel_size, found.stride, found.padding, found.dilation) == ((3, 2), (2, 1), (1, 0), (1, 2))
    assert found.ceil_mode is True
    assert repr(AvgTopKPool1d.from_pool(MaxPool1d(3, 2, 1), k=2)) == (
        "AvgTopKPool1d(kernel_size=3, stride=2, padding=1, ceil_mode=False, k=2)"
    )


@pytest.mark.parametrize(
    ("kind", "pool", "message"),
    [
        (MaxPool2d, nn.MaxPool1d(2), "one of nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d or a window operator in 2-D"),
        (MaxPool2d, MaxPool1d(2), "a window operator in 2-D for MaxPool2d, got MaxPool1d"),
        (MinPool1d, nn.MaxPool2d(2), "one of nn.MaxPool1d, nn.AvgPool1d, nn.LPPool1d or a window operator in 1-D"),
        (MaxPool2d, nn.AdaptiveAvgPool2d(2), "got AdaptiveAvgPool2d"),
        (
            MaxPool2d,
            nn.MaxPool2d(2, return_indices=True),
            "must have no `return_indices`: MaxPool2d has none, got True",
        ),
        (AvgPool2d, nn.AvgPool2d(2, divisor_override=3), "must have no `divisor_override`: AvgPool2d has none, got 3"),
        (AdaptivePolyphasePool2d, nn.MaxPool2d(2, dilation=(1, 2)), r"no `dilation`: .* has none, got \(1, 2\)"),
    ],
)
def test_what_is_no_such_pooling_is_refused(kind: Any, pool: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind.from_pool(pool)


def test_numbers_of_numpy_are_whole_numbers() -> None:
    pool = MaxPool2d(np.int64(3), (np.int32(2), 1), padding=np.int8(1))
    assert (pool.kernel_size, pool.stride, pool.padding) == ((3, 3), (2, 1), (1, 1))
    assert all(type(number) is int for number in (*pool.kernel_size, *pool.stride, *pool.padding))
    with pytest.raises(ValueError, match=r"`kernel_size` must be one or two whole numbers of at least 1, got .*True"):
        MaxPool2d(np.bool_(True))
