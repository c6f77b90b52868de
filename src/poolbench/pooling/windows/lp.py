"""Lp pooling: the power mean of absolute values with a fixed exponent."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from poolbench.kernels.graph import Value, Window, exp, log, maximum, reduce, sqrt, stop_gradient, sum_of, where
from poolbench.pooling.bases.arguments import positive_number
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import absolute, balanced, divided, mean, power, restored, whole_power

MOST_MULTIPLIED = 8


class LpPool2d(TapPool2d):
    """The p-norm of each window, normalised by its size: (Σ|x|^p / n)^(1/p).

    p = 1 is the mean of absolute values, p → ∞ the largest one. It is made for values of at least 0, where it lies
    between average and max pooling; the absolute value makes the formula valid for negative values and for exponents
    that are not whole numbers. `torch.nn.LPPool2d` leaves out the division by n.

    Values are first divided by the largest one, so no power overflows. In a window of zeros the gradient is that of the
    mean, its limit for equal values; in other windows a zero gets the gradient 0 for p > 1, and also for p < 1, where
    it would be infinite.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        p: the exponent, above 0 and finite.

    Raises:
        ValueError: `p` or the geometry breaks its rule.

    Source: Sermanet, Chintala and LeCun, Convolutional Neural Networks Applied to House Numbers Digit Classification
    (2012), where a Gaussian weights the values; here all weights are equal.

    >>> import torch
    >>> LpPool2d(2, p=2)(torch.tensor([[[[1.0, 1.0], [5.0, 3.0]]]])).item()  # √((1 + 1 + 25 + 9) / 4)
    3.0
    """

    domain: ClassVar[str] = "nonnegative"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        p: float = 2.0,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.p = positive_number("p", p)
        self.trace()

    @classmethod
    def taken_over(cls, pool: nn.Module) -> dict[str, Any]:
        """Return the exponent, of `nn.LPPool2d`."""
        return {"p": float(pool.norm_type)} if isinstance(pool, nn.LPPool1d | nn.LPPool2d) else {}

    def formula(self, window: Window) -> Value:
        """Return (Σ|x|^p / n)^(1/p)."""
        sizes = [absolute(value) for value in window.masked_fill(0.0)]
        if self.p == 1:
            return divided(sum_of(sizes), window)
        # The result does not depend on what everything is divided by.
        sizes, largest, back = balanced(sizes, stop_gradient(reduce(maximum, sizes)))
        nothing = largest <= 0.0
        scale = where(nothing, 1.0, largest)
        parts = [each / scale for each in sizes]
        whole = self.p.is_integer() and self.p <= MOST_MULTIPLIED
        raised = [whole_power(part, int(self.p)) if whole else power(part, self.p) for part in parts]
        # Not a root of 0, whose derivative would be infinite.
        average = where(nothing, 1.0, divided(sum_of(raised), window))
        root = sqrt(average) if self.p == 2 else exp(log(average) * (1 / self.p))
        return where(nothing, mean(window), restored(scale * root, back))

    def extra_repr(self) -> str:
        """Show the geometry and p."""
        return f"{super().extra_repr()}, p={self.p}"


class LpPool1d(WindowPool1d, LpPool2d):
    """`LpPool2d` for sequences.

    >>> import torch
    >>> LpPool1d(2, p=2)(torch.tensor([[[1.0, 7.0]]])).tolist()
    [[[5.0]]]
    """
