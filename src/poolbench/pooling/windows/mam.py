"""Max, average and min in one."""

from typing import ClassVar

from poolbench.kernels.graph import Value, Window, where
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import mean, window_max, window_min


class MAMPool2d(TapPool2d):
    """max(x) − min(x) where that exceeds the mean, else (max(x) + mean(x)) / 2.

    For values of at least 0, as after a ReLU, the result stays in the window's range; with negative values it need not.
    It is discontinuous where max − min equals the mean.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.

    Source: Akgül, A Pooling Method Developed for Use in Convolutional Neural Networks, Computer Modeling in
    Engineering & Sciences 141 (2024). The formula is second-hand; two independent descriptions agree in it.

    >>> import torch
    >>> MAMPool2d(2)(torch.tensor([[[[13.0, 9.0], [5.0, 3.0]]]])).item()  # 13 − 3 = 10 > 7.5
    10.0
    >>> MAMPool2d(2)(torch.tensor([[[[60.0, 50.0], [30.0, 20.0]]]])).item()  # 60 − 20 = 40 is not above 40
    50.0
    """

    domain: ClassVar[str] = "nonnegative"

    def formula(self, window: Window) -> Value:
        """Return max − min or (max + mean) / 2; where a value is NaN the latter, which is NaN as the mean is."""
        largest, average = window_max(window), mean(window)
        reach = largest - window_min(window)
        return where(reach > average, reach, (largest + average) * 0.5)


class MAMPool1d(WindowPool1d, MAMPool2d):
    """`MAMPool2d` for sequences.

    >>> import torch
    >>> MAMPool1d(2)(torch.tensor([[[2.0, 4.0]]])).tolist()
    [[[3.5]]]
    """
