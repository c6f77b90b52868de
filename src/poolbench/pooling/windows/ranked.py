"""Poolings that weigh the values of a window by their rank."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window, propagate_nan, sum_of, where, with_gradient_of
from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.arguments import is_number
from poolbench.pooling.bases.by_rank import Ranked, RankedPool2d, by_weight, numbers
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import weighted
from poolbench.pooling.shared.parameters import check_per
from poolbench.pooling.shared.ranks import existing, largest, median, sorted_descending


def check_alpha(alpha: float) -> float:
    """Return α, the chance of the first rank.

    Raises:
        ValueError: it is not in (0, 1).
    """
    if not is_number(alpha) or not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be above 0 and below 1, got {alpha!r}")
    return float(alpha)


def geometric(alpha: float, count: int) -> list[float]:
    """Return α(1 − α)^(r−1) for the ranks 1 to `count`.

    >>> geometric(0.5, 3)
    [0.5, 0.25, 0.125]
    """
    return [alpha * (1 - alpha) ** rank for rank in range(count)]


def by_rank(window: Window, ranked: Sequence[Value], weights: Sequence[Value], *, normalize: bool) -> Value:
    """Return Σ w_r x_(r) over the ranks that there are, divided by Σ w_r if asked for."""
    result = weighted(existing(ranked, window), weights)
    if normalize:
        result = result / sum_of(existing(weights, window))
    # A comparison with NaN moves nothing, so it has a rank, and the sum is NaN; but it may have one beyond the count.
    return result if window.valid is None else propagate_nan(result, window)


class RankWeightedPool2d(RankedPool2d):
    """A sum weighted by rank: Σ_r α(1 − α)^(r−1) x₍ᵣ₎, where x₍₁₎ ≥ x₍₂₎ ≥ … are the window's values.

    As in the source, the weights are not normalised: they sum to 1 − (1 − α)^n, slightly below 1 (0.9375 for a 2×2
    window and α = ½), and to less at a border. `normalize=True` divides by their sum. α → 1 is max pooling.

    The gradient of a value is its weight; equal values take their ranks in row-major order. The sort is a network of
    comparisons; the derivative compares each pair of values, so its work grows with n².

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        alpha: α, above 0 and below 1.
        normalize: whether the weights are divided by their sum.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Shi, Ye and Wu, Rank-based pooling for deep convolutional neural networks, Neural Networks 83 (2016),
    rank-based weighted pooling.

    >>> import torch
    >>> RankWeightedPool2d(2)(torch.tensor([[[[8.0, 4.0], [0.0, 16.0]]]])).item()  # 16/2 + 8/4 + 4/8 + 0/16
    10.5
    """

    keeps_constants: ClassVar[bool] = False
    keeps_range: ClassVar[bool] = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        alpha: float = 0.5,
        normalize: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.alpha = check_alpha(alpha)
        if not isinstance(normalize, bool):
            raise ValueError(f"`normalize` must be true or false, got {normalize!r}")
        self.normalize = normalize
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return Σ α(1 − α)^(r−1) x₍ᵣ₎."""
        weights = [window.graph.const(weight) for weight in geometric(self.alpha, window.size)]
        # The same sum, each value times the weight of its own rank: α, and 1 − α for each value before it.
        shares = [window.graph.const(self.alpha)] * window.size
        # Outside the map nothing is before anything, and everything is before it: a −∞ of the map, too.
        values, others = window.masked_fill(math.nan), window.masked_fill(-math.inf)
        for later in range(window.size):
            for earlier in range(later):
                before = values[earlier] >= others[later]
                first, second = shares[earlier], shares[later]
                shares[earlier] = where(before, first, first * (1 - self.alpha))
                shares[later] = where(before, second * (1 - self.alpha), second)
        same = weighted(window.masked_fill(0.0), shares)
        if self.normalize:
            same = same / sum_of(existing(weights, window))
        ranked = sorted_descending(others)  # of equal values it does not matter which comes first
        return with_gradient_of(by_rank(window, ranked, weights, normalize=self.normalize), same)

    def of_ranked(self, ranked: Ranked, params_PC: Tensor | None, uniform_BCHW: Tensor | None) -> Tensor:
        """Return Σ α(1 − α)^(r−1) x₍ᵣ₎."""
        weights = numbers(geometric(self.alpha, self.window_size), ranked.values)
        return by_weight(ranked, weights, normalize=self.normalize)

    def extra_repr(self) -> str:
        """Show the geometry and the weights."""
        return f"{super().extra_repr()}, alpha={self.alpha}, normalize={self.normalize}"


class RankWeightedPool1d(WindowPool1d, RankWeightedPool2d):
    """`RankWeightedPool2d` for sequences.

    >>> import torch
    >>> RankWeightedPool1d(2)(torch.tensor([[[4.0, 8.0]]])).tolist()
    [[[5.0]]]
    """


class OrdinalPool2d(RankedPool2d):
    """A learned mean by rank: Σ_r w_r x₍ᵣ₎, w = softmax(`logit`), where x₍₁₎ ≥ x₍₂₎ ≥ … are the window's values.

    Starts as average pooling (all logits 0); max, min and median pooling are limits. At a border, the weights of the
    existing ranks are divided by their sum. Equal values take their ranks in row-major order.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        per: `"channel"` as in the source, or `"layer"`.
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Deliège, Istasse, Kumar, De Vleeschouwer and Van Droogenbroeck, Ordinal Pooling (2021); Kumar, Ordinal
    Pooling Networks (2018). There the weights are projected to be positive and to sum to 1 after each step; the softmax
    is a smooth form of it and a deviation.

    >>> OrdinalPool2d(2, per="layer")(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item()
    3.0
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
        per: str = "channel",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.per = per
        self.logit = nn.Parameter(torch.zeros(self.window_size, check_per(per, channels)))
        self.trace()

    def params(self) -> Tensor:
        """Return w, rank by rank."""
        return upcast(self.logit).softmax(0)

    def formula(self, window: Window) -> Value:
        """Return Σ w_r x₍ᵣ₎."""
        weights = [window.param(rank) for rank in range(window.size)]
        return by_rank(window, largest(window, window.size), weights, normalize=window.valid is not None)

    def of_ranked(self, ranked: Ranked, params_PC: Tensor | None, uniform_BCHW: Tensor | None) -> Tensor:
        """Return Σ w_r x₍ᵣ₎."""
        assert params_PC is not None
        weights_C11N = params_PC.to(ranked.values.dtype).T[:, None, None, :]
        return by_weight(ranked, weights_C11N, normalize=True)  # they sum to 1 where there are all

    def extra_repr(self) -> str:
        """Show the geometry and how many weights are learned."""
        return f"{super().extra_repr()}, per={self.per!r}"


class OrdinalPool1d(WindowPool1d, OrdinalPool2d):
    """`OrdinalPool2d` for sequences.

    >>> OrdinalPool1d(2, per="layer")(torch.tensor([[[1.0, 2.0]]])).tolist()
    [[[1.5]]]
    """


class RankStochasticPool2d(RankedPool2d):
    """One value, drawn by its rank in training: x₍ᵣ₎ with a chance proportional to α(1 − α)^(r−1).

    In evaluation its expectation. The probabilities are divided by their sum, 1 − (1 − α)^n; the source does not say
    what happens with the remainder.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        alpha: α, above 0 and below 1.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Shi, Ye and Wu (2016), rank-based stochastic pooling; see `RankWeightedPool2d`.

    >>> import torch
    >>> RankStochasticPool2d(2).eval()(torch.tensor([[[[8.0, 4.0], [0.0, 16.0]]]])).item()  # 10.5 / 0.9375
    11.199999809265137
    """

    is_random: ClassVar[bool] = True

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        alpha: float = 0.5,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.alpha = check_alpha(alpha)
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return the drawn value; in evaluation the mean by chance."""
        chances = [window.graph.const(chance) for chance in geometric(self.alpha, window.size)]
        if not self.training:
            return by_rank(window, largest(window, window.size), chances, normalize=True)
        values = largest(window, window.size)
        there = existing(chances, window)
        sums = [sum_of(there[: rank + 1]) for rank in range(window.size)]
        drawn = window.uniform() * sums[-1]
        result = values[-1]
        for value, reached in zip(reversed(values[:-1]), reversed(sums[:-1]), strict=True):
            result = where(reached > drawn, value, result)
        return propagate_nan(result, window)

    def of_ranked(self, ranked: Ranked, params_PC: Tensor | None, uniform_BCHW: Tensor | None) -> Tensor:
        """Return the drawn value; in evaluation the mean by chance."""
        chances = numbers(geometric(self.alpha, self.window_size), ranked.values)
        if uniform_BCHW is None:
            return by_weight(ranked, chances, normalize=True)
        sums = ranked.existing(chances).cumsum(-1)
        drawn = uniform_BCHW.unsqueeze(-1) * sums[..., -1:]
        # The first rank at which the sum exceeds what was drawn.
        return ranked.marked(ranked.at((sums <= drawn).sum(-1, keepdim=True).clamp(max=self.window_size - 1)))

    def extra_repr(self) -> str:
        """Show the geometry and α."""
        return f"{super().extra_repr()}, alpha={self.alpha}"


class RankStochasticPool1d(WindowPool1d, RankStochasticPool2d):
    """`RankStochasticPool2d` for sequences.

    >>> import torch
    >>> RankStochasticPool1d(2).eval()(torch.tensor([[[3.0, 6.0]]])).tolist()
    [[[5.0]]]
    """


class MedianPool2d(RankedPool2d):
    """The median of each window; of an even number of values the mean of the two in the middle.

    Equal values take their ranks in row-major order, and the gradient goes to the one or two in the middle.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.

    >>> import torch
    >>> MedianPool2d(2)(torch.tensor([[[[1.0, 2.0], [4.0, 9.0]]]])).item()  # (2 + 4) / 2
    3.0
    """

    def formula(self, window: Window) -> Value:
        """Return the median."""
        return propagate_nan(median(window, largest(window, self.ranks)), window)

    @property
    def ranks(self) -> int:
        """How many of the largest values the formula asks for."""
        return self.window_size // 2 + 1

    def of_ranked(self, ranked: Ranked, params_PC: Tensor | None, uniform_BCHW: Tensor | None) -> Tensor:
        """Return the median."""
        upper, lower = ranked.at((ranked.count - 1) // 2), ranked.at(ranked.count // 2)
        is_odd = ranked.count.squeeze(-1) % 2 == 1
        return ranked.marked(torch.where(is_odd, upper, (upper + lower) * 0.5))


class MedianPool1d(WindowPool1d, MedianPool2d):
    """`MedianPool2d` for sequences.

    >>> import torch
    >>> MedianPool1d(3)(torch.tensor([[[1.0, 7.0, 2.0]]])).tolist()
    [[[2.0]]]
    """
