"""Heads of networks whose last map is (B, H, W, C) or (B, L, C): found by trying the own one, and bridged."""

import torch
from torch import Tensor, nn

from poolbench.streams import stream


class ChannelsFirst(nn.Module):
    """The map as a head takes it: (B, H, W, C) → (B, C, H, W), (B, L, C) → (B, C, L).

    >>> ChannelsFirst()(torch.zeros(2, 7, 6, 5)).shape
    torch.Size([2, 5, 7, 6])
    """

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Bring the channels before the places."""
        return x_BHWC.movedim(-1, 1)


@torch.no_grad()
def takes_channels_last(head: nn.Module, shape: tuple[int, ...]) -> bool | None:
    """Whether a head takes the last of a map's dimensions for the channels, None where trying it does not tell.

    It is tried: where the last dimension holds the channels, other values in its first place change that channel's
    features alone, and other values in the first place of the first dimension, a row, change those of all channels.

    Args:
        head: a network's own, of a map to features.
        shape: of its map, without the batch's dimension.

    >>> takes_channels_last(nn.AdaptiveAvgPool2d(1), (5, 7, 6)), takes_channels_last(nn.Flatten(), (5, 7, 6))
    (False, None)
    """
    if len(shape) not in (2, 3):
        return None
    was = head.training
    x = torch.randn(1, *shape, generator=stream(0, "channels"))
    first, last = x.clone(), x.clone()
    first[:, 0] = 100 + x[:, 0]
    last[..., 0] = 100 + x[..., 0]
    try:
        head.eval()
        of_first, of_last = ((head(other) != head(x)).flatten() for other in (first, last))
    except (RuntimeError, TypeError, ValueError):  # it takes no map by itself: nothing is known of it
        return None
    finally:
        head.train(was)
    count = of_first.numel()
    first, last = int(of_first.sum()) * shape[0] == count, int(of_last.sum()) * shape[-1] == count
    return last if first != last else None


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return (C, H, W) of (H, W, C), (C, L) of (L, C)."""
    return (shape[-1], *shape[:-1])
