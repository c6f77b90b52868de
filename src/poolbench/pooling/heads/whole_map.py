"""Heads that take one number, or two, from each channel's whole map."""

import torch
from torch import Tensor

from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d


class GlobalAvgPool2d(HeadPool2d):
    """The mean of each channel's map: (B, C, H, W) → (B, C).

    Source: Lin, Chen and Yan, Network In Network (2014), section 3.2; here a classifier may follow.

    >>> GlobalAvgPool2d()(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[3.0]]
    """

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        return x_BCHW.mean((2, 3))

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·n of n positions: n − 1 additions and a division."""
        return channels * height * width


class GlobalMaxPool2d(HeadPool2d):
    """The largest value of each channel's map: (B, C, H, W) → (B, C).

    Equal largest values share the gradient.

    >>> GlobalMaxPool2d()(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[6.0]]
    """

    def selects(self, height: int, width: int) -> bool:
        """Return True: every feature is a value of the map."""
        return True

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        return x_BCHW.amax((2, 3))

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·(n − 1) of n positions."""
        return channels * (height * width - 1)


class AvgMaxConcat2d(HeadPool2d):
    """The means of all channels, then their largest values: (B, C, H, W) → (B, 2C).

    >>> AvgMaxConcat2d()(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[3.0, 6.0]]
    """

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, 2C)."""
        return torch.cat([x_BCHW.mean((2, 3)), x_BCHW.amax((2, 3))], dim=1)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·(2n − 1) of n positions."""
        return channels * (2 * height * width - 1)

    def features_of(self, channels: int) -> int:
        """Return 2C."""
        return 2 * channels


class GlobalAvgPool1d(HeadPool1d, GlobalAvgPool2d):
    """The mean of each channel's sequence: (B, C, L) → (B, C)."""


class GlobalMaxPool1d(HeadPool1d, GlobalMaxPool2d):
    """The largest value of each channel's sequence: (B, C, L) → (B, C)."""


class AvgMaxConcat1d(HeadPool1d, AvgMaxConcat2d):
    """The means of all channels, then their largest values: (B, C, L) → (B, 2C)."""
