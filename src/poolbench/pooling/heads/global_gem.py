"""The generalised mean of the whole map, with a learned exponent."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.arguments import positive_number
from poolbench.pooling.bases.by_windows import ByWindows
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.shared.parameters import PER, check_groups, check_per, group_of_channel
from poolbench.pooling.windows.power_means import PowerMeanPool2d


class GlobalGeMPool2d(HeadPool2d):
    """The generalised mean of each channel's map: (Σ max(x, ε)ᵖ / n)^(1/p), with n = H·W.

    p = 1 is global average pooling (of what is above ε), p → ∞ global max pooling. p is an unconstrained parameter with
    the initial value `p`; at 0 the formula is undefined.

    Args:
        p: where the learned exponent starts.
        eps: ε, which stands for every value below it; no gradient passes to these.
        per: `"layer"` (one exponent), `"channel"` (one for each channel) or `"group"` (one for each of `groups` groups
            of neighbouring channels).
        channels: number of channels, needed for `per="channel"` and `per="group"`.
        groups: how many groups G, at most one for each channel, for `per="group"`; else None. Channel c of C is in
            group ⌊c·G/C⌋.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C).

    Raises:
        ValueError: an argument breaks its rule.

    Source: Radenović, Tolias and Chum, Fine-tuning CNN Image Retrieval with No Human Annotation (2018), equation 3;
    start 3 and ε = 1e-6 by the authors' code. By groups it is Ko et al., Group Generalized Mean Pooling for Vision
    Transformer (2022), whose abstract was read, there over a transformer's tokens. Values are divided by the map's
    largest before the power, which does not change the result and avoids overflow. A kernel computes the means of
    windows, from which the mean of the map is computed. In float32 the gradient is finite where n times the channel's
    largest value is.

    >>> GlobalGeMPool2d(p=2.0)(torch.tensor([[[[1.0, 7.0], [1.0, 7.0]]]])).tolist()  # √((1 + 49 + 1 + 49) / 4)
    [[5.0]]
    """

    small_maps: ClassVar[str] = "a logarithm and a power of each value of the map, and their derivatives"
    domain = "positive"

    def __init__(
        self,
        p: float = 3.0,
        eps: float = 1e-6,
        per: str = "layer",
        channels: int | None = None,
        groups: int | None = None,
        *,
        implementation: str = "fast",
    ) -> None:
        super().__init__(implementation=implementation)
        self.eps = positive_number("eps", eps)
        self.per = per
        if per not in (*PER, "group"):
            raise ValueError(f"`per` must be 'layer', 'channel' or 'group', got {per!r}")
        if per != "group" and groups is not None:
            raise ValueError(f"`groups` does nothing for per={per!r}; leave it out, got {groups!r}")
        count = check_groups(groups, channels) if per == "group" else check_per(per, channels)
        self.channels = channels if per == "group" else None
        self.p = nn.Parameter(torch.full((count,), positive_number("p", p)))
        self.windows = ByWindows(PowerMeanPool2d, eps=self.eps)

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes this map, `"fast"` or `"torch"`, and for the latter why."""
        if self.implementation == "torch":
            return super().implementation_for(x_BCHW)
        why = self.windows.why_torch(x_BCHW, self.p)
        return ("torch", why) if why else ("fast", "")

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        if self.implementation_for(x_BCHW)[0] == "fast":
            return self._by_windows(x_BCHW).to(x_BCHW.dtype)
        x_BCN = upcast(x_BCHW).flatten(2).clamp(min=self.eps)
        scale_BC1 = self._scale(x_BCN)
        p_C = self.exponents().to(x_BCN.dtype)
        mean_BC = (x_BCN / scale_BC1).pow(p_C.view(-1, 1)).mean(-1)
        return (scale_BC1.squeeze(-1) * mean_BC.pow(1 / p_C)).to(x_BCHW.dtype)

    def exponents(self) -> Tensor:
        """Return p, one number or one for each channel."""
        if self.channels is None:
            return self.p
        return self.p.index_select(0, group_of_channel(len(self.p), self.channels, self.p.device))

    def _by_windows(self, x_BCHW: Tensor) -> Tensor:
        """Return the mean of the windows' means, each with its share; powers by logarithms, as torch's are slow."""
        learned = self.exponents()
        means_BCM, share_M = self.windows(x_BCHW, learned)
        if means_BCM.shape[-1] == 1:
            return means_BCM.squeeze(-1)
        p_C = upcast(learned)
        means_BCM = upcast(means_BCM)
        scale_BC1 = self._scale(means_BCM)
        raised_BCM = ((means_BCM / scale_BC1).log2() * p_C.view(-1, 1)).exp2()
        mean_BC = raised_BCM.mean(-1) if share_M is None else (raised_BCM * share_M).sum(-1)
        return scale_BC1.squeeze(-1) * (mean_BC.log2() / p_C).exp2()

    @staticmethod
    def _scale(x_BCN: Tensor) -> Tensor:
        """Return the largest of each channel, 1 for ∞. The formula holds for any scale, so it needs no gradient."""
        largest_BC1 = x_BCN.detach().amax(-1, keepdim=True)
        return torch.where(largest_BC1 <= torch.finfo(x_BCN.dtype).max, largest_BC1, 1.0)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·(5n + 1) of n positions.

        For each value: its comparisons with ε and for the largest, its division, its power, its share in the mean. The
        largest takes one less; root and scale are the last 2.
        """
        return channels * (5 * height * width + 1)

    def extra_repr(self) -> str:
        """Show ε and how many exponents are learned."""
        return f"eps={self.eps}, per={self.per!r}"


class GlobalGeMPool1d(HeadPool1d, GlobalGeMPool2d):
    """`GlobalGeMPool2d` of sequences (B, C, L)."""
