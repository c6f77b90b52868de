"""Mixtures of max and average pooling: a learned share, or one that is drawn."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window, propagate_nan, where
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import mean, share_of, window_max
from poolbench.pooling.shared.parameters import check_per


class MixedPool2d(TapPool2d):
    """A learned mixture of the maximum and the mean of each window: a·max(x) + (1 − a)·mean(x).

    a = sigmoid(`logit`) stays between 0 and 1 and starts at 0.5; one for the layer or one for each channel.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        per: `"layer"` (one parameter) or `"channel"` (one for each channel).
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Lee, Gallagher and Tu, Generalizing Pooling Functions in Convolutional Neural Networks: Mixed, Gated, and
    Tree (2016), equation 1. There a is a free number; the sigmoid, which keeps the mixture convex, is a deviation.
    A patent filing of the authors' university is reported (UCSD SD2016-053; second-hand, not verified here).

    >>> MixedPool2d(2)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item()  # half of 4 and half of 2.5
    3.25
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
        per: str = "layer",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.per = per
        self.logit = nn.Parameter(torch.zeros(check_per(per, channels)))
        self.trace()

    def learned_number(self) -> Tensor:
        """Return the logit of a."""
        return self.logit

    def formula(self, window: Window) -> Value:
        """Return a·max + (1 − a)·mean, which is NaN where a value is: the mean is."""
        of_max = share_of(window.param(0))
        return of_max * window_max(window) + (1.0 - of_max) * mean(window)

    def extra_repr(self) -> str:
        """Show the geometry and how many shares are learned."""
        return f"{super().extra_repr()}, per={self.per!r}"


class MixedPool1d(WindowPool1d, MixedPool2d):
    """`MixedPool2d` for sequences.

    >>> MixedPool1d(2)(torch.tensor([[[1.0, 2.0]]])).tolist()
    [[[1.75]]]
    """


class RandomMixedPool2d(TapPool2d):
    """Maximum or mean of each window, drawn with equal chances in training: λ·max(x) + (1 − λ)·mean(x), λ ∈ {0, 1}.

    In evaluation λ is its expectation, ½. Every window is drawn independently.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.

    Source: Yu, Wang, Chen and Wei, Mixed Pooling for Convolutional Neural Networks (2014), second-hand. There the
    evaluation uses, for each layer, the one that was drawn more often in training; the expectation is a deviation.

    >>> RandomMixedPool2d(2).eval()(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item()  # half of 4 and half of 2.5
    3.25
    """

    is_random: ClassVar[bool] = True

    def formula(self, window: Window) -> Value:
        """Return maximum or mean; in evaluation the mean of both."""
        largest, average = window_max(window), mean(window)
        if self.training:
            return propagate_nan(where(window.uniform() < 0.5, largest, average), window)
        return (largest + average) * 0.5


class RandomMixedPool1d(WindowPool1d, RandomMixedPool2d):
    """`RandomMixedPool2d` for sequences.

    >>> RandomMixedPool1d(2).eval()(torch.tensor([[[1.0, 2.0]]])).tolist()
    [[[1.75]]]
    """
