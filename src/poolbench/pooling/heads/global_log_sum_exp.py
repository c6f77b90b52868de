"""The logarithm of the mean exponential of the whole map."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window, log, sum_of
from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.arguments import positive_number
from poolbench.pooling.bases.by_windows import ByWindows
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.shared.means import divided
from poolbench.pooling.shared.parameters import check_per
from poolbench.pooling.windows.log_sum_exp import above_base


class _WindowLogSumExp(TapPool2d):
    """The same of a window, β given: a kernel serves every β, learned or not."""

    def params(self) -> Tensor:
        """Return a stand-in for β."""
        return torch.ones(1, 1)

    def formula(self, window: Window) -> Value:
        """Return (1/β) log(Σ e^(βx) / n), guarded as `GlobalLogSumExp2d` is."""
        beta = window.param(0)
        base, raised = above_base(window, beta)
        return base + log(divided(sum_of(raised), window)) / beta


class GlobalLogSumExp2d(HeadPool2d):
    """A smooth maximum of each channel's map: (1/β) log(Σ e^(βx) / n), with n = H·W.

    β → 0 is global average pooling, β → ∞ global max pooling. Because of the 1/n, a constant map gives its constant.

    Args:
        beta: β, or where it starts if it is learned.
        learned: whether β is learned, as exp(`log_beta`), so that it stays above 0.
        per: `"layer"` (one β) or `"channel"` (one for each channel), if it is learned.
        channels: number of channels, needed for `per="channel"`.
        implementation: see `HeadPool2d`.

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

    small_maps: ClassVar[str] = "an exponential of each value of the map, and its derivative"

    def __init__(
        self,
        beta: float = 1.0,
        learned: bool = False,
        per: str = "layer",
        channels: int | None = None,
        *,
        implementation: str = "fast",
    ) -> None:
        super().__init__(implementation=implementation)
        if not isinstance(learned, bool):
            raise ValueError(f"`learned` must be true or false, got {learned!r}")
        self.beta = positive_number("beta", beta)
        self.per = per
        if per != "layer" and not learned:
            raise ValueError(f"`per={per!r}` does nothing where β is not learned; give learned=True, or leave it out")
        count = check_per(per, channels)
        self.log_beta = nn.Parameter(torch.full((count,), math.log(self.beta))) if learned else None
        self.windows = ByWindows(_WindowLogSumExp)

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes this map, `"fast"` or `"torch"`, and for the latter why."""
        if self.implementation == "torch":
            return super().implementation_for(x_BCHW)
        why = self.windows.why_torch(x_BCHW, self.log_beta)
        return ("torch", why) if why else ("fast", "")

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        dtype = torch.promote_types(x_BCHW.dtype, torch.float32)
        beta_C = x_BCHW.new_full((1,), self.beta, dtype=dtype)
        if self.log_beta is not None:
            beta_C = self.log_beta.to(dtype).exp()
        if self.implementation_for(x_BCHW)[0] == "torch":
            x_BCN, share_N = x_BCHW.flatten(2), None
        else:
            x_BCN, share_N = self.windows(x_BCHW, beta_C)
            if x_BCN.shape[-1] == 1:
                return x_BCN.squeeze(-1).to(x_BCHW.dtype)
        return self._log_mean(upcast(x_BCN), share_N, beta_C.view(-1, 1)).to(x_BCHW.dtype)

    def _log_mean(self, x_BCN: Tensor, share_N: Tensor | None, beta_C1: Tensor) -> Tensor:
        """Return (1/β) log(mean e^(βx)), (B, C), where each number counts by its share; None: all alike."""
        # The formula holds for any number taken off first and put back, so the largest needs no gradient.
        largest_BC1 = x_BCN.detach().amax(-1, keepdim=True)
        base_BC1 = torch.where(largest_BC1.isfinite(), largest_BC1, 0.0)
        # A difference beyond the largest number would be -inf, and 0 · inf in the gradient of β.
        below_BCN = (x_BCN - base_BC1).clamp(min=torch.finfo(x_BCN.dtype).min)
        raised_BCN = (below_BCN * beta_C1).exp()
        if share_N is None:
            mean_BC1 = raised_BCN.mean(-1, keepdim=True)
        else:
            mean_BC1 = (raised_BCN * share_N).sum(-1, keepdim=True)
        y_BC1 = base_BC1 + mean_BC1.log() / beta_C1
        return y_BC1.squeeze(-1)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·(6n + 2) of n positions.

        For each value: its comparison for the largest, its difference from it, which is clamped, its product with β,
        the exponential, its share in the mean. The largest takes one less; logarithm, 1/β and sum are the last 3.
        """
        return channels * (6 * height * width + 2)

    def extra_repr(self) -> str:
        """Show β, or how many are learned and from where."""
        return f"beta={self.beta}" + ("" if self.log_beta is None else f", learned=True, per={self.per!r}")


class GlobalLogSumExp1d(HeadPool1d, GlobalLogSumExp2d):
    """`GlobalLogSumExp2d` of sequences (B, C, L)."""
