"""Operators of a window's values by rank: a formula for small windows, torch's own sort for large ones.

A formula that ranks n values compares each with each, or with the k largest: its graph grows with n·k. Beyond
`MOST_COMPARISONS` it would be no kernel's anyway, and torch sorts all windows at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from poolbench.kernels.geometry import Geometry
from poolbench.kernels.plain import inside, margins, wide_dtype
from poolbench.kernels.precision import match_input
from poolbench.kernels.uniform import uniform
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.work import of_sort
from poolbench.pooling.shared.draws import Draws

# A formula with more is not written: it takes some 0.3 s to write, and its kernel would be longer than kernels may be.
MOST_COMPARISONS = 512


def is_large(size: int, ranks: int) -> bool:
    """Whether the `ranks` largest of `size` values take more than `MOST_COMPARISONS` to find."""
    return ranks * size - ranks * (ranks + 1) // 2 > MOST_COMPARISONS


@dataclass(frozen=True)
class Ranked:
    """The values of all windows in falling order, equal ones in row-major order.

    Args:
        values: (B, C, H', W', n); 0 for ranks that a window does not have.
        count: how many values each window has, (H', W', 1); n, one number for all, where none lies at a border.
        has_nan: whether a window has a NaN, (B, C, H', W').
    """

    values: Tensor
    count: Tensor
    has_nan: Tensor

    @property
    def is_there(self) -> Tensor:
        """Which ranks each window has, (H', W', n) or (1, 1, n)."""
        return torch.arange(self.values.shape[-1], device=self.values.device) < self.count

    def existing(self, numbers: Tensor) -> Tensor:
        """Return numbers by rank (…, n), 0 for ranks that a window does not have."""
        return torch.where(self.is_there, numbers, torch.zeros_like(numbers))

    def at(self, rank: Tensor) -> Tensor:
        """Return the value of a rank, counted from 0 and (H', W', 1) or more: (B, C, H', W')."""
        return self.values.gather(-1, rank.expand(*self.values.shape[:-1], 1)).squeeze(-1)

    def marked(self, result: Tensor) -> Tensor:
        """Return a result, NaN where a window has one; the gradient passes as if nothing had been done."""
        # What is added to the others must change no zero's sign.
        none = torch.full_like(result, -0.0)
        return result + none.masked_fill(self.has_nan, math.nan)


class RankedPool2d(TapPool2d):
    """A window operator of values by rank.

    A subclass brings `formula`, and `of_ranked`, which is the same of all windows at once, sorted by torch. It is taken
    where the formula would compare more than `MOST_COMPARISONS` pairs of values; no formula is written then.
    """

    @property
    def ranks(self) -> int:
        """How many of the largest values the formula asks for."""
        return self.window_size

    @property
    def is_sorted(self) -> bool:
        """Whether torch sorts the values, since the window is large."""
        return is_large(self.window_size, self.ranks)

    def of_ranked(self, ranked: Ranked, params_PC: Tensor | None, uniform_BCHW: Tensor | None) -> Tensor:
        """Return the results (B, C, H', W').

        Args:
            ranked: the values.
            params_PC: what `params` gives, for each channel; None where there are none.
            uniform_BCHW: a number in [0, 1) for each window, of a random operator that is training, else None.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `of_ranked`")

    def trace(self) -> None:
        """Make the formula ready to run, if there is to be one."""
        if not self.is_sorted:
            super().trace()
            return
        if self.is_random:
            self.draws = Draws()
        params = self.params()
        self.programs, self.learned = {}, 0 if params is None else len(params)

    @property
    def operations(self) -> dict[str, int]:
        """How often each operation is done for one result, in evaluation; of a sort and a weighted sum of ranks."""
        if not self.is_sorted:
            return super().operations
        return {"gt": of_sort(self.window_size), "mul": self.ranks, "add": self.ranks - 1}

    def _why_torch(self, x_BCHW: Tensor) -> str:
        if self.is_sorted and self.implementation != "torch":
            return f"the window of {self.window_size} values is too large for a kernel"
        return super()._why_torch(x_BCHW)

    def selects(self, height: int, width: int) -> bool:
        """Return what the formula says; where none is written, that results are computed."""
        return not self.is_sorted and super().selects(height, width)

    def plain(self, x_BCHW: Tensor) -> Tensor:
        """Pool by torch's own operations."""
        if not self.is_sorted:
            return super().plain(x_BCHW)
        shape = self.output_shape(x_BCHW.shape[-2], x_BCHW.shape[-1])
        geometry = Geometry(self.kernel_size, self.stride, self.padding, self.dilation, shape)
        drawn = None
        if self.is_random and self.training:
            drawn = uniform(self.draws.next_key(), *x_BCHW.shape[:-2], *shape).to(wide_dtype(x_BCHW.dtype))
        return match_input(x_BCHW, self.of_ranked(ranked_windows(x_BCHW, geometry), self._params(x_BCHW), drawn))


def ranked_windows(x_BCHW: Tensor, geometry: Geometry) -> Ranked:
    """Return the values of all windows by rank, in float32 or wider."""
    height, width = x_BCHW.shape[-2], x_BCHW.shape[-1]
    x = x_BCHW.to(wide_dtype(x_BCHW.dtype))
    (top, below), (left, right) = margins((height, width), geometry)
    has_border = geometry.has_border((height, width))
    if has_border:
        x = F.pad(x, (left, right, top, below), value=-math.inf)
    for axis in (0, 1):
        steps, size = geometry.dilation[axis], geometry.kernel_size[axis]
        x = x.unfold(2 + axis, (size - 1) * steps + 1, geometry.stride[axis])[..., ::steps]
        x = x.narrow(2 + axis, 0, geometry.shape[axis])
    values = x.flatten(-2)  # (B, C, H', W', n), in row-major order
    count = torch.full((1, 1, 1), values.shape[-1], device=x.device)
    has_nan = values.isnan().any(-1)
    if not has_border:
        return Ranked(values.sort(dim=-1, descending=True, stable=True).values, count, has_nan)
    rows, columns = (inside(a, (height, width)[a], geometry, x.device) for a in (0, 1))
    valid = (rows[:, None, :, None] & columns[None, :, None, :]).flatten(-2)  # (H', W', n)
    # What is outside comes last first: it stays behind a −∞ of the map.
    order = (~valid).to(torch.uint8).sort(dim=-1, stable=True).indices
    values = values.gather(-1, order.expand(values.shape)).sort(dim=-1, descending=True, stable=True).values
    ranked = Ranked(values, valid.sum(-1, keepdim=True), has_nan)
    return Ranked(ranked.existing(values), ranked.count, has_nan)


def by_weight(ranked: Ranked, weights: Tensor, *, normalize: bool) -> Tensor:
    """Return Σ w_r x_(r) over the ranks that there are, divided by Σ w_r if asked for; weights are (…, n)."""
    result = (ranked.values * weights).sum(-1)
    return ranked.marked(result / ranked.existing(weights).sum(-1) if normalize else result)


def numbers(values: Sequence[float], like: Tensor) -> Tensor:
    """Return numbers as a tensor of the dtype and on the device of another one."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)
