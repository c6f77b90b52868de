"""SimPool: one step of cross-attention from the map's mean."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.precision import upcast, without_autocast
from poolbench.pooling.bases.arguments import positive_number, whole_number
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.work import of_softmax

SHIFT = 1e-6


class SimPool2d(HeadPool2d):
    """A power mean over the positions of the map, weighted by their attention to a query made from the map's mean.

    With u_i the C values at position i and z_i = LayerNorm(u_i): the query is W_q · mean(u), the keys W_k · z_i, the
    weights a = softmax_i(query · key_i / √d), the values v_i = z_i − min z + 1e-6, the minimum over the whole image; y
    = (Σ_i a_i v_i^γ)^(1/γ), or without γ: y = Σ_i a_i z_i. With several heads query, keys and values are divided into
    as many groups of d = C / heads channels. In float32 values up to 10¹⁸ do not overflow.

    Args:
        channels: number of channels of the map.
        heads: how many groups, a divisor of `channels`.
        gamma: γ, the power; null for the weighted mean. The authors recommend 2 for convolutional networks.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C). Parameters: 2·C² + 2·C (W_q, W_k without bias; scale and shift of the LayerNorm).

    Raises:
        ValueError: an argument breaks its rule.

    Source: Psomas et al., Keep It SimPool: Who Said Supervised Transformers Suffer from Attention Deficit? (2023),
    and the authors' code, whose minimum is over the whole batch: there an image's features depend on the others'.
    Here it is over the image, a deviation. The weights are initialised as in `nn.Linear`; the code does not say.

    >>> SimPool2d(channels=3)(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3])
    """

    small_maps: ClassVar[str] = "products of matrices"
    keeps_constants = False

    def __init__(
        self, channels: int, heads: int = 1, gamma: float | None = 2.0, *, implementation: str = "fast"
    ) -> None:
        super().__init__(implementation=implementation)
        if whole_number("channels", channels) % whole_number("heads", heads):
            raise ValueError(f"`heads` must divide the number of channels, {channels}, got {heads}")
        self.heads = heads
        self.gamma = None if gamma is None else positive_number("gamma", gamma)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        with without_autocast(x_BCHW):
            return self._attend(x_BCHW).to(x_BCHW.dtype)

    def _attend(self, x_BCHW: Tensor) -> Tensor:
        """Return the features (B, C), in float32 at least."""
        u_BNC = upcast(x_BCHW).flatten(2).transpose(1, 2)
        dtype, norm = u_BNC.dtype, self.norm
        z_BNC = F.layer_norm(u_BNC, norm.normalized_shape, norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)
        query_BK1D = self._groups(F.linear(u_BNC.mean(1, keepdim=True), self.query.weight.to(dtype)))
        key_BKND = self._groups(F.linear(z_BNC, self.key.weight.to(dtype)))
        scores_BK1N = torch.matmul(query_BK1D / query_BK1D.shape[-1] ** 0.5, key_BKND.transpose(2, 3))
        weights_BK1N = scores_BK1N.softmax(-1)
        if self.gamma is None:
            y_BK1D = torch.matmul(weights_BK1N, self._groups(z_BNC))
        else:
            v_BNC = z_BNC - z_BNC.amin((1, 2), keepdim=True) + SHIFT
            y_BK1D = torch.matmul(weights_BK1N, self._groups(v_BNC.pow(self.gamma))).pow(1 / self.gamma)
        return y_BK1D.flatten(1)

    def _groups(self, x_BNC: Tensor) -> Tensor:
        """Part the channels: (B, N, C) → (B, heads, N, C / heads)."""
        return x_BNC.unflatten(2, (self.heads, x_BNC.shape[2] // self.heads)).transpose(1, 2)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the operations of n positions: (7C + 3)·n to normalise, query, keys, weights, the weighted sum.

        Query: C·n for the mean, 2·C² for the product, C for the scale. Keys: 2·C²·n. Weights: 2·C·n for the scores and
        5n − 2 for each softmax. Weighted sum: 2·C·n; with γ 4·C·n more for minimum, difference, shift and power, and
        C for the root.
        """
        places, values = height * width, channels * height * width
        normal = (7 * channels + 3) * places
        query = values + 2 * channels**2 + channels
        weights = 2 * channels * values + 2 * values + self.heads * of_softmax(places)
        powers = 0 if self.gamma is None else 4 * values - 1 + channels
        return normal + query + weights + 2 * values + powers

    def extra_repr(self) -> str:
        """Show heads and γ."""
        return f"heads={self.heads}, gamma={self.gamma}"


class SimPool1d(HeadPool1d, SimPool2d):
    """`SimPool2d` of sequences (B, C, L)."""
