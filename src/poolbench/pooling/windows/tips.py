"""Of the s x s ways of taking every s-th value, a mixture in shares that are learned from the map."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.precision import match_input, upcast
from poolbench.kernels.sizes import are_known
from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.bases.work import of_cells, of_convolution, of_softmax
from poolbench.pooling.shared.pad import pad
from poolbench.pooling.windows.polyphase import PolyphasePool2d


class TIPSPool2d(PolyphasePool2d):
    """A mixture of the s x s components of the map, with learned weights: translation-invariant polyphase sampling.

    y = Σ_k τ_k x_k, with x_k the components (every s-th value, from position k on) and τ one number for each component,
    channel and image: τ = softmax_k(v·p_k), p the means of the map h in s x s cells, h = ReLU(u∗x + b), u a 3 x 3
    filter for each channel, v a number for each channel. Cell i of s along a side of n positions is ⌊i·n/s⌋ to ⌈(i +
    1)·n/s⌉. Beyond the map, the map is repeated (`"circular"`), or its last value (`"replicate"`), both for the filters
    and for the components. In float32 values up to 3·10³⁷ do not overflow.

    The article trains τ with two additional loss terms, one against equal weights and one against the effect of shifts
    within the network. A comparison has the same loss for all arms, so they are left out here: a deviation, which the
    audit of a network names at each site.

    Args:
        kernel_size, stride, padding, ceil_mode, implementation: the geometry, see `WindowPool2d`. Only the number of
            results and the stride matter: component 0 begins at the map's first position.
        channels: number of channels.
        padding_mode: `"circular"` or `"replicate"`.

    Parameters: 11·C.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Saha and Gokhale, Improving Shift Invariance in Convolutional Neural Networks with Translation Invariant
    Polyphase Sampling (2025), and the authors' code. The 1 x 1 filter of each channel is v; a bias would not change the
    softmax and is left out. Deviations from that code: its filter u has no bias and sees zeros beyond the map; a map of
    odd size gets a reflected row or column before anything else; and its components are numbered column by column, its
    cells row by row, so that τ of one goes to another. Weights are initialised as in `nn.Conv2d`.

    >>> TIPSPool2d(2, channels=1)(torch.full((1, 1, 4, 4), 3.0)).round(decimals=4).tolist()
    [[[[3.0, 3.0], [3.0, 3.0]]]]
    """

    small_maps: ClassVar[str] = "a convolution, and the shares of the components by a dozen operations of torch"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        channels: int,
        padding_mode: str = "circular",
        implementation: str = "fast",
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            ceil_mode,
            implementation=implementation,
            maximum=False,
            padding_mode=padding_mode,
        )
        count = whole_number("channels", channels)
        self.filter = nn.Conv2d(count, count, (1 if self.spatial == 1 else 3, 3), groups=count)
        self.scale = nn.Conv2d(count, count, 1, groups=count, bias=False)

    def shares(self, x_BCHW: Tensor) -> Tensor:
        """Return τ, (B, C, s, s), in at least float32."""
        x = upcast(x_BCHW)
        sides = [(size // 2, size // 2) for size in self.filter.weight.shape[2:]]
        bias = self.filter.bias
        assert bias is not None
        around = pad(x, sides[0], sides[1], self.padding_mode)
        seen = F.conv2d(around, self.filter.weight.to(x.dtype), bias.to(x.dtype), groups=bias.shape[0])
        cells = upcast(means_of_cells(F.relu(seen), *self.stride)) * self.scale.weight.to(x.dtype).view(-1, 1, 1)
        return cells.flatten(2).softmax(-1).unflatten(2, self.stride)

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, C, H', W')."""
        self.output_shape(
            x_BCHW.shape[-2], x_BCHW.shape[-1]
        )  # raises for a map that is too small, before the shares are computed
        share_BC1I1J = self.shares(x_BCHW).unsqueeze(-2).unsqueeze(2)
        return match_input(x_BCHW, (upcast(self.components(x_BCHW)) * share_BC1I1J).sum((3, 5)))

    def remark(self, map_size: Sequence[int]) -> str:
        """Say what the article trains with and a comparison does not.

        >>> TIPSPool2d(2, channels=1).remark((4, 4))
        "trained without the two terms that the operator's article adds to the loss"
        """
        return "trained without the two terms that the operator's article adds to the loss"

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return C·(2m + 2) for each place, m = 9, or 3 in one dimension, the means, and 2s² − 1 for each result.

        The 2: bias and ReLU. Then for each channel the means of s² cells, their scale and softmax.
        """
        rows, columns = self.output_shape(height, width)
        parts = self.stride[0] * self.stride[1]
        seen = of_convolution(self.filter.weight[0].numel(), height * width, bias=True) + height * width
        shares = of_cells(height, width, [self.stride], maximum=False) + parts + of_softmax(parts)
        return channels * (seen + shares + (2 * parts - 1) * rows * columns)


class TIPSPool1d(WindowPool1d, TIPSPool2d):
    """`TIPSPool2d` for sequences: s components, filters along them.

    >>> TIPSPool1d(2, channels=1)(torch.full((1, 1, 4), 3.0)).round(decimals=4).tolist()
    [[[3.0, 3.0]]]
    """


def means_of_cells(x_BCHW: Tensor, rows: int, columns: int) -> Tensor:
    """Return the mean of each cell of a grid, (B, C, rows, columns), of a map of any size.

    >>> means_of_cells(torch.tensor([[[[1.0, 2.0, 6.0]]]]), 1, 2).tolist()
    [[[[1.5, 4.0]]]]
    """
    if are_known(*x_BCHW.shape[-2:]):
        return F.adaptive_avg_pool2d(x_BCHW, (rows, columns))
    y_BCHJ = torch.matmul(x_BCHW, _averaging(x_BCHW.shape[-1], columns, x_BCHW).T)
    return torch.matmul(_averaging(x_BCHW.shape[-2], rows, x_BCHW), y_BCHJ)


def _averaging(size: Any, count: int, like: Tensor) -> Tensor:
    """Return the matrix (count, size) that averages cells of a line whose length is not known."""
    place_S, cell_J1 = torch.arange(size, device=like.device), torch.arange(count, device=like.device).unsqueeze(1)
    first_J1, last_J1 = cell_J1 * size // count, -(-(cell_J1 + 1) * size // count)
    inside_JS = ((place_S >= first_J1) & (place_S < last_J1)).to(like.dtype)
    return inside_JS / inside_JS.sum(-1, keepdim=True)
