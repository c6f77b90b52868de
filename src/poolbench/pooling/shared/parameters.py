"""Learned parameters, one for the layer or one for each channel."""

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
