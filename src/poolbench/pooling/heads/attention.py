"""A mean over the positions of the map, weighted by a learned query."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.precision import upcast, without_autocast
from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.work import of_softmax


class AttentionPool2d(HeadPool2d):
    """A mean over the positions of the map, weighted by their attention to a learned query.

    With x_i the C values at position i: y = Σ_i a_i x_i, a = softmax_i(q·x_i / √C). With several heads the channels are
    divided into as many groups; each group has its own query, which reads all channels, and its own weights.

    The queries start at 0, which is global average pooling.

    Args:
        channels: number of channels of the map.
        heads: how many groups, a divisor of `channels`.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C). Parameters: heads · C.

    Raises:
        ValueError: an argument breaks its rule.

    Source: the pooling by multihead attention of Lee et al., Set Transformer (2019), section 3.2, with one seed, and
    the attention pooling of Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning (2018), both
    from memory, not re-read. Deviations: the projections of the values and of the result, and the layers after the
    attention, are left out. A projection of the keys would change nothing, since it can be absorbed by the learned
    query.

    >>> head = AttentionPool2d(channels=2)
    >>> head(torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]])).tolist()  # before training: the means
    [[2.0, 2.0]]
    """

    small_maps: ClassVar[str] = "products of matrices"

    def __init__(self, channels: int, heads: int = 1, *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        if whole_number("channels", channels) % whole_number("heads", heads):
            raise ValueError(f"`heads` must divide the number of channels, {channels}, got {heads}")
        self.heads = heads
        self.query = nn.Parameter(torch.zeros(heads, channels))

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        return self.attend(x_BCHW)[0]

    def attend(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (B, C) and the weights (B, heads, H·W)."""
        x_BCN = upcast(x_BCHW).flatten(2)
        channels = self.query.shape[1]
        with without_autocast(x_BCN):
            scores_BKN = torch.matmul(self.query.to(x_BCN.dtype) / channels**0.5, x_BCN)
            weights_BKN = scores_BKN.softmax(-1)
            groups_BKDN = x_BCN.unflatten(1, (self.heads, channels // self.heads))
            y_BKD = torch.matmul(groups_BKDN, weights_BKN.unsqueeze(-1)).squeeze(-1)
        return y_BKD.flatten(1).to(x_BCHW.dtype), weights_BKN

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2·heads·C·n for the scores of n positions, 5n − 2 for each softmax, 2·C·n for the weighted sums."""
        places = height * width
        return 2 * (self.heads + 1) * channels * places + self.heads * of_softmax(places)

    def extra_repr(self) -> str:
        """Show the number of heads."""
        return f"channels={self.query.shape[1]}, heads={self.heads}"


class AttentionPool1d(HeadPool1d, AttentionPool2d):
    """`AttentionPool2d` of sequences (B, C, L)."""
