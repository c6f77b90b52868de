"""Max pooling, the reference of every comparison."""

import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.graph import Value, Window, propagate_nan
from poolbench.kernels.sizes import are_known
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import window_max


class MaxPool2d(TapPool2d):
    """The largest value of each window: max(x), as `torch.nn.MaxPool2d` with the same geometry.

    The gradient goes to the first of equal values, in row-major order. A window with a NaN gives NaN; a kernel then
    gives the gradient to the first value that is the largest number or NaN, torch to the last NaN.

    >>> import torch
    >>> MaxPool2d(2)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item()
    4.0
    """

    def formula(self, window: Window) -> Value:
        """Return max(x)."""
        return propagate_nan(window_max(window), window)

    def plain(self, x_BCHW: Tensor) -> Tensor:
        """Pool by torch's own max pooling."""
        if self.ceil_mode and not are_known(*x_BCHW.shape[-2:]):
            return super().plain(x_BCHW)  # torch's asks sizes that are not known
        return F.max_pool2d(x_BCHW, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class MaxPool1d(WindowPool1d, MaxPool2d):
    """`MaxPool2d` for sequences.

    >>> import torch
    >>> MaxPool1d(2)(torch.tensor([[[1.0, 2.0, 4.0, 3.0]]])).tolist()
    [[[2.0, 4.0]]]
    """
