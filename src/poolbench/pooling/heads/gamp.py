"""The mean of the k largest values of the whole map."""

import torch
from torch import Tensor

from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.head import HeadPool2d
from poolbench.pooling.bases.work import of_sort


class GAMPPool2d(HeadPool2d):
    """The mean of the k largest values of each channel's map: (x₍₁₎ + … + x₍ₖ₎) / k, where x₍₁₎ ≥ x₍₂₎ ≥ …

    k = 1 is global max pooling, all values global average pooling. The k values share the gradient equally; of those
    that equal the k-th largest, the first in the order of reading are taken.

    Args:
        k: how many values, a whole number of at least 1, or which share of the map, a fraction above 0 and at most
            1.0: a fraction gives round(k·H·W) values, at least one. So 1 is one value and 1.0 all of them.
        implementation: see `HeadPool2d`.

    Shapes: (B, C, H, W) → (B, C).

    Raises:
        ValueError: `k` breaks its rule, or the map has fewer than k values (found at the first forward).

    Source: Dogan, A New Global Pooling Method for Deep Neural Networks: Global Average of Top-K Max-Pooling (2023);
    its abstract was read, not its equations. The fraction is an addition.

    >>> GAMPPool2d(k=2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[4.5]]
    """

    def __init__(self, k: int | float = 0.25, *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        whole = isinstance(k, int) and not isinstance(k, bool) and k >= 1
        if not whole and not (isinstance(k, float) and 0 < k <= 1):
            raise ValueError(f"`k` must be a whole number of at least 1 or a fraction in (0, 1.0], got {k!r}")
        self.k = k

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        k = self.taken_of(*x_BCHW.shape[-2:])
        x_BCN = x_BCHW.flatten(2)
        if not x_BCN.is_floating_point():  # see `selects`
            return x_BCN.amax(-1)
        if torch.onnx.is_in_onnx_export():  # which knows no stable sort, and passes no gradient
            top_BCK = x_BCN.topk(k, dim=-1).values
        else:  # torch.topk does not say which of equal values it takes
            top_BCK = x_BCN.sort(dim=-1, descending=True, stable=True).values[..., :k]
        return upcast(top_BCK).mean(-1).to(x_BCHW.dtype)

    def selects(self, height: int, width: int) -> bool:
        """Return whether k is one value, the largest."""
        return self.taken_of(height, width) == 1

    def taken_of(self, height: int, width: int) -> int:
        """Return how many values are taken of a map of this size.

        Raises:
            ValueError: the map has fewer.
        """
        k = self.k if isinstance(self.k, int) else max(1, int(self.k * (height * width) + 0.5))
        if k > height * width:
            raise ValueError(f"`k` must be at most the number of values of the map, {height}x{width}, got {k}")
        return k

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return for each channel the comparisons of a sort, n·⌈log₂ n⌉, and k for the mean of k values."""
        return channels * (of_sort(height * width) + self.taken_of(height, width))

    def extra_repr(self) -> str:
        """Show k."""
        return f"k={self.k}"
