"""SoftPool: a mean weighted by the exponential of each value."""

from collections.abc import Sequence

from poolbench.kernels.graph import Value, Window, exp, sum_of, within
from poolbench.kernels.sums import Summands
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import softmax, weighted
from poolbench.pooling.windows.log_sum_exp import STEEPEST, check_beta

# Values up to this can be multiplied by any weight that there is, and summed.
MOST = 2.0**60


class SoftPool2d(TapPool2d):
    """A mean weighted by the exponential of each value: Σ x·e^(βx) / Σ e^(βx).

    β → 0 is the mean, β → ∞ the maximum. The maximum is subtracted first, so no exponential overflows. The gradient of
    xᵢ is wᵢ(1 + β(xᵢ − y)) for the weight wᵢ and the result y, which can be negative. A window with an infinite value
    gives NaN, and so does its gradient: ∞/∞ for ∞, 0·∞ for −∞.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        beta: β, above 0 and finite; 1 in the source.

    Raises:
        ValueError: `beta` or the geometry breaks its rule.

    Source: Stergiou, Poppe and Kalliatakis, Refining activation downsampling with SoftPool (2021), equations 1 and 2.
    The published code for the CPU sums over channels and clamps the result at 0, and its gradient lacks the factor 1 +
    x − y: neither belongs to the operator of the paper, and neither is done here.

    >>> import torch
    >>> SoftPool2d(2, beta=0.6931471805599453)(torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])).item()  # weights 1, 1, 2, 2
    0.6666666865348816
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        beta: float = 1.0,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        self.beta = check_beta(beta)
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return Σ x·e^(βx) / Σ e^(βx)."""
        weights = softmax(window, self.beta)
        return weighted(window.masked_fill(0.0), weights) / sum_of(weights)

    def summands(self, one: Window) -> Summands:
        """Return x·e^(βx) and e^(βx)."""
        x = one.values[0]
        weight = exp(x * self.beta)
        return Summands([x * weight, weight], within(x * self.beta, STEEPEST) & within(x, MOST))

    def of_sums(self, window: Window, sums: Sequence[Value]) -> Value:
        """Return Σ x·e^(βx) / Σ e^(βx)."""
        return sums[0] / sums[1]

    def extra_repr(self) -> str:
        """Show the geometry and β."""
        return f"{super().extra_repr()}, beta={self.beta}"


class SoftPool1d(WindowPool1d, SoftPool2d):
    """`SoftPool2d` for sequences.

    >>> import torch
    >>> SoftPool1d(2)(torch.tensor([[[3.0, 3.0]]])).tolist()
    [[[3.0]]]
    """
