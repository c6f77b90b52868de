"""Log-sum-exp pooling: a smooth maximum."""

from collections.abc import Sequence

import torch

from poolbench.kernels.graph import Value, Window, exp, log, maximum, stop_gradient, sum_of, where, within
from poolbench.kernels.sums import Summands
from poolbench.pooling.bases.arguments import positive_number
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import divided, window_max

# Exponentials are summed as they are where e to this power (or minus it) is the most.
STEEPEST = 40.0
MOST = torch.finfo(torch.float32).max


def check_beta(beta: float) -> float:
    """Return β, a steepness.

    Raises:
        ValueError: it is not above 0 and finite.
    """
    return positive_number("beta", beta)


def above_base(window: Window, beta: Value | float) -> tuple[Value, list[Value]]:
    """Return the largest value x, 0 if that is infinite, and e^(β(x − that)) of every value, 0 outside the map."""
    largest = stop_gradient(window_max(window))
    base = where(largest - largest >= 0.0, largest, 0.0)  # ∞ − ∞ is no number
    # A difference beyond the largest number would be −∞, and 0 · ∞ in the gradient of β.
    raised = [exp(maximum(value - base, -MOST) * beta) for value in window.values]
    return base, window.mask(raised, 0.0)


class LogSumExpPool2d(TapPool2d):
    """A smooth maximum: (1/β)·log(Σ e^(βx) / n).

    β → 0 is the mean, β → ∞ the maximum. The maximum is subtracted first where anything could overflow. A window that
    contains ∞ gives ∞, and each ∞ gets the gradient NaN, as in `torch.logsumexp`; a window of −∞ only gives −∞, with a
    gradient of 0.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        beta: β, above 0 and finite.

    Raises:
        ValueError: `beta` or the geometry breaks its rule.

    Source: Pinheiro and Collobert, From Image-level to Pixel-level Labeling with Convolutional Networks (2015),
    section 3.2, over the whole map there.

    >>> import torch
    >>> round(LogSumExpPool2d(2)(torch.tensor([[[[0.0, 0.0], [0.0, 0.0]]]])).item(), 6)
    0.0
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
        """Return (1/β)·log(Σ e^(βx) / n)."""
        base, raised = above_base(window, self.beta)
        return base + log(divided(sum_of(raised), window)) * (1 / self.beta)

    @property
    def has_sums(self) -> bool:
        """Whether β is at least 1: what the logarithm of a sum near 1 loses is divided by β."""
        return self.beta >= 1

    def summands(self, one: Window) -> Summands:
        """Return e^(βx)."""
        scaled = one.values[0] * self.beta
        return Summands([exp(scaled)], within(scaled, STEEPEST))

    def of_sums(self, window: Window, sums: Sequence[Value]) -> Value:
        """Return (1/β)·log(Σ e^(βx) / n)."""
        return log(divided(sums[0], window)) * (1 / self.beta)

    def extra_repr(self) -> str:
        """Show the geometry and β."""
        return f"{super().extra_repr()}, beta={self.beta}"


class LogSumExpPool1d(WindowPool1d, LogSumExpPool2d):
    """`LogSumExpPool2d` for sequences.

    >>> import torch
    >>> LogSumExpPool1d(2)(torch.tensor([[[1.0, 1.0]]])).tolist()
    [[[1.0]]]
    """
