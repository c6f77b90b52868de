"""All products of two channels, averaged over the map."""

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.precision import upcast, without_autocast
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.work import ABSOLUTE

# The exporter to ONNX takes a summand of 1e-8 or less for 0 and drops it.
NEAR_ZERO = 1e-7


def signed_root(x: Tensor) -> Tensor:
    """Return sign(x)·√|x|, as x / √(|x| + 1e-7): its slope at 0 is large instead of infinite.

    >>> [round(v, 3) for v in signed_root(torch.tensor([-4.0, 0.0, 9.0])).tolist()]
    [-2.0, 0.0, 3.0]
    """
    return x / (x.abs() + NEAR_ZERO).sqrt()


class BilinearPool2d(HeadPool2d):
    """The mean over the map's positions of all products of two channels: Σ_i x_i x_iᵀ / n, flattened.

    Then the signed square root of each number, then L2 normalisation of the whole, as in the source. In float32 values
    up to 10¹⁸ do not overflow.

    Args:
        signed_sqrt: whether to take sign(z)·√|z| of each number.
        l2: whether to divide the features by their length.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C²), row by row.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Lin, RoyChowdhury and Maji, Bilinear CNN Models for Fine-grained Visual Recognition (2015), section 3, for
    two equal streams. The source takes the sum, which after L2 normalisation is the same as the mean; without `l2` the
    mean is a deviation. The square root is smoothed at 0, see `signed_root`.

    >>> BilinearPool2d(signed_sqrt=False, l2=False)(torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])).tolist()
    [[5.0, 3.0, 3.0, 2.0]]
    """

    keeps_constants = False

    def __init__(self, signed_sqrt: bool = True, l2: bool = True, *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        for name, value in (("signed_sqrt", signed_sqrt), ("l2", l2)):
            if not isinstance(value, bool):
                raise ValueError(f"`{name}` must be true or false, got {value!r}")
        self.signed_sqrt, self.l2 = signed_sqrt, l2

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C²)."""
        return self.finished(self.products(x_BCHW)).to(x_BCHW.dtype)

    def products(self, x_BCHW: Tensor) -> Tensor:
        """Return the mean products (B, C²), in float32 at least."""
        x_BCN = upcast(x_BCHW).flatten(2)
        with without_autocast(x_BCN):
            return torch.matmul(x_BCN, x_BCN.transpose(1, 2)).flatten(1) / x_BCN.shape[2]

    def finished(self, z_BF: Tensor) -> Tensor:
        """Return the features after the root and the division by their length, where these are asked for."""
        if self.signed_sqrt:
            z_BF = signed_root(z_BF)
        return F.normalize(z_BF) if self.l2 else z_BF

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2·C²·n + C² for the mean products of n positions, and what finishing C² features takes."""
        return channels**2 * (2 * height * width + 1) + self.finishing(channels**2)

    def finishing(self, features: int) -> int:
        """Return 5 for each feature's signed root, and 3 for its part in the length and its division by that, and 1."""
        return (ABSOLUTE + 3) * features * self.signed_sqrt + (3 * features + 1) * self.l2

    def features_of(self, channels: int) -> int:
        """Return C²."""
        return channels**2

    def extra_repr(self) -> str:
        """Show what follows the products."""
        return f"signed_sqrt={self.signed_sqrt}, l2={self.l2}"


class BilinearPool1d(HeadPool1d, BilinearPool2d):
    """`BilinearPool2d` of sequences (B, C, L)."""
