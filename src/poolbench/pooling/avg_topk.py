"""The mean of the k largest values of each window."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.pooling.window import WindowPool2d


class AvgTopKPool2d(WindowPool2d):
    """stub until optimised."""

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        k: int,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        size = self.kernel_size[0] * self.kernel_size[1]
        if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= size:
            raise ValueError(f"`k` must be in 1..{size} for kernel_size={kernel_size}, got {k!r}")
        self.k = k

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        rows, columns = self.output_shape(*x_BCHW.shape[-2:])
        (kh, kw), (sh, sw), (ph, pw) = self.kernel_size, self.stride, self.padding
        h, w = x_BCHW.shape[-2:]
        below, right = max((rows - 1) * sh + kh - h - ph, 0), max((columns - 1) * sw + kw - w - pw, 0)
        x_BCHW = F.pad(x_BCHW, (pw, right, ph, below), value=float("-inf"))
        win = x_BCHW.unfold(2, kh, sh).unfold(3, kw, sw)[:, :, :rows, :columns].flatten(4)
        top = win.topk(self.k, -1).values
        real = top > float("-inf")
        return torch.where(real, top, 0).sum(-1) / real.sum(-1)
