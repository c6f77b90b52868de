"""Spectral pooling once more, by Fourier transforms and a crop that takes one frequency after another."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.pooling.windows.asap import ASAPPool2d
from poolbench.pooling.windows.spectral import SpectralPool1d, SpectralPool2d


def kept(size: int, count: int) -> Iterator[tuple[int, int, float]]:
    """Yield each frequency that both sizes have: its places in the two spectra, and what share of it is kept.

    The highest of an even size comes twice, as + and −, each by half.
    """
    both = min(size, count)
    for frequency in range(-(both // 2), both // 2 + 1):
        yield frequency % size, frequency % count, 0.5 if 2 * abs(frequency) == both else 1.0


def root_of_hamming(size: int) -> Tensor:
    """Return √h by frequency, h being 1 at frequency 0 and falling to 0.08 on both sides of it."""
    distances = [min(frequency, size - frequency) / size for frequency in range(size)]
    return torch.tensor([math.sqrt(0.54 + 0.46 * math.cos(2 * math.pi * d)) for d in distances], dtype=torch.float64)


def spectral(operator: Any, x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    rows, columns = operator.output_shape(height, width)
    spectrum = torch.fft.fft2(x.to(torch.float64))
    if isinstance(operator, ASAPPool2d):
        spectrum = spectrum * torch.outer(root_of_hamming(height), root_of_hamming(width))
    cropped = torch.zeros(*x.shape[:-2], rows, columns, dtype=spectrum.dtype)
    for from_row, to_row, share_of_row in kept(height, rows):
        for from_column, to_column, share_of_column in kept(width, columns):
            cropped[..., to_row, to_column] += share_of_row * share_of_column * spectrum[..., from_row, from_column]
    pooled = torch.fft.ifft2(cropped) * (rows * columns) / (height * width)
    torch.testing.assert_close(pooled.imag, torch.zeros_like(pooled.imag), rtol=0, atol=1e-9)
    return pooled.real.to(x.dtype)


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    ASAPPool2d: spectral,
    SpectralPool2d: spectral,
    SpectralPool1d: spectral,
}
