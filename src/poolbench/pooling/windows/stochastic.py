"""One value of each window, drawn with a chance proportional to it."""

from typing import ClassVar

from poolbench.kernels.graph import Value, Window, maximum, propagate_nan, reduce, stop_gradient, sum_of, where
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import balanced, positive, restored, weighted


class StochasticPool2d(TapPool2d):
    """In training one value of the window, drawn with probability xᵢ / Σx; in evaluation its expectation Σx² / Σx.

    Meant for values of at least 0, as after a ReLU. Negative values have probability 0; if no value is above 0, all are
    equally likely in training, and the evaluation gives their mean. The gradient goes to the drawn value; as in the
    source, no gradient passes through the probabilities in training.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.

    Source: Zeiler and Fergus, Stochastic Pooling for Regularization of Deep Convolutional Neural Networks (2013),
    equations 1, 2 and 6. The rule for windows without a positive value is this library's.

    >>> import torch
    >>> StochasticPool2d(2).eval()(torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])).item()  # (1 + 9) / (1 + 3)
    2.5
    """

    is_random: ClassVar[bool] = True
    domain: ClassVar[str] = "nonnegative"

    def formula(self, window: Window) -> Value:
        """Return the drawn value; in evaluation the mean by chance."""
        chances = positive(window, 0.0)
        chances, largest, back = balanced(chances, stop_gradient(reduce(maximum, chances)))
        # Divided by the largest one, on which nothing depends, so that no sum overflows.
        none = largest <= 0.0
        scale = where(none, 1.0, largest)
        positives = chances
        ones = window.mask([window.graph.const(1.0)] * window.size, 0.0)
        chances = [where(none, one, chance * (1.0 / scale)) for chance, one in zip(chances, ones, strict=True)]
        values = window.masked_fill(0.0)
        if not self.training:
            parts = [where(none, value, part * (1.0 / scale)) for value, part in zip(values, positives, strict=True)]
            return propagate_nan(restored(scale * (weighted(parts, chances) / sum_of(chances)), back), window)
        sums = [chances[0]]
        for chance in chances[1:]:
            sums.append(sums[-1] + chance)
        drawn = window.uniform() * sums[-1]
        result = values[-1]
        for value, reached in zip(reversed(values[:-1]), reversed(sums[:-1]), strict=True):
            result = where(reached > drawn, value, result)
        return propagate_nan(result, window)


class StochasticPool1d(WindowPool1d, StochasticPool2d):
    """`StochasticPool2d` for sequences.

    >>> import torch
    >>> StochasticPool1d(2).eval()(torch.tensor([[[1.0, 3.0]]])).tolist()
    [[[2.5]]]
    """
