"""A random sketch of all products of two channels."""

import torch
from torch import Tensor

from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.head import HeadPool1d
from poolbench.pooling.heads.bilinear import BilinearPool2d


class CompactBilinearPool2d(BilinearPool2d):
    """The mean products of two channels, summed into F features by two random hashes: the tensor sketch.

    Feature f is the sum of s₁(a)·s₂(b)·(Σ_i x_a x_b / n) over all pairs of channels (a, b) with
    h₁(a) + h₂(b) ≡ f (mod F). Hashes h and signs s are drawn from torch's global generator when the head is built, and
    then fixed: they are buffers, stored in `state_dict`, and are not learned. The expectation of the scalar product of
    two sketches is that of the full products. In float32 values up to 10¹⁸ do not overflow.

    Args:
        channels: number of channels of the map.
        features: F, how many numbers. The source needs 2,000 to 8,000 for 512 channels.
        signed_sqrt: whether to take sign(z)·√|z| of each number.
        l2: whether to divide the features by their length.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, F).

    Raises:
        ValueError: an argument breaks its rule.

    Source: Gao, Beijbom, Zhang and Darrell, Compact Bilinear Pooling (2016), algorithm 2. There each position is
    sketched and convolved by Fourier transforms; here the products are first summed over the positions, which gives the
    same result without complex arithmetic and needs memory for C² numbers per image. The source takes the sum over
    positions, see `BilinearPool2d`.

    >>> CompactBilinearPool2d(channels=4, features=8)(torch.ones(2, 4, 3, 3)).shape
    torch.Size([2, 8])
    """

    hashes: Tensor
    signs: Tensor

    def __init__(
        self,
        channels: int,
        features: int = 1024,
        signed_sqrt: bool = True,
        l2: bool = True,
        *,
        implementation: str = "fast",
    ) -> None:
        super().__init__(signed_sqrt, l2, implementation=implementation)
        whole_number("channels", channels)
        self.features = whole_number("features", features)
        self.register_buffer("hashes", torch.randint(features, (2, channels)))
        self.register_buffer("signs", (torch.randint(2, (2, channels)) * 2 - 1).to(torch.int8))

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, F)."""
        products_BP = self.products(x_BCHW)
        place_P = ((self.hashes[0, :, None] + self.hashes[1]) % self.features).flatten()
        sign_P = (self.signs[0, :, None] * self.signs[1]).flatten()
        sketch_BF = products_BP.new_zeros(products_BP.shape[0], self.features)
        sketch_BF = sketch_BF.scatter_add(1, place_P.expand_as(products_BP), products_BP * sign_P)
        return self.finished(sketch_BF).to(x_BCHW.dtype)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2·C²·n + C² for the mean products of n positions, 2·C² to sketch them, and what finishing F takes."""
        return channels**2 * (2 * height * width + 3) + self.finishing(self.features)

    def features_of(self, channels: int) -> int:
        """Return F."""
        return self.features

    def extra_repr(self) -> str:
        """Show the number of features and what follows the sketch."""
        return f"features={self.features}, {super().extra_repr()}"


class CompactBilinearPool1d(HeadPool1d, CompactBilinearPool2d):
    """`CompactBilinearPool2d` of sequences (B, C, L)."""
