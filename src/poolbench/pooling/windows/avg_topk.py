"""The mean of the k largest values of each window."""

from collections.abc import Sequence

from torch import Tensor

from poolbench.kernels.graph import Value, Window, minimum, propagate_nan, sum_of, where
from poolbench.pooling.bases.arguments import is_whole
from poolbench.pooling.bases.by_rank import Ranked, RankedPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import mean
from poolbench.pooling.shared.ranks import largest


def check_k(k: int, kernel_size: int | Sequence[int], most: int) -> int:
    """Return k, a number of values of a window.

    Raises:
        ValueError: it is none.
    """
    if not is_whole(k) or not 1 <= k <= most:
        raise ValueError(f"`k` must be in 1..{most} for kernel_size={kernel_size}, got {k!r}")
    return int(k)


def top_mean(top: Sequence[Value], window: Window) -> Value:
    """Return the mean of the largest values, of as many as the window has; `top` as `largest` gives it."""
    if window.valid is None or len(top) == 1:  # of which every window has one
        return sum_of(top) * (1 / len(top))
    there = [where(window.count > float(rank), value, 0.0) for rank, value in enumerate(top)]
    return sum_of(there) / minimum(window.count, float(len(top)))


def mean_of_ranks(ranked: Ranked, k: int) -> Tensor:
    """Return the mean of the k largest values, of as many as a window has."""
    return ranked.values[..., :k].sum(-1) / ranked.count.clamp(max=k).squeeze(-1)


class AvgTopKPool2d(RankedPool2d):
    """The mean of the k largest values of each window: (x₍₁₎ + … + x₍ₖ₎) / k, where x₍₁₎ ≥ x₍₂₎ ≥ … are its values.

    k = 1 is max pooling, k = n (all values of the window) average pooling. Padding and positions beyond the end hold no
    values: at a border the mean is over min(k, number of values in the window). A NaN in the window gives NaN.

    The k values share the gradient equally. If several are equal to the k-th largest, the first in row-major order are
    taken until there are k, so the sum of the gradient is preserved.

    Half precision is summed in float32. The work grows with n·k.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        k: how many values, from 1 to kernel height · kernel width.

    Shapes: (B, C, H, W) → (B, C, H', W'), in the memory layout of the input.

    Raises:
        ValueError: `k` or the geometry breaks its rule.

    Source: Özdemir, Avg-topk: A new pooling method for convolutional neural networks (2023). The same operator is
    rank-based average pooling of Shi, Ye and Wu, Rank-based pooling for deep convolutional neural networks (2016).
    Özdemir's code has neither padding nor overlap; the rules for borders and ties are this library's.

    >>> import torch
    >>> AvgTopKPool2d(2, k=2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item()  # (6 + 3) / 2
    4.5
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        k: int,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.k = check_k(k, kernel_size, self.window_size)
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return the mean of the k largest values."""
        if self.k == window.size:
            return mean(window)
        return propagate_nan(top_mean(largest(window, self.k), window), window)

    @property
    def ranks(self) -> int:
        """How many of the largest values the formula asks for: of all of them it is the mean, which needs no ranks."""
        return self.k if self.k < self.window_size else 0

    def of_ranked(self, ranked: Ranked, params_PC: Tensor | None, uniform_BCHW: Tensor | None) -> Tensor:
        """Return the mean of the k largest values."""
        return ranked.marked(mean_of_ranks(ranked, self.k))

    def extra_repr(self) -> str:
        """Show the geometry and k."""
        return f"{super().extra_repr()}, k={self.k}"


class AvgTopKPool1d(WindowPool1d, AvgTopKPool2d):
    """`AvgTopKPool2d` for sequences.

    >>> import torch
    >>> AvgTopKPool1d(3, k=2)(torch.tensor([[[1.0, 2.0, 4.0]]])).tolist()
    [[[3.0]]]
    """
