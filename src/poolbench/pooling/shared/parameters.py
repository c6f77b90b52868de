"""Learned parameters, one for the layer or one for each channel."""

import torch
from torch import Tensor

from poolbench.pooling.bases.arguments import is_whole

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
    if not is_whole(channels) or channels < 1:
        raise ValueError(f"`channels` must be the number of channels for per='channel', got {channels!r}")
    return int(channels)


def check_groups(groups: int | None, channels: int | None) -> int:
    """Return how many groups of channels have a number each.

    Raises:
        ValueError: `groups` is no whole number between 1 and `channels`, or these are missing.
    """
    if not is_whole(channels) or channels < 1:
        raise ValueError(f"`channels` must be the number of channels for per='group', got {channels!r}")
    if not is_whole(groups) or not 1 <= groups <= channels:
        raise ValueError(f"`groups` must be in 1..{channels}, the number of channels, for per='group', got {groups!r}")
    return int(groups)


def group_of_channel(groups: int, channels: int, device: torch.device) -> Tensor:
    """Return which group each channel belongs to, ⌊c·G/C⌋: neighbours, as many in each as can be.

    >>> group_of_channel(2, 5, torch.device("cpu")).tolist()
    [0, 0, 0, 1, 1]
    """
    return torch.arange(channels, device=device) * groups // channels
