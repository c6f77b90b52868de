"""Spectral pooling with a window over the frequencies, against ringing."""

import math
from typing import Any

import torch
from torch import Tensor

from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.windows.spectral import SpectralPool2d, angles, cropping


class ASAPPool2d(SpectralPool2d):
    """The low frequencies of the map, higher ones weighted less: aliasing and spectral artifact-free pooling.

    With F the discrete Fourier transform: y = F⁻¹(crop(w·F(x))), rescaled so that the mean is kept, w = √(h(f)·h(g))
    for the frequencies f of H and g of W, h(f) = 0.54 + 0.46·cos(2πf/H): Hamming's window over the whole map's
    frequencies, 1 in the middle, 0.08 at the highest. Without it, w = 1, this is frequency low cut pooling, and
    `SpectralPool2d`. The sharp edge of a crop causes ringing beside every edge of the image; the window reduces it.

    Everything else is as in `SpectralPool2d`, including what is done with the highest frequencies.

    Args:
        kernel_size, stride, padding, ceil_mode, implementation: the geometry, see `SpectralPool2d`.

    Source: Grabinski, Jung, Keuper and Keuper, FrequencyLowCut Pooling: Plug and Play against Catastrophic Overfitting
    (2022), and Grabinski, Keuper and Keuper, Fix your downsampling ASAP! (2023), arXiv 2307.09804, with the authors'
    code, which also shifts the axes of batch and channels, undone later, and returns the map transposed by default:
    neither is done here. Deviations: there the window is NumPy's of H values, of period H − 1: in maps of even size its
    middle lies half a frequency beside 0, so that the mean is not kept; here its period is H. Where both axes have
    their highest frequency, the code takes that of one sign, and here the mean of both signs is taken.

    >>> ASAPPool2d(2)(torch.tensor([[[[1.0, 1.0, 1.0, 1.0]] * 2]])).round(decimals=4).tolist()
    [[[[1.0, 1.0]]]]
    """

    def matrix(self, size: Any, count: Any, like: Tensor) -> Tensor:
        """Return what makes `count` values of `size` along an axis, (count, size)."""
        return cropping(size, count, like) @ windowed(size, like)


def windowed(size: Any, like: Tensor) -> Tensor:
    """Return the matrix (size, size) that weights each frequency f of a line by √h(f).

    >>> matrix = windowed(2, torch.zeros(1)).tolist()
    >>> [[round(number, 4) for number in row] for row in matrix]  # half of 1 + √0.08, and of 1 − √0.08
    [[0.6414, 0.3586], [0.3586, 0.6414]]
    """
    frequency_F = torch.arange(size, device=like.device)
    at_FI = angles(frequency_F, size, like)
    weight_F1 = (0.54 + 0.46 * (frequency_F.to(like.dtype) * (2 * math.pi / size)).cos()).sqrt().unsqueeze(1)
    return ((at_FI.cos() * weight_F1).T @ at_FI.cos() + (at_FI.sin() * weight_F1).T @ at_FI.sin()) / size


class ASAPPool1d(WindowPool1d, ASAPPool2d):
    """The low frequencies of a sequence, the higher the fainter, (B, C, L) → (B, C, L'): see `ASAPPool2d`.

    >>> ASAPPool1d(2)(torch.tensor([[[2.0, 2.0, 2.0, 2.0]]])).round(decimals=4).tolist()
    [[[2.0, 2.0]]]
    """
