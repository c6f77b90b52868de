"""What the blurring poolings promise beyond the conformance suite."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pooling.references.blur import REFERENCES
from torch import Tensor, nn

from poolbench.pooling.shared.pad import pad
from poolbench.pooling.windows.blur import (
    BinomialBlur2d,
    BlurPool1d,
    BlurPool2d,
    BlurredStridedConv2d,
    MaxBlurPool1d,
    MaxBlurPool2d,
    binomial,
)
from poolbench.pooling.windows.strided_conv import StridedConv2d

SIZES = range(1, 8)
each_size = pytest.mark.parametrize("blur_size", SIZES)
GEOMETRIES = [
    {"kernel_size": kernel, "stride": 2, "padding": padding, "ceil_mode": ceil_mode}
    for kernel, padding in ((2, 0), (3, 0), (3, 1))
    for ceil_mode in (False, True)
]
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)


def images(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


# ---- the filter ----


def test_filters_are_rows_of_pascals_triangle() -> None:
    expected = [[1], [1, 1], [1, 2, 1], [1, 3, 3, 1], [1, 4, 6, 4, 1], [1, 5, 10, 10, 5, 1], [1, 6, 15, 20, 15, 6, 1]]
    for size, row in zip(SIZES, expected, strict=True):
        assert binomial(size) == [number / sum(row) for number in row]


@pytest.mark.quick(4)
@each_size
@pytest.mark.parametrize("implementation", ["fast", "torch"])
def test_the_inner_blur_is_a_convolution(blur_size: int, implementation: str) -> None:
    row = torch.tensor(binomial(blur_size), dtype=torch.float64)
    weight, x = torch.outer(row, row).expand(3, 1, -1, -1), images(2, 3, 9, 8)
    blurred = BinomialBlur2d(blur_size, 2, implementation=implementation)(x)
    torch.testing.assert_close(blurred, F.conv2d(x, weight, stride=2, groups=3))


# ---- beyond the border ----


@pytest.mark.parametrize(("mode", "name"), [("reflect", "reflect"), ("circular", "wrap"), ("replicate", "edge")])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (5, 4)], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_extension_is_that_of_numpy(mode: str, name: str, size: tuple[int, int], layout: torch.memory_format) -> None:
    x = images(2, 3, *size).contiguous(memory_format=layout)
    for rows, columns in (((0, 0), (0, 0)), ((1, 0), (0, 2)), ((0, 3), (4, 0)), ((9, 7), (2, 11))):
        expected = np.pad(x.numpy(), ((0, 0), (0, 0), rows, columns), mode=name)  # type: ignore[call-overload]
        assert np.array_equal(pad(x, rows, columns, mode).numpy(), expected)


def test_extension_by_a_negative_number_takes_away() -> None:
    x = images(1, 2, 5, 6)
    for mode in ("reflect", "circular", "replicate"):
        assert torch.equal(pad(x, (-1, -2), (-3, 0), mode), x[:, :, 1:3, 3:])
        whole = pad(x, (0, 2), (2, 0), mode)
        assert torch.equal(pad(x, (-1, 2), (2, -1), mode), whole[:, :, 1:, :-1])


@pytest.mark.quick(4)
@each_size
@each_geometry
def test_small_maps_are_blurred_too(blur_size: int, geometry: dict[str, int]) -> None:
    """With one row and one column there is nothing but that value; with two, the filter sees both."""
    for kind in (MaxBlurPool2d, BlurPool2d):
        operator = kind(**geometry, blur_size=blur_size, implementation="torch")  # type: ignore[arg-type]
        kernel = geometry["kernel_size"]
        x = images(2, 3, kernel, kernel)
        assert operator(x).shape == nn.MaxPool2d(**geometry)(x).shape  # type: ignore[arg-type]
    line = torch.tensor([[[0.0, 4.0]]])
    blurred = MaxBlurPool1d(1, 2, blur_size=blur_size)(line).item()
    taps = binomial(blur_size)
    assert blurred == sum(4 * tap for at, tap in enumerate(taps) if (at - (blur_size - 1) // 2) % 2)


# ---- one formula with the border in it, beside the way of two steps ----


@pytest.mark.slow
@each_size
@each_geometry
@pytest.mark.parametrize("kind", [MaxBlurPool2d, BlurPool2d])
@pytest.mark.parametrize("size", [(16, 33), (13, 9), (4, 7)], ids=str)
def test_the_border_in_the_formula_is_the_extended_map(
    kind: type[nn.Module], blur_size: int, geometry: dict[str, int], size: tuple[int, int]
) -> None:
    x = images(2, 8, *size)
    gradient = images(2, 8, *nn.MaxPool2d(**geometry)(x).shape[2:])  # type: ignore[arg-type]
    for layout in (torch.contiguous_format, torch.channels_last):
        found = []
        for implementation in ("fast", "torch"):
            leaf = x.clone().contiguous(memory_format=layout).requires_grad_()
            y = kind(**geometry, blur_size=blur_size, implementation=implementation)(leaf)
            found.append((y, *torch.autograd.grad(y, leaf, gradient)))
        torch.testing.assert_close(found[0], found[1])


def test_no_map_of_maxima_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the geometries that networks have, one formula does it, and the map alone is kept."""
    monkeypatch.setattr(MaxBlurPool2d, "blurred", None)
    for geometry, size in (((2, 2, 0), 32), ((3, 2, 1), 32), ((3, 2, 1), 7), ((2, 2, 0), 9)):
        MaxBlurPool2d(*geometry)(images(1, 4, size, size))


# ---- the operators ----

SIZED: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({"kernel_size": 2}, (6, 7)),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, (5, 6)),
]
SIZED += [
    ({"kernel_size": (3, 2), "stride": (1, 3), "padding": (0, 1)}, (4, 5)),
    ({"kernel_size": 4, "stride": 1}, (4, 4)),
]


@pytest.mark.quick(8)
@each_size
@pytest.mark.parametrize("kind", [MaxBlurPool2d, BlurPool2d, BlurredStridedConv2d])
@pytest.mark.parametrize(("geometry", "size"), SIZED, ids=str)
def test_equals_its_formula(
    kind: type[nn.Module], blur_size: int, geometry: dict[str, Any], size: tuple[int, int]
) -> None:
    own = {"channels": 3} if kind is BlurredStridedConv2d else {}
    operator = kind(**geometry, **own, blur_size=blur_size, implementation="torch").double()
    x = images(2, 3, *size)
    with torch.no_grad():
        expected = REFERENCES[kind](operator, x)
    for layout in (torch.contiguous_format, torch.channels_last):
        leaf = x.contiguous(memory_format=layout).requires_grad_()
        pooled = operator(leaf)
        torch.testing.assert_close(pooled, expected)
        (gradient,) = torch.autograd.grad(pooled.square().sum(), leaf)
        assert gradient.is_contiguous(memory_format=layout)


@pytest.mark.quick(3)
@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["first", "second"])
@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_extension_has_derivatives(mode: str, check: Callable[..., bool]) -> None:
    for sides in (((1, 2), (0, 1)), ((4, 0), (1, 5)), ((-1, 1), (2, -1))):
        assert check(lambda x, sides=sides: pad(x, *sides, mode), images(1, 2, 3, 4).requires_grad_())


def test_extension_keeps_nothing_of_the_map() -> None:
    kept: list[Tensor] = []
    x = images(2, 3, 8, 8).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        for mode in ("reflect", "circular", "replicate"):
            pad(x, (1, 1), (1, 1), mode)
    assert not kept


def by_hand(z: Tensor, blur_size: int) -> Tensor:
    row = torch.tensor(binomial(blur_size), dtype=z.dtype)
    before = (blur_size - 1) // 2
    sides = (before, blur_size - 1 - before)
    z = F.pad(z, sides + sides, mode="reflect")
    return F.conv2d(z, torch.outer(row, row).expand(z.shape[1], 1, -1, -1), stride=2, groups=z.shape[1])


@pytest.mark.quick(3)
@each_size
def test_max_blur_is_max_pad_and_convolution(blur_size: int) -> None:
    x = images(2, 3, 16, 13)
    for kernel, padding in ((2, 0), (3, 1), (3, 0)):
        z = F.max_pool2d(x, kernel, 1, padding)
        operator = MaxBlurPool2d(kernel, 2, padding, blur_size=blur_size)
        torch.testing.assert_close(operator(x), by_hand(z, blur_size))


@each_size
def test_blur_is_pad_and_convolution(blur_size: int) -> None:
    x = images(2, 3, 16, 14)
    torch.testing.assert_close(BlurPool2d(2, blur_size=blur_size)(x), by_hand(x, blur_size))
    if blur_size % 2:
        torch.testing.assert_close(BlurPool2d(3, 2, 1, blur_size=blur_size)(x), by_hand(x, blur_size))


@each_geometry
def test_a_filter_of_one_is_no_blur(geometry: dict[str, int]) -> None:
    x = images(2, 3, 9, 8)
    pooled = MaxBlurPool2d(**geometry, blur_size=1)(x)  # type: ignore[arg-type]
    assert torch.equal(pooled, nn.MaxPool2d(**geometry)(x))  # type: ignore[arg-type]
    subsampled = BlurPool2d(1, 2, blur_size=1)(x)
    assert torch.equal(subsampled, x[..., ::2, ::2])


@pytest.mark.quick(5)
@each_size
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_the_filter_lies_on_the_window(blur_size: int, kernel: int) -> None:
    """On a ramp, a mean is the middle of its values: that of the window, or half a step before it."""
    ramp = torch.arange(40.0, dtype=torch.float64).view(1, 1, -1)
    pooled = BlurPool1d(kernel, 2, blur_size=blur_size)(ramp)[0, 0, 4:-4]
    middle = 2 * torch.arange(4.0, 4.0 + len(pooled), dtype=torch.float64) + (kernel - 1) / 2
    bias = 0.0 if (kernel - blur_size) % 2 == 0 else -0.5
    torch.testing.assert_close(pooled, middle + bias)


@each_size
def test_an_even_filter_is_biased_by_half_a_step(blur_size: int) -> None:
    ramp = torch.arange(40.0, dtype=torch.float64).view(1, 1, -1)
    pooled = MaxBlurPool1d(2, blur_size=blur_size)(ramp)[0, 0, 4:-4]
    largest = 2 * torch.arange(4.0, 4.0 + len(pooled), dtype=torch.float64) + 1
    torch.testing.assert_close(pooled, largest + (0.0 if blur_size % 2 else 0.5))


def test_a_sequence_is_blurred_along_itself_only() -> None:
    x = images(2, 3, 1, 11)
    for flat, whole in ((MaxBlurPool1d(2), MaxBlurPool2d((1, 2))), (BlurPool1d(2), BlurPool2d((1, 2)))):
        torch.testing.assert_close(flat(x[:, :, 0]), whole(x)[:, :, 0])
    assert MaxBlurPool1d(2).blur.kernel_size == (1, 3)


def test_with_a_blur_less_changes_under_a_shift() -> None:
    x = images(8, 3, 32, 32)
    changes = []
    for blur_size in (1, 3, 5):
        operator = MaxBlurPool2d(2, blur_size=blur_size)
        inside = (..., slice(3, -3), slice(3, -3))
        changes.append((operator(x)[inside] - operator(x.roll(1, 3))[inside]).square().mean().item())
    assert changes[0] > 4 * changes[1] > 4 * changes[2]


def test_values_that_hang_over_are_blurred_in_ceil_mode() -> None:
    x = torch.tensor([[[1.0, 2.0, 4.0, 8.0, 16.0]]])
    # The maxima are 2, 4, 8, 16 and, of the window that hangs over, 16.
    assert MaxBlurPool1d(2)(x).tolist() == [[[3.0, 9.0]]]
    assert MaxBlurPool1d(2, ceil_mode=True)(x).tolist() == [[[3.0, 9.0, 16.0]]]


# ---- the convolution ----


@pytest.mark.parametrize("activation", ["relu", None])
@each_geometry
def test_a_convolution_without_blur_is_strided(activation: str | None, geometry: dict[str, int]) -> None:
    operator = BlurredStridedConv2d(**geometry, channels=3, activation=activation, blur_size=1)  # type: ignore[arg-type]
    strided = StridedConv2d(**geometry, channels=3, activation=activation)  # type: ignore[arg-type]
    strided.conv.load_state_dict(operator.conv.state_dict())
    x = images(2, 3, 9, 8).float()
    torch.testing.assert_close(operator(x), strided(x))


def test_the_convolution_is_blurred_after_its_activation() -> None:
    operator, x = BlurredStridedConv2d(3, 2, 1, channels=3), images(2, 3, 8, 8).float()
    z = F.relu(F.conv2d(x, operator.conv.weight, operator.conv.bias, padding=1))
    torch.testing.assert_close(operator(x), by_hand(z, 3))


def test_the_convolution_learns_what_no_fixed_pooling_can() -> None:
    x = images(8, 2, 8, 8).float()
    torch.manual_seed(0)
    operator = BlurredStridedConv2d(1, 2, channels=2)
    target = BlurPool2d(1, 2)((x[:, :1] - 2 * x[:, 1:]).relu()).expand(-1, 2, -1, -1)
    start = operator.conv.weight.detach().clone()
    nn.init.constant_(operator.conv.bias, 0.5)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(operator.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        F.mse_loss(operator(x), target).backward()
        optimizer.step()
    assert (operator.conv.weight - start).abs().max() > 0.3
    fixed = min(F.mse_loss(pool(x), target).item() for pool in (MaxBlurPool2d(2), BlurPool2d(2), nn.MaxPool2d(2)))
    assert F.mse_loss(operator(x), target).item() < fixed / 50


def test_a_network_of_strided_convolutions_is_not_taken_for_it() -> None:
    assert StridedConv2d.is_convolution
    assert not BlurredStridedConv2d.is_convolution


# ---- arguments ----


@pytest.mark.parametrize("kind", [MaxBlurPool2d, BlurPool2d, MaxBlurPool1d])
@pytest.mark.parametrize("blur_size", [0, 8, 2.0, True, None])
def test_blur_size_has_bounds(kind: type[nn.Module], blur_size: object) -> None:
    with pytest.raises(ValueError, match=f"`blur_size` must be in 1..7, got {blur_size!r}"):
        kind(2, blur_size=blur_size)


def test_convolution_arguments() -> None:
    with pytest.raises(ValueError, match="`channels` must be a whole number of at least 1, got 0"):
        BlurredStridedConv2d(2, channels=0)
    with pytest.raises(ValueError, match="`activation` must be 'relu' or null, got 'gelu'"):
        BlurredStridedConv2d(2, channels=1, activation="gelu")
    assert "blur_size=3, activation='relu'" in repr(BlurredStridedConv2d(2, channels=1))
