"""The maximum, or the mean of the largest values, as a threshold decides."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from poolbench.kernels.graph import Value, Window, propagate_nan, where
from poolbench.pooling.bases.arguments import is_number
from poolbench.pooling.bases.by_rank import Ranked, RankedPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.ranks import largest
from poolbench.pooling.windows.avg_topk import check_k, mean_of_ranks, top_mean

RULES = ("max", "all")


class TMaxAvgPool2d(RankedPool2d):
    """The maximum where it reaches a threshold T, else the mean of the k largest values of the window.

    `rule="max"`: max(x) if x₍₁₎ ≥ T; `rule="all"`: max(x) if x₍ₖ₎ ≥ T, that is if all of the k largest reach it. Else
    (x₍₁₎ + … + x₍ₖ₎) / k. T is on the scale of the activations and is not learned. Borders and ties are those of
    `AvgTopKPool2d`; at a border x₍ₖ₎ is the smallest of those there are.

    The result is discontinuous at T. So the export of a network may be refused: another program rounds differently,
    some window falls on the other side of T, and logits differ by more than rounding errors.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        k: how many values, from 1 to kernel height · kernel width.
        threshold: T, finite.
        rule: `"max"` or `"all"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Zhao and Zhang, A improved pooling method for convolutional neural networks, Scientific Reports 14, 1589
    (2024), k = 6 and T = 0.7 there. The abstract does not say which of the two is meant. `"max"` is the default: it is
    in code that others wrote for their comparisons. `"all"` is described by a later article (several comparisons with T
    per window). Both are second-hand.

    >>> import torch
    >>> TMaxAvgPool2d(2, k=2, threshold=5.0)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item()  # 6 ≥ 5
    6.0
    >>> TMaxAvgPool2d(2, k=2, threshold=5.0, rule="all")(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item()  # 3 < 5
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
        threshold: float = 0.7,
        rule: str = "max",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.k = check_k(k, kernel_size, self.window_size)
        if not is_number(threshold):
            raise ValueError(f"`threshold` must be a finite number, got {threshold!r}")
        if rule not in RULES:
            raise ValueError(f"`rule` must be 'max' or 'all', got {rule!r}")
        self.threshold, self.rule = float(threshold), rule
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return the maximum or the mean of the k largest values."""
        top = largest(window, self.k)
        reached = top[0] >= self.threshold
        if self.rule == "all":
            for rank, value in enumerate(top[1:], start=1):
                asked = value if window.valid is None else where(window.count > float(rank), value, math.inf)
                reached = reached & (asked >= self.threshold)
        return propagate_nan(where(reached, top[0], top_mean(top, window)), window)

    @property
    def ranks(self) -> int:
        """How many of the largest values the formula asks for."""
        return self.k

    def of_ranked(self, ranked: Ranked, params_PC: Tensor | None, uniform_BCHW: Tensor | None) -> Tensor:
        """Return the maximum or the mean of the k largest values."""
        largest = ranked.values[..., 0]
        asked = ranked.at(ranked.count.clamp(max=self.k) - 1) if self.rule == "all" else largest
        return ranked.marked(torch.where(asked >= self.threshold, largest, mean_of_ranks(ranked, self.k)))

    def extra_repr(self) -> str:
        """Show the geometry and the rule."""
        return f"{super().extra_repr()}, k={self.k}, threshold={self.threshold}, rule={self.rule!r}"


class TMaxAvgPool1d(WindowPool1d, TMaxAvgPool2d):
    """`TMaxAvgPool2d` for sequences.

    >>> import torch
    >>> TMaxAvgPool1d(3, k=2, threshold=5.0)(torch.tensor([[[1.0, 2.0, 4.0]]])).tolist()
    [[[3.0]]]
    """
