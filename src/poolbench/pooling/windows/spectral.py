"""The low frequencies of the map, on a coarser grid."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.precision import is_channels_last, match_input, upcast, without_autocast
from poolbench.kernels.sizes import are_known
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.last import Last


class SpectralPool2d(WindowPool2d):
    """The map's Fourier spectrum, cropped to the low frequencies that fit the output's size.

    With F the discrete Fourier transform of size H x W: y = F⁻¹(crop(F(x))), rescaled so that the mean is kept. If the
    output has an even number of rows, its highest frequency represents two of the map's, +H'/2 and −H'/2: it gets their
    mean, so that the result is real; likewise for columns. The geometry only determines the output size: each value of
    the output depends on the whole map, which the transform treats as periodic, and padding holds no value.

    Both transforms and the crop are computed as one real matrix for each axis, which gives the same numbers without
    complex arithmetic. The work per channel grows with H·W·(H' + W').

    Args:
        kernel_size, stride, padding, ceil_mode, implementation: the geometry, see `WindowPool2d`.

    Shapes: (B, C, H, W) → (B, C, H', W'), in the memory layout of the input.

    Raises:
        ValueError: the geometry breaks its rule.

    Source: Rippel, Snoek and Adams, Spectral Representations for Convolutional Neural Networks (2015), section 4 and
    algorithm 1 (from memory, and from public code of others). Deviations: there the imaginary parts of the highest
    frequency are set to 0 at positions that are their own mirror images; the scale there is that of a unitary
    transform, which multiplies a constant map by √(H'·W' / (H·W)); the random removal of frequencies in training is
    left out.

    >>> SpectralPool2d(2)(torch.tensor([[[[1.0, 0.0, 1.0, 0.0]] * 2]])).tolist()  # an alternation is too fast
    [[[[0.5, 0.5]]]]
    """

    keeps_range: ClassVar[bool] = False  # where it is steep it overshoots
    is_equivariant: ClassVar[bool] = False  # but for circular shifts by a multiple of H / H'

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        implementation: str = "fast",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        self._by_row, self._by_column = Last[Tensor](), Last[Tensor]()

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        height, width = x_BCHW.shape[-2:]
        rows, columns = self.output_shape(height, width)
        y = upcast(x_BCHW)
        with without_autocast(y):
            by_row = self._by_row.of(y, (height, rows), lambda: self.matrix(height, rows, y))
            by_column = self._by_column.of(y, (width, columns), lambda: self.matrix(width, columns, y))
            if is_channels_last(x_BCHW):
                # In the order of memory (B, H, W, C), so that the gradient keeps the layout as well.
                y = torch.matmul(by_row, y.permute(0, 2, 3, 1).flatten(2)).unflatten(2, (width, -1))
                y = torch.matmul(by_column, y).permute(0, 3, 1, 2)
            elif are_known(height, width):
                y = torch.matmul(torch.matmul(by_row, y), by_column.T)
            else:  # products that ask nothing of sizes
                y = (by_row[:, :, None] * y.unsqueeze(-3)).sum(-2)
                y = F.linear(y, by_column)
        return match_input(x_BCHW, y)

    def matrix(self, size: Any, count: Any, like: Tensor) -> Tensor:
        """Return what makes `count` values of `size` along an axis, (count, size)."""
        return cropping(size, count, like)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2·C·H'·W·(H + W'): the products with the two matrices, which are made once."""
        rows, columns = self.output_shape(height, width)
        return channels * (
            of_convolution(height, rows * width, bias=False) + of_convolution(width, rows * columns, bias=False)
        )


class SpectralPool1d(WindowPool1d, SpectralPool2d):
    """The low frequencies of a sequence, (B, C, L) → (B, C, L'): see `SpectralPool2d`.

    >>> SpectralPool1d(2)(torch.tensor([[[1.0, 0.0, 1.0, 0.0]]])).tolist()
    [[[0.5, 0.5]]]
    """


def cropping(size: int, count: int, like: Tensor) -> Tensor:
    """Return the matrix (count, size) that transforms, crops to `count` frequencies, and transforms back.

    Its numbers are (1 + 2·Σ_f cos 2πf(j/count − i/size)) / size over the whole frequencies f that both sizes have,
    and half of such a term, for each sign, at the highest of an even size.

    >>> cropping(4, 2, torch.zeros(1)).mul(4).round(decimals=4).tolist()
    [[2.0, 1.0, 0.0, 1.0], [0.0, 1.0, 2.0, 1.0]]
    """
    if not are_known(size, count):
        return _cropping_of_any_size(size, count, like)
    both = min(size, count)
    frequency_F = torch.arange(1, (both + 1) // 2, device=like.device)
    at_FJ = angles(frequency_F, count, like)
    at_FI = angles(frequency_F, size, like)
    total_JI = 1 + 2 * (at_FJ.cos().T @ at_FI.cos() + at_FJ.sin().T @ at_FI.sin())
    if both % 2 == 0:
        highest = torch.full((1,), both // 2, device=like.device)
        total_JI = total_JI + angles(highest, count, like).cos().T @ angles(highest, size, like).cos()
    return total_JI / size


def _cropping_of_any_size(size: Any, count: Any, like: Tensor) -> Tensor:
    """Return the same where nothing may depend on whether sizes are even: all frequencies, each with its weight.

    There are no more results than values. The highest frequency of an even number of results has no sine.
    """
    frequency_F = torch.arange(count // 2 + 1, device=like.device)
    once_F = (frequency_F == 0) | (2 * frequency_F == count)
    weight_F1 = torch.where(once_F, 1, 2).to(like.dtype).unsqueeze(1)
    at_FJ, at_FI = angles(frequency_F, count, like), angles(frequency_F, size, like)
    total_JI = (at_FJ.cos() * weight_F1).T @ at_FI.cos() + (at_FJ.sin() * weight_F1).T @ at_FI.sin()
    return total_JI / size


def angles(frequency_F: Tensor, size: int, like: Tensor) -> Tensor:
    """Return 2π·f·i / size for each frequency and each place, whole turns taken off before they cost precision."""
    turns_FI = torch.outer(frequency_F, torch.arange(size, device=like.device)) % size
    return turns_FI.to(like.dtype) * (2 * math.pi / size)
