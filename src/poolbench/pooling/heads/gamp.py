"""The mean of the k largest values of the whole map."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from poolbench.kernels.graph import Value, Window, propagate_nan, sum_of, where, with_gradient_of
from poolbench.kernels.precision import upcast
from poolbench.kernels.sizes import are_known, larger
from poolbench.pooling.bases.arguments import is_number, is_whole
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.work import of_sort
from poolbench.pooling.shared.ranks import sorted_descending

# A formula that sorts more places is long to compile.
MOST_PLACES = 16


class GAMPPool2d(HeadPool2d):
    """The mean of the k largest values of each channel's map: (x₍₁₎ + … + x₍ₖ₎) / k, where x₍₁₎ ≥ x₍₂₎ ≥ …

    k = 1 is global max pooling, k = n (all values) global average pooling. The k values share the gradient equally; if
    several are equal to the k-th largest, the first in row-major order are taken.

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

    small_maps: ClassVar[str] = "a sort of the whole map"

    def __init__(self, k: int | float = 0.25, *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        whole = is_whole(k) and k >= 1
        if not whole and not (is_number(k) and not is_whole(k) and 0 < k <= 1):
            raise ValueError(f"`k` must be a whole number of at least 1 or a fraction in (0, 1.0], got {k!r}")
        self.k = int(k) if whole else float(k)
        # Held as it is, no part of the module: it has no parameters, and is made anew for maps of another size.
        self._of_map: list[_TopMean] = []

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C)."""
        k = self.taken_of(*x_BCHW.shape[-2:])
        if self.implementation_for(x_BCHW)[0] == "fast":
            return self._by_kernel(x_BCHW, k)
        x_BCN = x_BCHW.flatten(2)
        if not x_BCN.is_floating_point():  # see `selects`
            return x_BCN.amax(-1)
        if torch.onnx.is_in_onnx_export():  # which knows no stable sort, and passes no gradient
            top_BCK = x_BCN.topk(k, dim=-1).values
        else:  # torch.topk does not say which of equal values it takes
            ranked_BCN = x_BCN.sort(dim=-1, descending=True, stable=True).values
            if isinstance(self.k, float) and not are_known(*x_BCHW.shape[-2:]):  # a share of places that are left open
                taken_N = torch.arange(x_BCN.shape[-1], device=x_BCN.device) < k
                return (torch.where(taken_N, upcast(ranked_BCN), 0.0).sum(-1) / k).to(x_BCHW.dtype)
            top_BCK = ranked_BCN[..., :k]
        return upcast(top_BCK).mean(-1).to(x_BCHW.dtype)

    def _by_kernel(self, x_BCHW: Tensor, k: int) -> Tensor:
        """Return the features by a compiled formula of the whole map, its places as one column."""
        return self._formula(x_BCHW, k).pool(x_BCHW.flatten(2).unsqueeze(-1)).flatten(1)

    def _formula(self, x_BCHW: Tensor, k: int) -> "_TopMean":
        """Return the formula for a map of this size; that of the size before it is still there."""
        places = x_BCHW.shape[-2] * x_BCHW.shape[-1]
        if not self._of_map or self._of_map[0].asked != (places, k, self.implementation):
            self._of_map = [_TopMean(places, k, self.implementation)]
        return self._of_map[0]

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes this map, `"fast"` or `"torch"`, and for the latter why."""
        if self.implementation == "torch" or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return super().implementation_for(x_BCHW)
        if x_BCHW.device.type != "cpu":
            return "torch", f"whole maps are taken by kernels on cpu, the map is on {x_BCHW.device.type}"
        height, width = x_BCHW.shape[-2:]
        if height * width > MOST_PLACES:
            return "torch", f"a map of more than {MOST_PLACES} places is too large for a formula that sorts it"
        return self._formula(x_BCHW, self.taken_of(height, width)).implementation_for(x_BCHW)

    def selects(self, height: int, width: int) -> bool:
        """Return whether k is one value, the largest."""
        return self.taken_of(height, width) == 1

    def taken_of(self, height: Any, width: Any) -> Any:
        """Return how many values are taken of a map of this size.

        Raises:
            ValueError: the map has fewer.
        """
        if isinstance(self.k, float):
            share = self.k * (height * width) + 0.5
            k = larger(1, share.to(torch.int64) if isinstance(share, Tensor) else torch.sym_int(share))
        else:
            k = self.k
        if are_known(height, width) and k > height * width:
            raise ValueError(f"`k` must be at most the number of values of the map, {height}x{width}, got {k}")
        return k

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return for each channel the comparisons of a sort, n·⌈log₂ n⌉, and k for the mean of k values."""
        return channels * (of_sort(height * width) + self.taken_of(height, width))

    def extra_repr(self) -> str:
        """Show k."""
        return f"k={self.k}"


class _TopMean(TapPool2d):
    """The same of one column of places, sorted by a network of comparisons.

    Args:
        places: of the map.
        k: how many values are taken.
        implementation: see `WindowPool2d`.
    """

    def __init__(self, places: int, k: int, implementation: str) -> None:
        super().__init__((places, 1), implementation=implementation)
        self.asked = places, k, implementation
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return the mean of the k largest; what is above the k-th is taken, and of its equals the first."""
        _, k, _ = self.asked
        values = window.masked_fill(-math.inf)
        top = sorted_descending(values)[:k]
        least, share = top[-1], 1.0 / k
        left = float(k) - sum_of([where(value > least, 1.0, 0.0) for value in values])
        taken = []
        for value in values:
            equal = value <= least
            equal = equal & (value >= least)
            is_taken = (value > least) | (equal & (left > 0.0))
            taken.append(where(is_taken, value * share, 0.0))
            left = where(equal, left - 1.0, left)
        return propagate_nan(with_gradient_of(sum_of(top) * share, sum_of(taken)), window)


class GAMPPool1d(HeadPool1d, GAMPPool2d):
    """`GAMPPool2d` of sequences (B, C, L)."""
