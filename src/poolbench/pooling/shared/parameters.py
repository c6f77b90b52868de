"""Learned parameters, one for the layer or one for each channel."""

from torch import Tensor, nn

from poolbench.kernels.precision import upcast

PER = ("layer", "channel")


def check_per(per: str, channels: int | None) -> int:
    """Return how many numbers are learned: 1, or one for each channel.

    Raises:
        ValueError: `per` is neither `"layer"` nor `"channel"`, or the number of channels is missing.
    """
    if per not in PER:
        raise ValueError(f"`per` must be 'layer' or 'channel', got {per!r}")
    if per == "layer":
        return 1
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        raise ValueError(f"`channels` must be the number of channels for per='channel', got {channels!r}")
    return channels


def check_groups(groups: int | None, channels: int | None) -> int:
    """Return how many groups of channels have a number each.

    Raises:
        ValueError: `groups` is no whole number of at least 1, or does not divide `channels`, or these are missing.
    """
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        raise ValueError(f"`channels` must be the number of channels for per='group', got {channels!r}")
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1 or channels % groups:
        raise ValueError(f"`groups` must be a divisor of the number of channels, {channels}, got {groups!r}")
    return groups


def sigmoid_weight(logit: nn.Parameter) -> Tensor:
    """Return sigmoid(logit), a weight between 0 and 1, in at least float32: it is not rounded before it is used."""
    return upcast(logit).sigmoid()
