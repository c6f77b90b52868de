"""The square root of the channels' covariance over the map."""

import torch
from torch import Tensor

from poolbench.kernels.precision import upcast, without_autocast
from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d


class SecondOrderPool2d(HeadPool2d):
    """The upper triangle of the matrix square root of the channels' covariance over the map's positions.

    Σ = Σ_i (x_i − m)(x_i − m)ᵀ / n with m the mean over the n positions. The root is computed by the Newton–Schulz
    iteration: Y = Σ / tr Σ and Z = I at first; T = (3·I − Z·Y) / 2, Y ← Y·T, Z ← T·Z; at the end √(tr Σ) · Y ≈ Σ^(1/2).
    Small eigenvalues would need more steps: their roots come out too small, which is part of the operator.

    A map that is constant in each channel has no covariance and gives 0.

    Args:
        iterations: how many steps; 0 leaves the covariance as it is.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C·(C + 1)/2), row by row.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Li, Xie, Wang and Gao, Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix
    Square Root Normalization (2018), iSQRT-COV, and the authors' code (5 steps in the paper, from memory; 3 by the
    code's default); it goes back to Li et al., Is Second-order Information Helpful for Large-scale Visual
    Recognition? (2017), MPN-COV. Deviation: the preceding 1x1 convolution to fewer channels is left out.

    In float32 values up to 10¹⁸ do not overflow.

    >>> SecondOrderPool2d(iterations=0)(torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]])).tolist()
    [[1.0, 2.0, 4.0]]
    """

    keeps_constants = False

    def __init__(self, iterations: int = 5, *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        self.iterations = whole_number("iterations", iterations, least=0)

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C·(C + 1)/2)."""
        x_BCN = upcast(x_BCHW).flatten(2)
        apart_BCN = x_BCN - x_BCN.mean(-1, keepdim=True)
        with without_autocast(x_BCN):
            y_BCC = torch.matmul(apart_BCN, apart_BCN.transpose(1, 2)) / x_BCN.shape[2]
            if self.iterations:
                y_BCC = self.root(y_BCC)
        channels = x_BCN.shape[1]
        row, column = torch.triu_indices(channels, channels, device=x_BCN.device)
        return y_BCC.flatten(1).index_select(1, row * channels + column).to(x_BCHW.dtype)

    def root(self, covariance_BCC: Tensor) -> Tensor:
        """Return the square root after `iterations` steps."""
        one = torch.eye(covariance_BCC.shape[-1], dtype=covariance_BCC.dtype, device=covariance_BCC.device)
        three = 3 * one
        trace_B11 = (covariance_BCC * one).sum((1, 2), keepdim=True)
        # Without covariance nothing needs a scale, and 0 has no slope for its root.
        scale_B11 = torch.where(trace_B11 == 0, torch.ones_like(trace_B11), trace_B11)
        y_BCC = covariance_BCC / scale_B11
        step_BCC = (three - y_BCC) / 2
        y_BCC, z_BCC = torch.matmul(y_BCC, step_BCC), step_BCC
        for _ in range(self.iterations - 1):
            step_BCC = (three - torch.matmul(z_BCC, y_BCC)) / 2
            y_BCC, z_BCC = torch.matmul(y_BCC, step_BCC), torch.matmul(step_BCC, z_BCC)
        return scale_B11.sqrt() * y_BCC

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2·C·n to centre n places, 2·C²·n + C² for the covariance, and what its root takes.

        The root: 5·C² for trace, scale, first step, and 2·C³ for that; 6·C³ + 2·C² for each step after it; C² for the
        scale at the end.
        """
        places, square, cube = height * width, channels**2, channels**3
        covariance = 2 * channels * places + square * (2 * places + 1)
        if not self.iterations:
            return covariance
        return covariance + 6 * square + 1 + 2 * cube + (self.iterations - 1) * (6 * cube + 2 * square)

    def features_of(self, channels: int) -> int:
        """Return C·(C + 1)/2."""
        return channels * (channels + 1) // 2

    def extra_repr(self) -> str:
        """Show the number of steps."""
        return f"iterations={self.iterations}"


class SecondOrderPool1d(HeadPool1d, SecondOrderPool2d):
    """`SecondOrderPool2d` of sequences (B, C, L)."""
