"""The logarithm of the mean exponential of the whole map."""

import math

import torch
from torch import Tensor, nn

from poolbench.pooling.head import HeadPool2d, positive_number
from poolbench.pooling.precision import widened
from poolbench.pooling.shares import check_per


class GlobalLogSumExp2d(HeadPool2d):
    """A smooth maximum of each channel's map: (1/β) log(Σ e^(βx) / n), with n = H·W.

    β → 0 is global average pooling, β → ∞ global max pooling. The 1/n keeps a constant map as it is.

    Args:
        beta: β, or where it starts if it is learned.
        learned: whether β is learned, as exp(`log_beta`), so that it stays above 0.
        per: `"layer"` (one β) or `"channel"` (one for each channel), if it is learned.
        channels: number of channels, needed for `per="channel"`.

    Shapes: (B, C, H, W) → (B, C).

    Raises:
        ValueError: an argument breaks its rule.

    Source: Lowe, Trappenberg and Oore, LogAvgExp Provides a Principled and Performant Global Pooling Operator (2021),
    where 1/β is a temperature; its abstract was read. Before that Pinheiro and Collobert, From Image-level to
    Pixel-level Labeling with Convolutional Networks (2015), second-hand.

    >>> y = GlobalLogSumExp2d()(torch.tensor([[[[0.0, math.log(3.0)]]]]))
    >>> round(y.item(), 4), round(math.log(2), 4)  # (1 + 3) / 2 = 2
    (0.6931, 0.6931)
    """

    def __init__(
        self, beta: float = 1.0, learned: bool = False, per: str = "layer", channels: int | None = None
    ) -> None:
        super().__init__()
        if not isinstance(learned, bool):
            raise ValueError(f"`learned` must be true or false, got {learned!r}")
        self.beta = positive_number("beta", beta)
        self.per = per
        count = check_per(per, channels)
        self.log_beta = nn.Parameter(torch.full((count,), math.log(self.beta))) if learned else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        x_BCN = widened(x_BCHW).flatten(2)
        beta: float | Tensor = self.beta
        if self.log_beta is not None:
            beta = self.log_beta.to(x_BCN.dtype).exp().view(-1, 1)
        # The formula holds for any number taken off first and put back, so the largest needs no gradient.
        largest_BC1 = x_BCN.detach().amax(-1, keepdim=True)
        base_BC1 = torch.where(largest_BC1.isfinite(), largest_BC1, 0.0)
        # A difference beyond the largest number would be -inf, and 0 · inf in the gradient of β.
        below_BCN = (x_BCN - base_BC1).clamp(min=torch.finfo(x_BCN.dtype).min)
        y_BC1 = base_BC1 + (below_BCN * beta).exp().mean(-1, keepdim=True).log() / beta
        return y_BC1.squeeze(-1).to(x_BCHW.dtype)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·(6n + 2) of n places.

        For each value: its comparison for the largest, its difference from it, which is clamped, its product with β,
        the exponential, its share in the mean. The largest takes one less; logarithm, 1/β and sum are the last 3.
        """
        return channels * (6 * height * width + 2)

    def extra_repr(self) -> str:
        """Show β, or how many are learned and from where."""
        return f"beta={self.beta}" + ("" if self.log_beta is None else f", learned=True, per={self.per!r}")
