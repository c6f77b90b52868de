"""A specification that is right in itself and does not fit a place is unsupported there: a sweep goes on.

It is right if it can be built for one of the windows of most networks, 2 with stride 2, or 3 with stride 2 and padding
1, or for another number of channels; else it is wrong, and nothing is trained.
"""

from collections.abc import Callable
from typing import Any

import pytest

from poolbench.backbones.assemble import Assembled
from poolbench.errors import ConfigurationError, UnsupportedError

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, num_classes, window=4, width=6):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.pool = nn.MaxPool2d(window)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.classifier(self.flat(self.gap(self.pool(self.conv(x)))))
"""
POOLING = "poolbench.pooling."


def window(name: str, **own: Any) -> dict[str, Any]:
    return {"name": name, "downsample": {"_target_": f"{POOLING}{name}", **own}, "head": None}


def head(name: str, **own: Any) -> dict[str, Any]:
    return {"name": name, "downsample": None, "head": {"_target_": f"{POOLING}{name}", **own}}


def found(assemble: Callable[..., Assembled], own: Callable[..., str], pooling: Any, **network: Any) -> Assembled:
    spec = {"name": "net", "_target_": f"{own(NET)}.Net", **network}
    return assemble(spec, pooling, shape=(3, 16, 16))


@pytest.mark.parametrize(
    ("pooling", "network", "text"),
    [
        (window("WaveletPool2d"), {}, r"at site pool.*`kernel_size`, `stride` and `padding` must be 2, 2, 0 or 3"),
        (window("HaarWaveletPool2d"), {}, r"at site pool.*`kernel_size`, `stride` and `padding` must be 2, 2, 0 or 3"),
        (window("AvgTopKPool2d", k=5), {"window": 2}, r"`k` must be in 1..4"),
        (window("AvgTopKPool2d", k=9), {"window": 2}, r"`k` must be in 1..4"),
        (head("AttentionPool2d", heads=4), {}, r"`heads` must divide the number of channels, 6, got 4"),
        (head("GlobalGeMPool2d", per="group", groups=8), {}, r"`groups` must be in 1..6"),
    ],
    ids=str,
)
def test_what_fits_elsewhere_is_unsupported(
    assemble: Callable[..., Assembled], own: Callable[..., str], pooling: Any, network: dict[str, Any], text: str
) -> None:
    with pytest.raises(UnsupportedError, match=text):
        found(assemble, own, pooling, **network)


@pytest.mark.parametrize(
    ("pooling", "text"),
    [
        (window("WaveletPool2d", wavelet="db9"), "`kernel_size`, `stride`|`wavelet` must be one of"),
        (window("AvgTopKPool2d", k=17), "`k` must be in 1..16"),
        (window("AvgTopKPool2d", k=0), "`k` must be in 1..16"),
        (head("AttentionPool2d", heads=0), "`heads`"),
        (head("AttentionPool2d", heads=11), "`heads` must divide the number of channels, 6, got 11"),
    ],
    ids=str,
)
def test_what_fits_nowhere_is_wrong(
    assemble: Callable[..., Assembled], own: Callable[..., str], pooling: Any, text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        found(assemble, own, pooling)
    assert not isinstance(caught.value, UnsupportedError)


def test_nothing_of_the_trial_is_left(assemble: Callable[..., Assembled], own: Callable[..., str]) -> None:
    """Neither numbers of the stream nor a place in memory: what is built next is as if there had been no trial."""
    expected = found(assemble, own, window("MixedPool2d")).network.state_dict()
    with pytest.raises(UnsupportedError):
        found(assemble, own, window("WaveletPool2d"))
    again = found(assemble, own, window("MixedPool2d")).network.state_dict()
    assert all(value.equal(again[key]) and value.is_cpu for key, value in expected.items())
