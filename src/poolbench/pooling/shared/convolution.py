"""The learned convolution of the operators that use one instead of a pooling, or before it."""

import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.pooling.bases.arguments import whole_number


def check_activation(activation: str | None) -> str | None:
    """Return what follows a convolution; raise `ValueError` for what is neither `"relu"` nor None."""
    if activation not in ("relu", None):
        raise ValueError(f"`activation` must be 'relu' or null, got {activation!r}")
    return activation


def convolution(
    channels: int,
    kernel_size: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    *,
    activation: str | None,
) -> nn.Conv2d:
    """Return a convolution that keeps the number of channels, with a bias.

    Weights start by He's rule for what `activation` follows, the bias at 0. Operators of equal channels and kernels
    draw the same starting weights.

    Raises:
        ValueError: `channels` or `activation` breaks its rule.

    >>> convolution(3, (2, 2), activation="relu")
    Conv2d(3, 3, kernel_size=(2, 2), stride=(1, 1))
    """
    count = whole_number("channels", channels)
    check_activation(activation)
    conv = nn.Conv2d(count, count, kernel_size, stride, padding)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear" if activation is None else "relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def convolved(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    """Return the convolution of a map of any dtype: the weights follow the map's."""
    bias = None if conv.bias is None else conv.bias.to(x_BCHW.dtype)
    return F.conv2d(x_BCHW, conv.weight.to(x_BCHW.dtype), bias, conv.stride, conv.padding)
