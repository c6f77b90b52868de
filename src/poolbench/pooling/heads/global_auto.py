"""AutoPool of the whole map: a mean weighted by the exponential of each value, as steeply as is learned."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.shared.parameters import check_per


class GlobalAutoPool2d(HeadPool2d):
    """A mean over each channel's map, weighted by the exponential of each value: Σ x·e^(αx) / Σ e^(αx).

    α is learned, for each channel or for the layer, and starts at 0, which is global average pooling. α → ∞ is global
    max pooling, and α may be negative: α → −∞ is the minimum.

    Args:
        per: `"channel"` as in the source, or `"layer"`.
        channels: number of channels, needed for `per="channel"`.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C).

    Raises:
        ValueError: an argument breaks its rule.

    Source: McFee, Salamon and Bello, Adaptive Pooling Operators for Weakly Labeled Sound Event Detection (2018), and
    the authors' code. There it pools each class's probabilities over time; here the features of an image over its
    positions. Left out: the variants that keep α within bounds, or penalise large ones.

    >>> import math
    >>> head = GlobalAutoPool2d(per="layer")
    >>> _ = nn.init.constant_(head.alpha, math.log(3))
    >>> round(head(torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])).item(), 6)  # weights 1, 1, 3, 3
    0.75
    """

    small_maps: ClassVar[str] = "an exponential of each value of the map, and its derivative"

    def __init__(self, per: str = "channel", channels: int | None = None, *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        self.per = per
        self.alpha = nn.Parameter(torch.zeros(check_per(per, channels)))

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        x_BCN = upcast(x_BCHW).flatten(2)
        alpha_C1 = self.alpha.to(x_BCN.dtype).view(-1, 1)
        # The largest αx is that of the largest or the smallest x; taken off, it changes no result.
        known = x_BCN.detach()
        peak_BC1 = torch.where(alpha_C1 < 0, known.amin(-1, keepdim=True), known.amax(-1, keepdim=True))
        most = torch.finfo(x_BCN.dtype).max
        # A difference beyond the largest number would be infinite, and 0·∞ in the gradient of α.
        weight_BCN = ((x_BCN - peak_BC1).clamp(-most, most) * alpha_C1).exp()
        # The weights are divided, not their sum: that of x·e^(αx) may be too large.
        y_BC = (x_BCN * (weight_BCN / weight_BCN.sum(-1, keepdim=True))).sum(-1)
        return y_BC.to(x_BCHW.dtype)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·(11n − 4) of n positions.

        For each value: its comparisons for the largest and the smallest, its difference from that, which is kept within
        two bounds, its product with α, the exponential, the sum of these, its share, their product and the sum of
        those. The comparisons and the sums take one less each, of the four.
        """
        return channels * (11 * height * width - 4)

    def extra_repr(self) -> str:
        """Show how many steepnesses are learned."""
        return f"per={self.per!r}"


class GlobalAutoPool1d(HeadPool1d, GlobalAutoPool2d):
    """`GlobalAutoPool2d` of sequences (B, C, L)."""
