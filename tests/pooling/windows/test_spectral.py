"""What spectral pooling promises beyond the conformance suite."""

import math
import warnings

import pytest
import torch
from pooling.references.spectral import spectral
from torch import Tensor, nn

from poolbench.pooling.windows.spectral import SpectralPool1d, SpectralPool2d, cropping


def images(*size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


GEOMETRIES = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},  # one row more than the map has
    {"kernel_size": 4, "stride": 3, "padding": 2},
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 11), (4, 5)], ids=str)
def test_equals_the_fourier_transforms(geometry: dict[str, int], size: tuple[int, int]) -> None:
    operator, x = SpectralPool2d(**geometry), images(2, 3, *size)  # type: ignore[arg-type]
    pooled = operator(x)
    assert pooled.shape == nn.MaxPool2d(**geometry)(x).shape  # type: ignore[arg-type]
    torch.testing.assert_close(pooled, spectral(operator, x))


@pytest.mark.parametrize("length", [8, 9, 12, 13])
@pytest.mark.parametrize("kernel_size", [2, 3, 4])
def test_one_dimension_is_a_map_of_one_row(length: int, kernel_size: int) -> None:
    x = images(2, 3, length)
    pooled = SpectralPool1d(kernel_size)(x)
    assert pooled.shape == nn.MaxPool1d(kernel_size)(x).shape
    torch.testing.assert_close(pooled, SpectralPool2d((1, kernel_size))(x.unsqueeze(2)).squeeze(2))
    transform = torch.fft.rfft(x)
    if pooled.shape[-1] % 2:  # no frequency stands for two
        kept = transform[..., : pooled.shape[-1] // 2 + 1]
        expected = torch.fft.irfft(kept, n=pooled.shape[-1]) * pooled.shape[-1] / length
        torch.testing.assert_close(pooled, expected)


def test_slow_waves_pass_and_fast_ones_are_gone() -> None:
    places = torch.arange(16, dtype=torch.float64) * 2 * math.pi / 16
    coarse = torch.arange(8, dtype=torch.float64) * 2 * math.pi / 8
    operator = SpectralPool1d(2)
    for frequency in (0, 1, 3):
        torch.testing.assert_close(
            operator((frequency * places + 0.3).cos().view(1, 1, -1)), (frequency * coarse + 0.3).cos().view(1, 1, -1)
        )
    for frequency in (5, 7, 8):
        fast = operator((frequency * places + 0.3).cos().view(1, 1, -1))
        torch.testing.assert_close(fast, torch.zeros_like(fast))


@pytest.mark.parametrize("size", [(8, 8), (9, 7)], ids=str)
def test_a_circular_shift_by_the_ratio_is_a_shift_of_the_output(size: tuple[int, int]) -> None:
    kernel = 2 if size == (8, 8) else (3, 7)
    operator, x = SpectralPool2d(kernel), images(2, 3, *size)
    shifted = operator(x.roll((operator.kernel_size[0], 0), dims=(2, 3)))
    torch.testing.assert_close(shifted, operator(x).roll((1, 0), dims=(2, 3)))


def test_mirroring_the_map_mirrors_the_spectrum() -> None:
    """Mirrored about place 0 of a periodic map; so no sign of the highest frequency is preferred."""
    operator, x = SpectralPool2d(2), images(2, 3, 8, 12)

    def mirrored(x: Tensor, dim: int) -> Tensor:
        return x.flip(dim).roll(1, dim)

    for dim in (2, 3):
        torch.testing.assert_close(operator(mirrored(x, dim)), mirrored(operator(x), dim))


def test_the_mean_is_kept_and_repeating_it_changes_nothing() -> None:
    x = images(2, 3, 8, 6)
    pooled = SpectralPool2d(2)(x)
    torch.testing.assert_close(pooled.mean((2, 3)), x.mean((2, 3)))
    torch.testing.assert_close(SpectralPool2d(1)(x), x)
    smooth = SpectralPool2d(2, stride=1, padding=1)(images(2, 3, 7, 7))  # to 8x8, nothing lost
    torch.testing.assert_close(SpectralPool2d(2, stride=1)(smooth), images(2, 3, 7, 7))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_layout_is_kept(layout: torch.memory_format) -> None:
    x = images(2, 3, 8, 8).contiguous(memory_format=layout).requires_grad_()
    pooled = SpectralPool2d(2)(x)
    (gradient,) = torch.autograd.grad(pooled.square().sum(), x)
    assert pooled.is_contiguous(memory_format=layout)
    assert gradient.is_contiguous(memory_format=layout)
    torch.testing.assert_close(pooled, SpectralPool2d(2)(x.contiguous()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32_also_under_autocast(dtype: torch.dtype) -> None:
    x = images(2, 3, 16, 16, dtype=dtype)
    pooled, exact = SpectralPool2d(2)(x), SpectralPool2d(2)(x.double())
    assert pooled.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(pooled.double(), exact, rtol=eps, atol=eps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(SpectralPool2d(2)(x), pooled)
        torch.testing.assert_close(SpectralPool2d(2)(x.float()), exact.float())


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["first", "second"])
def test_gradient(check) -> None:  # type: ignore[no-untyped-def]
    assert check(SpectralPool2d(3, 2, 1), images(1, 2, 5, 6).requires_grad_())


def test_the_matrix_keeps_constants_and_precision() -> None:
    for size, count in ((112, 56), (57, 28), (28, 57)):
        single, double = (cropping(size, count, torch.zeros(1, dtype=d)) for d in (torch.float32, torch.float64))
        torch.testing.assert_close(double.sum(1), torch.ones(count, dtype=torch.float64))
        torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-7)


@pytest.mark.slow
def test_compiled_exported_and_in_onnx() -> None:
    import onnxruntime

    operator, x = SpectralPool2d(3, 2, 1), images(2, 3, 9, 8, dtype=torch.float32)
    expected = operator(x)
    torch._dynamo.reset()
    compiled = torch.compile(operator, fullgraph=True, backend="aot_eager")
    for y in (x, images(2, 3, 7, 5, dtype=torch.float32)):
        torch.testing.assert_close(compiled(y), operator(y))
    torch.testing.assert_close(torch.export.export(operator, (x,)).module()(x), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(operator, (x,), dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected)


def test_dilation_makes_no_sense() -> None:
    with pytest.raises(TypeError, match="dilation"):
        SpectralPool2d(2, dilation=2)  # type: ignore[call-arg]
