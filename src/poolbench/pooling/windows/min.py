"""Min pooling."""

import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.graph import Value, Window, propagate_nan
from poolbench.kernels.sizes import are_known
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import window_min


class MinPool2d(TapPool2d):
    """The smallest value of each window: min(x) = −max(−x).

    The gradient goes to the first of equal values, in row-major order. Directly after a ReLU nearly every window
    contains a zero, so little passes: the operator shows how much the choice of the extreme matters.

    >>> import torch
    >>> MinPool2d(2)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item()
    1.0
    """

    def formula(self, window: Window) -> Value:
        """Return min(x)."""
        return propagate_nan(window_min(window), window)

    def plain(self, x_BCHW: Tensor) -> Tensor:
        """Pool by torch's own max pooling of −x."""
        if self.ceil_mode and not are_known(*x_BCHW.shape[-2:]):
            return super().plain(x_BCHW)  # torch's asks sizes that are not known
        return -F.max_pool2d(-x_BCHW, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class MinPool1d(WindowPool1d, MinPool2d):
    """`MinPool2d` for sequences.

    >>> import torch
    >>> MinPool1d(2)(torch.tensor([[[1.0, 2.0, 4.0, 3.0]]])).tolist()
    [[[1.0, 3.0]]]
    """
