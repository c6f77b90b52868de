"""All bands of Haar's wavelet transform, then a learned mixture of them."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.precision import match_input, upcast
from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.batch_norm import BatchNorm
from poolbench.pooling.shared.pad import pad
from poolbench.pooling.windows.wavelet import check_axes


class HaarWaveletPool2d(WindowPool2d):
    """The four bands of one level of Haar's wavelet transform, mixed by learned weights: y = ReLU(N(W·bands)).

    Of each 2 x 2 block (a, b; c, d) the bands are LL = (a + b + c + d)/2, HL = (a − b + c − d)/2, LH = (a + b − c −
    d)/2 and HH = (a − b − c + d)/2. W is a 1 x 1 convolution from their 4·C channels to C, and N batch normalisation.
    No information is lost before the convolution. Blocks begin at the map's first position; where one reaches beyond
    the map, the last value is repeated.

    Bands and mixture are computed together, as one convolution of the map with stride 2.

    Args:
        kernel_size, stride, padding: 2, 2 and 0, or 3, 2 and 1: of either the transform takes the number of outputs.
        ceil_mode, implementation: see `WindowPool2d`; a convolution is torch's own in both cases.
        channels: number of channels in and out.

    Parameters: 4·C² + 2·C.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Xu et al., Haar Wavelet Downsampling: A Simple but Effective Downsampling Module for Semantic Segmentation
    (2023). The published code has no licence, so this is written from the formula alone; a map of odd size it extends
    with zeros, here with the last value. Weights are initialised as in `nn.Conv2d`, without a bias, which the
    normalisation would remove.

    >>> pool = HaarWaveletPool2d(2, channels=1).eval()
    >>> with torch.no_grad():
    ...     _ = pool.mix.weight.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 4, 1, 1))
    >>> pool(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).round(decimals=3).item()  # LL, before learning
    6.0
    """

    small_maps: ClassVar[str] = "a convolution and a batch normalisation"
    keeps_constants: ClassVar[bool] = False
    keeps_range: ClassVar[bool] = False
    sees_batch: ClassVar[bool] = True
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
        channels: int,
        implementation: str = "fast",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        check_axes(self)
        count = whole_number("channels", channels)
        self.mix = nn.Conv2d(count * math.prod(self.stride), count, 1, bias=False)
        self.norm = BatchNorm(count)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        sizes = x_BCHW.shape[-2:]
        shape = self.output_shape(sizes[0], sizes[1])
        more = [(0, shape[axis] * self.stride[axis] - sizes[axis]) for axis in (0, 1)]
        x = pad(upcast(x_BCHW), more[0], more[1], "replicate")
        y_BCHW = F.conv2d(x, self.filters(x.dtype), stride=self.stride)
        # Autocast makes it narrower than the map, which is then for what follows.
        like = y_BCHW if y_BCHW.element_size() < x_BCHW.element_size() else x_BCHW
        return match_input(like, F.relu(self.norm(y_BCHW)))

    def filters(self, dtype: torch.dtype) -> Tensor:
        """Return the convolution of the map that bands and mixture are, (C, C, s, s)."""
        weight = self.mix.weight.to(dtype)
        high, wide = (_haar(stride, weight) for stride in self.stride)
        bands = torch.einsum("pi,qj->pqij", high, wide).flatten(0, 1)  # LL, HL, LH, HH
        return torch.einsum("opc,pij->ocij", weight.view(len(weight), len(bands), -1), bands)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2·s²·C for each result of the convolution, 2 to normalise it and 1 for its ReLU."""
        results = channels * math.prod(self.output_shape(height, width))
        return of_convolution(channels * math.prod(self.stride), results, bias=False) + 3 * results


class HaarWaveletPool1d(WindowPool1d, HaarWaveletPool2d):
    """`HaarWaveletPool2d` for sequences: the two bands (a + b)/√2 and (a − b)/√2.

    >>> HaarWaveletPool1d(2, channels=3)(torch.zeros(1, 3, 4)).shape
    torch.Size([1, 3, 2])
    """


def _haar(stride: int, like: Tensor) -> Tensor:
    """Return the filters of an axis, low band first; of one that is left alone, 1."""
    if stride == 1:
        return torch.ones(1, 1, dtype=like.dtype, device=like.device)
    one = torch.full((), math.sqrt(0.5), dtype=like.dtype, device=like.device)
    return torch.stack([torch.stack([one, one]), torch.stack([one, -one])])
