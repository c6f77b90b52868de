"""Mean and standard deviation over the positions of the map, concatenated."""

import torch
from torch import Tensor, nn

from poolbench.kernels.precision import upcast, without_autocast
from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.work import of_convolution, of_softmax

HIDDEN = 64


class StatisticsPool2d(HeadPool2d):
    """The mean and the standard deviation of each channel over the map's positions, all means first.

    μ = Σ_i a_i x_i and σ = √(Σ_i a_i (x_i − μ)²), with a_i = 1/n over n positions. With `attentive=True` the positions
    have learned weights, the same for all channels: a = softmax_i(v·ReLU(W x_i + b)), W with `hidden` rows. v starts at
    0, which gives 1/n for each position.

    If all values of a channel are equal, σ is 0, and its gradient is defined as 0. In float32 results and gradients are
    finite where n times the channel's largest absolute value is.

    Args:
        attentive: whether places have learned weights.
        hidden: rows of W, 64 if left out; without `attentive` there is no W, and it stays None.
        channels: number of channels, needed for `attentive=True`.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, 2·C). Parameters: none; (C + 2) · hidden if attentive.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Snyder et al., X-Vectors: Robust DNN Embeddings for Speaker Recognition (2018), from memory; the attentive
    form Okabe, Koshinaka and Shinoda, Attentive Statistics Pooling for Deep Speaker Embedding (2018), whose abstract
    was read, equations from memory: there a constant is added to each position's score, which has no effect on the
    softmax. Both pool over time, here over the positions of a map.

    >>> StatisticsPool2d()(torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]])).tolist()
    [[2.0, 2.0, 1.0, 2.0]]
    """

    keeps_constants = False

    def __init__(
        self,
        attentive: bool = False,
        hidden: int | None = None,
        channels: int | None = None,
        *,
        implementation: str = "fast",
    ) -> None:
        super().__init__(implementation=implementation)
        if not isinstance(attentive, bool):
            raise ValueError(f"`attentive` must be true or false, got {attentive!r}")
        self.attentive = attentive
        if not attentive:
            if hidden is not None:
                raise ValueError(f"`hidden` does nothing for `attentive=False`; leave it out, got {hidden!r}")
            return
        if channels is None:
            raise ValueError("`channels` must be the number of channels for attentive=True, got None")
        rows = HIDDEN if hidden is None else whole_number("hidden", hidden)
        self.hidden = nn.Linear(whole_number("channels", channels), rows)
        self.score = nn.Parameter(torch.zeros(rows))

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, 2·C)."""
        x_BCN = upcast(x_BCHW).flatten(2)
        weight_B1N = self.weights(x_BCN) if self.attentive else None
        mean_BC1 = _mean(x_BCN, weight_B1N)
        apart_BCN = x_BCN - mean_BC1
        # Divided by the largest difference, no square overflows; of none at all, the root has no slope.
        scale_BC1 = apart_BCN.detach().abs().amax(-1, keepdim=True)
        scale_BC1 = torch.where(scale_BC1 == 0, 1.0, scale_BC1)
        variance_BC1 = _mean((apart_BCN / scale_BC1).square(), weight_B1N)
        is_none_BC1 = variance_BC1 == 0
        root_BC1 = torch.where(is_none_BC1, 0.0, torch.where(is_none_BC1, 1.0, variance_BC1).sqrt())
        return torch.cat([mean_BC1, scale_BC1 * root_BC1], 1).squeeze(-1).to(x_BCHW.dtype)

    def weights(self, x_BCN: Tensor) -> Tensor:
        """Return the weight of each place, (B, 1, H·W)."""
        with without_autocast(x_BCN):
            weight, bias = self.hidden.weight.to(x_BCN.dtype), self.hidden.bias.to(x_BCN.dtype)
            hidden_BKN = (torch.matmul(weight, x_BCN) + bias.view(-1, 1)).relu()
            return torch.matmul(self.score.to(x_BCN.dtype).view(1, -1), hidden_BKN).softmax(-1)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·(7n + 2) of n positions; C·(9n) + what the weights take if attentive.

        For each value: its share in the mean, its difference from that, twice for its size, its comparison for the
        largest, its division, its square, its share in the mean of those. The largest takes one less; of each channel,
        two comparisons with 0, root and scale. With weights a share is a product and a sum, which takes one less.
        """
        places = height * width
        if not self.attentive:
            return channels * (8 * places + 3)
        rows = self.score.numel()
        hidden = of_convolution(channels, rows * places, bias=True) + rows * places
        scores = of_convolution(rows, places, bias=False) + of_softmax(places)
        return hidden + scores + channels * (10 * places + 1)

    def features_of(self, channels: int) -> int:
        """Return 2·C."""
        return 2 * channels

    def extra_repr(self) -> str:
        """Show the form."""
        return f"attentive={self.attentive}"


class StatisticsPool1d(HeadPool1d, StatisticsPool2d):
    """`StatisticsPool2d` of sequences (B, C, L)."""


def _mean(x_BCN: Tensor, weight_B1N: Tensor | None) -> Tensor:
    return x_BCN.mean(-1, keepdim=True) if weight_B1N is None else (x_BCN * weight_B1N).sum(-1, keepdim=True)
