"""What wavelet pooling promises beyond the conformance suite."""

import math
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pooling.references.wavelet import wavelet as reference
from torch import Tensor, nn

from poolbench.pooling.windows.wavelet import FILTERS, WaveletPool1d, WaveletPool2d

WAVELETS = ["haar", "db2", "db3"]
GEOMETRIES = [
    {"kernel_size": kernel, "stride": 2, "padding": padding, "ceil_mode": ceil_mode}
    for kernel, padding in ((2, 0), (3, 1))
    for ceil_mode in (False, True)
]
each_wavelet = pytest.mark.parametrize("wavelet", WAVELETS)
each_extension = pytest.mark.parametrize(
    ("wavelet", "extension"),
    [(name, kind) for name in WAVELETS for kind in ("symmetric", "periodic") if (name, kind) != ("haar", "periodic")],
)


def periodic(wavelet: str) -> dict[str, Any]:
    """Return what makes a transform periodic; Haar's needs nothing beyond the map."""
    return {} if wavelet == "haar" else {"extension": "periodic"}


def images(*size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


@each_wavelet
def test_filters_are_those_of_pywavelets(wavelet: str) -> None:
    import pywt

    assert FILTERS[wavelet] == pytest.approx(pywt.Wavelet(wavelet).rec_lo, rel=1e-9)
    assert sum(h * h for h in FILTERS[wavelet]) == pytest.approx(1)


@pytest.mark.quick(4)
@each_extension
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("normalise", [False, True])
def test_equals_its_formula(wavelet: str, extension: str, geometry: dict[str, int], normalise: bool) -> None:
    operator = WaveletPool2d(**geometry, wavelet=wavelet, extension=extension, normalise=normalise)  # type: ignore[arg-type]
    for size in ((8, 8), (7, 5), (6, 9), (2, 3)):
        x = images(2, 3, *size)
        pooled = operator(x)
        assert pooled.shape == nn.MaxPool2d(**geometry)(x).shape  # type: ignore[arg-type]
        torch.testing.assert_close(pooled, reference(operator, x))


@each_wavelet
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 13)], ids=str)
def test_periodic_equals_pywavelets_periodization(wavelet: str, size: tuple[int, int]) -> None:
    import pywt

    x = images(2, 3, *size)
    low, _ = pywt.dwt2(x.numpy(), wavelet, mode="periodization", axes=(2, 3))
    operator = WaveletPool2d(2, ceil_mode=True, wavelet=wavelet, **periodic(wavelet))
    torch.testing.assert_close(operator(x), torch.from_numpy(low))


@each_extension
def test_equals_ptwt(wavelet: str, extension: str) -> None:
    """ptwt lays the filter over the L places before 2j + 2. Ours of four coefficients begins at odd ones.

    There the first row and column are left out, and what the other border reaches is not compared.
    """
    import ptwt

    half = len(FILTERS[wavelet]) // 2
    odd = (half + 1) % 2
    for size in ((12, 12), (16, 10)):
        x = images(2, 3, *size)
        ours = WaveletPool2d(2, wavelet=wavelet, extension=extension)(x)
        theirs = ptwt.wavedec2(x[..., odd:, odd:], wavelet, mode=extension, level=1)[0]
        first = (half - 1 - odd) // 2
        theirs = theirs[..., first : first + ours.shape[2], first : first + ours.shape[3]]
        inside = (..., slice(2 * odd, -2 * odd or None), slice(2 * odd, -2 * odd or None))
        torch.testing.assert_close(ours[inside], theirs[inside])


@each_wavelet
def test_two_levels_rebuilt_from_the_second_are_the_first_low_band(wavelet: str) -> None:
    """What Williams and Li define: decompose twice, drop the first level's details, reconstruct once."""
    import pywt

    x = images(2, 3, 24, 32)
    once = pywt.wavedec2(x.numpy(), wavelet, mode="periodization", level=2, axes=(2, 3))
    rebuilt = pywt.waverec2(once[:-1], wavelet, mode="periodization", axes=(2, 3))
    operator = WaveletPool2d(2, wavelet=wavelet, **periodic(wavelet))
    torch.testing.assert_close(operator(x), torch.from_numpy(rebuilt))


def test_haar_is_twice_the_mean() -> None:
    for size in ((8, 8), (7, 9)):
        x = images(2, 3, *size)
        torch.testing.assert_close(WaveletPool2d(2)(x), 2 * F.avg_pool2d(x, 2))
        torch.testing.assert_close(WaveletPool2d(2, normalise=True)(x), F.avg_pool2d(x, 2))


@pytest.mark.quick(4)
@each_extension
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_constant_map_is_kept_if_normalised(wavelet: str, extension: str, geometry: dict[str, int]) -> None:
    x = torch.full((1, 1, 7, 8), 3.0)
    plain, normal = (
        WaveletPool2d(**geometry, wavelet=wavelet, extension=extension, normalise=normalise)(x)  # type: ignore[arg-type]
        for normalise in (False, True)
    )
    torch.testing.assert_close(normal, torch.full_like(normal, 3.0))
    torch.testing.assert_close(plain, torch.full_like(plain, 6.0))


@each_wavelet
def test_a_circular_shift_by_two_is_a_shift_by_one(wavelet: str) -> None:
    operator, x = WaveletPool2d(2, wavelet=wavelet, **periodic(wavelet)), images(2, 3, 8, 10)
    torch.testing.assert_close(operator(x.roll((2, 4), (2, 3))), operator(x).roll((1, 2), (2, 3)))


@each_wavelet
@pytest.mark.parametrize("length", [8, 9])
def test_one_dimension_is_a_map_of_one_row(wavelet: str, length: int) -> None:
    import pywt

    x = images(2, 3, length)
    pooled = WaveletPool1d(2, ceil_mode=True, wavelet=wavelet, **periodic(wavelet))(x)
    low, _ = pywt.dwt(x.numpy(), wavelet, mode="periodization", axis=-1)
    torch.testing.assert_close(pooled, torch.from_numpy(low))
    constant = WaveletPool1d(3, 2, 1, wavelet=wavelet)(torch.ones(1, 1, length))
    torch.testing.assert_close(constant, torch.full_like(constant, math.sqrt(2)))


@each_wavelet
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_layout_is_kept(wavelet: str, layout: torch.memory_format) -> None:
    x = images(2, 3, 8, 8).contiguous(memory_format=layout).requires_grad_()
    operator = WaveletPool2d(2, wavelet=wavelet)
    pooled = operator(x)
    (gradient,) = torch.autograd.grad(pooled.square().sum(), x)
    assert pooled.is_contiguous(memory_format=layout)
    assert gradient.is_contiguous(memory_format=layout)
    torch.testing.assert_close(pooled, operator(x.contiguous()))


@each_wavelet
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32_also_under_autocast(wavelet: str, dtype: torch.dtype) -> None:
    x, operator = images(2, 3, 16, 16, dtype=dtype), WaveletPool2d(2, wavelet=wavelet).to(dtype)
    pooled, exact = operator(x), operator(x.double())
    assert pooled.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(pooled.double(), exact, rtol=eps, atol=eps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(operator(x), pooled)
        torch.testing.assert_close(operator(x.float()), exact.float())


@pytest.mark.quick(2)
@each_extension
@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["first", "second"])
def test_gradient(wavelet: str, extension: str, check) -> None:  # type: ignore[no-untyped-def]
    operator = WaveletPool2d(3, 2, 1, wavelet=wavelet, extension=extension)
    assert check(operator, images(1, 2, 5, 6).requires_grad_())


@pytest.mark.slow
@each_extension
def test_compiled_exported_and_in_onnx(wavelet: str, extension: str) -> None:
    import onnxruntime

    operator = WaveletPool2d(3, 2, 1, wavelet=wavelet, extension=extension)
    x = images(2, 3, 9, 8, dtype=torch.float32)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 3}, "`kernel_size`, `stride` and `padding` must be 2, 2, 0 or 3, 2, 1 .* got .3,"),
        ({"kernel_size": 2, "stride": 1}, "`kernel_size`, `stride` and `padding` must be 2, 2, 0 or 3, 2, 1"),
        ({"kernel_size": 2, "padding": 1}, "`kernel_size`, `stride` and `padding` must be 2, 2, 0 or 3, 2, 1"),
        ({"kernel_size": 2, "wavelet": "db9"}, "`wavelet` must be one of 'haar', 'db2', 'db3', got 'db9'"),
        ({"kernel_size": 2, "extension": "zero"}, "`extension` must be 'symmetric' or 'periodic', got 'zero'"),
        ({"kernel_size": 2, "extension": "periodic"}, "`extension` must be left at 'symmetric' for wavelet='haar'"),
        ({"kernel_size": 2, "normalise": 1}, "`normalise` must be true or false, got 1"),
    ],
    ids=str,
)
def test_arguments_have_rules(arguments: dict[str, object], message: str) -> None:
    for kind in (WaveletPool2d, WaveletPool1d):
        with pytest.raises(ValueError, match=message):
            kind(**arguments)  # type: ignore[arg-type]


def test_shows_its_transform() -> None:
    assert (
        WaveletPool2d(2, wavelet="db2", normalise=True)
        .extra_repr()
        .endswith("ceil_mode=False, wavelet='db2', extension='symmetric', normalise=True")
    )
