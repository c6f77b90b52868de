"""Polyphase pooling that keeps the component of the largest norm."""

from collections.abc import Sequence

import torch
from torch import Tensor

from poolbench.kernels.precision import match_input, upcast
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.bases.work import ABSOLUTE
from poolbench.pooling.windows.polyphase import PolyphasePool2d

# Sums that differ by less than a part in a million, by rounding, are equal.
DIGITS = 2.0**20


class AdaptivePolyphasePool2d(PolyphasePool2d):
    """Every s-th maximum in each direction, with the offset of the largest norm: adaptive polyphase sampling.

    z_t = max of the window that begins at position t (or z = x); its s x s components are z_(i + s·a, j + s·b). The
    result is the component with the largest p-norm over all channels and positions, (Σ |z|^p)^(1/p); each image has
    one. If several have a Σ |z|^p that is equal to six digits, the first in row-major order is taken. An image that
    contains a NaN gives NaN.

    A periodic map shifted by one position has the same components, possibly shifted. So with `padding_mode="circular"`
    and sizes that the stride divides, a circular shift of the map changes the result by a circular shift at most; this
    is exact if no two components have equal norms. In a network it holds only if the convolutions are circular, too. A
    shift that brings in new values may change the selected component: `is_equivariant` is False.

    Args:
        kernel_size, stride, padding, ceil_mode, implementation: see `WindowPool2d`.
        maximum: whether maxima at stride 1 come first; without them the window's size only counts the results.
        norm: p, a number above 0, or infinity for the largest |z|.
        padding_mode: `"circular"`: the map is taken as periodic, and a window over its border has values of the other
            side. `"replicate"`: such a window has the values that it has in max pooling.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Chaman and Dokmanić, Truly Shift-Invariant Convolutional Neural Networks (2021), and the authors' code,
    which has strides of 2 and p = 1, 2 and ∞, and extends a map of odd size by a row of the opposite side. Its blur
    before the selection is left out, because `MaxBlurPool2d` has one.

    >>> x = torch.tensor([[[[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 4.0]]]])
    >>> AdaptivePolyphasePool2d(2, maximum=False)(x).tolist()  # 1, 2 or 3, 4
    [[[[3.0, 4.0]]]]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        implementation: str = "fast",
        maximum: bool = True,
        norm: float = 2.0,
        padding_mode: str = "circular",
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            ceil_mode,
            implementation=implementation,
            maximum=maximum,
            padding_mode=padding_mode,
        )
        if not isinstance(norm, int | float) or isinstance(norm, bool) or not norm > 0:
            raise ValueError(f"`norm` must be a number above 0 or infinity, got {norm!r}")
        self.norm = float(norm)

    def selects(self, height: int, width: int) -> bool:
        """Return True: every result is a value of the map."""
        return True

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        parts_BCHIWJ = self.components(x_BCHW)
        # The choice is no function that could be differentiated.
        return match_input(x_BCHW, self.component(parts_BCHIWJ, self.shares(parts_BCHIWJ.detach())))

    def shares(self, parts_BCHIWJ: Tensor) -> Tensor:
        """Return Σ |z|^p of each component, divided by the largest of them and rounded: (B, s · s)."""
        parts, size = upcast(parts_BCHIWJ), (-1, 1, 1, 1, 1, 1)
        top_B = torch.maximum(parts.amax((1, 2, 3, 4, 5)), -parts.amin((1, 2, 3, 4, 5)))
        # Divided by the largest, no power overflows. What is infinite or 0 stays.
        parts = parts / torch.where((top_B > 0) & (top_B < torch.inf), top_B, 1.0).view(size)
        if self.norm == float("inf"):
            power_BIJ = parts.abs().amax((1, 2, 4)).to(torch.float64)
        else:
            powers = parts.square() if self.norm == 2 else parts.abs() if self.norm == 1 else parts.abs().pow(self.norm)
            # Over the places in float64, where their order makes next to no difference.
            power_BIJ = powers.sum(1).sum((1, 3), dtype=torch.float64)
        power_BP = power_BIJ.flatten(1)
        share_BP = power_BP / power_BP.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        return torch.where(power_BP.isinf(), 1.0, share_BP).mul(DIGITS).round()

    def choosing(self, channels: int, height: int, width: int) -> int:
        """Return 4 for each value besides |z|^p, and 3 for each component.

        The 4: its share in the largest and the smallest value, its division by the larger, its addition (or, of
        p = ∞, its comparison). |z|^p takes 1 of p = 2, 2 of p = 1 and ∞, else 3. A component's: its share of the
        largest sum, which is scaled, and its comparison; 1 is left over.
        """
        power = {2.0: 1, 1.0: ABSOLUTE, float("inf"): ABSOLUTE}.get(self.norm, ABSOLUTE + 1)
        return (4 + power) * channels * height * width + 3 * self.stride[0] * self.stride[1] + 1

    def extra_repr(self) -> str:
        """Show the geometry and the norm."""
        return f"{super().extra_repr()}, norm={self.norm}"


class AdaptivePolyphasePool1d(WindowPool1d, AdaptivePolyphasePool2d):
    """`AdaptivePolyphasePool2d` for sequences.

    >>> AdaptivePolyphasePool1d(2, maximum=False)(torch.tensor([[[1.0, 0.0, 2.0, 5.0]]])).tolist()
    [[[0.0, 5.0]]]
    """
