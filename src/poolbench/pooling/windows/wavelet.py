"""The low band of a discrete wavelet transform."""

from collections.abc import Sequence
from math import sqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.graph import Value, Window
from poolbench.kernels.precision import is_channels_last, match_input, upcast, without_autocast
from poolbench.kernels.sizes import are_known, larger, smaller
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.index_select import select_places
from poolbench.pooling.shared.last import Last
from poolbench.pooling.shared.means import weighted

_THREE = sqrt(3)
_TEN = sqrt(10)
_ROOT = sqrt(5 + 2 * _TEN)

# The scaling filters of Haar and Daubechies: the sum of the squares is 1, the sum √2.
FILTERS: dict[str, tuple[float, ...]] = {
    "haar": (1 / sqrt(2), 1 / sqrt(2)),
    "db2": tuple(h / (4 * sqrt(2)) for h in (1 + _THREE, 3 + _THREE, 3 - _THREE, 1 - _THREE)),
    "db3": tuple(
        h / (16 * sqrt(2))
        for h in (
            1 + _TEN + _ROOT,
            5 + _TEN + 3 * _ROOT,
            10 - 2 * _TEN + 2 * _ROOT,
            10 - 2 * _TEN - 2 * _ROOT,
            5 + _TEN - 3 * _ROOT,
            1 + _TEN - _ROOT,
        )
    ),
}
# What an axis may ask for: (kernel_size, stride, padding). The first leaves it alone.
AXES = ((1, 1, 0), (2, 2, 0), (3, 2, 1))


def check_axes(operator: WindowPool2d) -> None:
    """Raise `ValueError` where an operator's geometry is that of no wavelet transform."""
    given = (operator.kernel_size, operator.stride, operator.padding)
    if any(axis not in AXES for axis in zip(*given, strict=True)):
        raise ValueError(
            "`kernel_size`, `stride` and `padding` must be 2, 2, 0 or 3, 2, 1 for a wavelet transform, "
            f"got {', '.join(str(sides[-operator.spatial :]) for sides in given)}"
        )


class WaveletPool2d(WindowPool2d):
    """The low band of one level of the discrete wavelet transform, along both axes.

    Along an axis, with the scaling filter h of even length L: y_j = Σ_k h_k · x_(2j + k + 1 − L/2), so the filter is
    centred over positions 2j and 2j + 1. Beyond the map it reads the map's mirror image, with the last value repeated
    (`extension="symmetric"`), or the map again (`"periodic"`; if the size is odd the last value is left out, or
    repeated where the output's size is rounded up). Padding holds no value.

    With `"haar"` this is twice the mean of each 2 x 2 block: the transform is orthonormal, and its low band of a
    constant map is twice as large in two dimensions. `normalise` removes that factor, so that constants are kept.

    Williams and Li decompose two levels and reconstruct from the second level's four bands. Reconstruction is exact,
    so that gives the first level's low band: this operator.

    Args:
        kernel_size, stride, padding: 2, 2 and 0, or 3, 2 and 1: of either the transform takes the number of outputs.
        ceil_mode, implementation: see `WindowPool2d`.
        wavelet: `"haar"`, `"db2"` or `"db3"` (Daubechies' with 2, 4 and 6 coefficients).
        extension: `"symmetric"` or `"periodic"`; of Haar's filter, which needs nothing beyond the map, the first.
        normalise: whether the filter's coefficients are divided by their sum, √2.

    Shapes: (B, C, H, W) → (B, C, H', W'), in the memory layout of the input.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Williams and Li, Wavelet Pooling for Convolutional Neural Networks (2018), the two levels (second-hand: a
    summary); Li, Shen, Guo and Lai, Wavelet Integrated CNNs for Noise-Robust Image Classification (2020), the low band
    alone, and the authors' code, which has zeros beyond the map. Filters: Daubechies, Orthonormal Bases of Compactly
    Supported Wavelets (1988).

    >>> WaveletPool2d(2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).round(decimals=4).item()  # twice the mean
    6.0
    """

    small_maps: ClassVar[str] = "copying what the filter finds beyond the border, for filters longer than two"
    keeps_constants: ClassVar[bool] = False
    keeps_range: ClassVar[bool] = False
    geometries = (
        {"kernel_size": 2, "stride": 2, "padding": 0},
        {"kernel_size": 3, "stride": 2, "padding": 1},
    )

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        implementation: str = "fast",
        wavelet: str = "haar",
        extension: str = "symmetric",
        normalise: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        check_axes(self)
        if wavelet not in FILTERS:
            raise ValueError(f"`wavelet` must be one of {', '.join(map(repr, FILTERS))}, got {wavelet!r}")
        if extension not in ("symmetric", "periodic"):
            raise ValueError(f"`extension` must be 'symmetric' or 'periodic', got {extension!r}")
        if extension != "symmetric" and len(FILTERS[wavelet]) == 2:
            raise ValueError(
                f"`extension` must be left at 'symmetric' for wavelet={wavelet!r}, whose filter never reaches beyond "
                f"the map: another one would change nothing, got {extension!r}"
            )
        if not isinstance(normalise, bool):
            raise ValueError(f"`normalise` must be true or false, got {normalise!r}")
        self.wavelet, self.extension, self.normalise = wavelet, extension, normalise
        taps = [h / sqrt(2) if normalise else h for h in FILTERS[wavelet]]
        self.taps = [taps if stride == 2 else [1.0] for stride in self.stride]
        self.band = _LowBand(self.taps, self.stride, implementation)
        self._places = Last[tuple[Tensor, Tensor] | None]()

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        if are_known(*x_BCHW.shape[-2:]) and self.implementation_for(x_BCHW)[0] != "torch":
            return self._by_kernel(x_BCHW)
        y, last = upcast(x_BCHW), is_channels_last(x_BCHW)
        # In the order of memory, so that the gradient keeps the layout as well.
        y = y.permute(0, 2, 3, 1) if last else y
        for axis, count in enumerate(self.output_shape(*x_BCHW.shape[-2:])):
            if self.stride[axis] == 2:
                y = self._extended(y, axis + (1 if last else 2), count)
        y = y.permute(0, 3, 1, 2) if last else y
        # Filled, not copied from a list: a copy to a GPU would wait for it.
        high, wide = (torch.stack([y.new_full((), h) for h in taps]) for taps in self.taps)
        weight = torch.outer(high, wide).expand(y.shape[1], 1, len(self.taps[0]), len(self.taps[1]))
        with without_autocast(y):
            return match_input(x_BCHW, F.conv2d(y, weight, stride=self.stride, groups=y.shape[1]))

    def _by_kernel(self, x_BCHW: Tensor) -> Tensor:
        """Pool what the filter needs of the map and beyond it by the compiled formula."""
        sizes = x_BCHW.shape[-2:]
        shape = self.output_shape(sizes[0], sizes[1])

        def places() -> tuple[Tensor, Tensor] | None:
            axes = zip(sizes, shape, self.stride, strict=True)
            found = [self._place(*axis, device=x_BCHW.device) for axis in axes]
            if found[0] is None and found[1] is None:
                return None
            rows, columns = (
                torch.arange(size, device=x_BCHW.device) if place is None else place
                for size, place in zip(sizes, found, strict=True)
            )
            return rows, columns

        beyond = self._places.of(x_BCHW, (*sizes, *shape), places)
        y_BCHW = x_BCHW if beyond is None else select_places(x_BCHW, *beyond)
        band = self.band
        return band.by_kernel(y_BCHW, Geometry(band.kernel_size, band.stride, (0, 0), (1, 1), shape))

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes this map, `"fast"` or `"torch"`, and for the latter why."""
        return self.band.implementation_for(x_BCHW)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2·L² for each result, a convolution with the filter of L x L numbers."""
        rows, columns = self.output_shape(height, width)
        taps = len(self.taps[0]) * len(self.taps[1])
        return of_convolution(taps, channels * rows * columns, bias=False)

    def _extended(self, x: Tensor, dim: int, count: int) -> Tensor:
        """Return the values that `count` places of the filter need along a dimension, beyond the map as well."""
        place = self._place(x.shape[dim], count, 2, device=x.device)
        return x.narrow(dim, 0, 2 * count) if place is None else x.index_select(dim, place)

    def _place(self, size: int, count: int, stride: int, *, device: torch.device) -> Tensor | None:
        """Return which of `size` values `count` places of the filter need, in their order; None: the first ones."""
        length = len(FILTERS[self.wavelet])
        if stride == 1 or (length == 2 and are_known(size, count) and 2 * count <= size):
            return None
        place = torch.arange(2 * count + length - 2, device=device) + (1 - length // 2)
        if self.extension == "symmetric":
            place = place % (2 * size)
            return torch.minimum(place, 2 * size - 1 - place)
        # Larger than 2 · count is neither of both, save of an even size, where they are equal.
        period = larger(smaller(2 * count, size + size % 2), size - size % 2)
        return torch.minimum(place % period, torch.ones_like(place) * (size - 1))

    def extra_repr(self) -> str:
        """Show the geometry and the transform."""
        return f"{super().extra_repr()}, wavelet={self.wavelet!r}, extension={self.extension!r}" + (
            ", normalise=True" if self.normalise else ""
        )


class _LowBand(TapPool2d):
    """The filter alone, at places that it has whole: Σ h·h·x.

    Args:
        taps: coefficients along rows and columns.
        stride: steps of the filter, a pair.
        implementation: see `WindowPool2d`.
    """

    def __init__(self, taps: Sequence[Sequence[float]], stride: Sequence[int], implementation: str) -> None:
        super().__init__([len(each) for each in taps], stride, implementation=implementation)
        self.weights = [high * wide for high in taps[0] for wide in taps[1]]
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return the weighted sum."""
        return weighted(window.masked_fill(0.0), self.weights)


class WaveletPool1d(WindowPool1d, WaveletPool2d):
    """The low band of a sequence's wavelet transform, (B, C, L) → (B, C, L'): see `WaveletPool2d`.

    >>> WaveletPool1d(2, normalise=True)(torch.tensor([[[1.0, 3.0, 5.0, 9.0]]])).tolist()
    [[[2.0, 7.0]]]
    """
