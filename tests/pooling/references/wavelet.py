"""The low band of a wavelet transform once more, one output at a time, filters by PyWavelets."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.pooling.windows.wavelet import WaveletPool1d, WaveletPool2d


def beyond(place: int, size: int, count: int, extension: str) -> int:
    """Return which value of a map stands at a place that may lie beyond it."""
    if extension == "symmetric":
        while not 0 <= place < size:
            place = -1 - place if place < 0 else 2 * size - 1 - place
        return place
    row = list(range(size))
    if size % 2:
        row = [*row, size - 1] if 2 * count > size else row[:-1]
    return row[place % len(row)]


def wavelet(operator: Any, x: Tensor) -> Tensor:
    import pywt

    taps = pywt.Wavelet(operator.wavelet).rec_lo
    taps = [h / sum(taps) for h in taps] if operator.normalise else taps
    shape = operator.output_shape(*x.shape[-2:])
    for dim, (stride, count) in enumerate(zip(operator.stride, shape, strict=True), start=2):
        if stride == 1:
            continue
        size, outputs = x.shape[dim], []
        for j in range(count):
            places = [beyond(2 * j + k + 1 - len(taps) // 2, size, count, operator.extension) for k in range(len(taps))]
            outputs.append(sum(h * x.select(dim, place) for h, place in zip(taps, places, strict=True)))
        x = torch.stack(outputs, dim)
    return x


REFERENCES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {WaveletPool2d: wavelet, WaveletPool1d: wavelet}
