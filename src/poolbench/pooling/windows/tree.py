"""A tree of learned filters and gates."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window
from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import sigmoid, weighted
from poolbench.pooling.shared.parameters import check_per


class TreePool2d(TapPool2d):
    """A binary tree over learned filters: a leaf is v·x; a node s·left + (1 − s)·right with s = σ(w·x).

    With 2 levels there are two leaves and one gate, with 3 levels four leaves and three gates. Filters and gates are
    learned, one number for each position of the window, for the layer or for each channel. Leaves start at 1 / n (the
    mean) plus a little noise, without which they would stay equal; gates start at 0, which gives s = ½. Positions
    outside the map count as 0, as in a convolution.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        levels: 2 or 3.
        per: `"layer"` or `"channel"`.
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Lee, Gallagher and Tu (2016), equation 4 of the article that `MixedPool2d` names, with its patent filing.

    >>> tree = TreePool2d(2)
    >>> _ = nn.init.constant_(tree.leaf, 0.25)
    >>> tree(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).item()  # both leaves are the mean
    3.0
    """

    small_maps: ClassVar[str] = "a product of each value with every leaf and gate, and their derivatives"
    keeps_constants: ClassVar[bool] = False
    keeps_range: ClassVar[bool] = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        levels: int = 2,
        per: str = "layer",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        if levels not in (2, 3) or isinstance(levels, bool):
            raise ValueError(f"`levels` must be 2 or 3, got {levels!r}")
        self.levels, self.per = levels, per
        leaves, size, count = 2 ** (levels - 1), self.window_size, check_per(per, channels)
        self.leaf = nn.Parameter(1 / size + torch.randn(leaves, size, count) * 0.1 / size)
        self.gate = nn.Parameter(torch.zeros(leaves - 1, size, count))
        self.trace()

    def params(self) -> Tensor:
        """Return the leaves' filters, then the gates', each place by place."""
        return upcast(torch.cat([self.leaf, self.gate]).flatten(0, 1))

    def formula(self, window: Window) -> Value:
        """Return the value of the root."""
        values, size = window.masked_fill(0.0), window.size
        leaves = 2 ** (self.levels - 1)

        def filtered(which: int) -> Value:
            return weighted(values, [window.param(which * size + at) for at in range(size)])

        nodes, gate = [filtered(which) for which in range(leaves)], leaves
        while len(nodes) > 1:
            pairs = list(zip(nodes[::2], nodes[1::2], strict=True))
            nodes = [right + sigmoid(filtered(gate + at)) * (left - right) for at, (left, right) in enumerate(pairs)]
            gate += len(pairs)
        return nodes[0]

    def extra_repr(self) -> str:
        """Show the geometry and the tree."""
        return f"{super().extra_repr()}, levels={self.levels}, per={self.per!r}"


class TreePool1d(WindowPool1d, TreePool2d):
    """`TreePool2d` for sequences.

    >>> TreePool1d(2)(torch.tensor([[[0.0, 0.0]]])).tolist()
    [[[0.0]]]
    """
