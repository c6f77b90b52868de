"""CombPool: a learned sum of several poolings of one window."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window, maximum, minimum, propagate_nan, reduce, sum_of
from poolbench.kernels.precision import upcast
from poolbench.pooling.bases.arguments import shown
from poolbench.pooling.bases.by_rank import Ranked, RankedPool2d, is_large
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import mean, sigmoid, weighted, window_max, window_min
from poolbench.pooling.shared.parameters import check_per
from poolbench.pooling.shared.ranks import existing, largest, median

OF_RANKS = ("median", "sugeno", "sugeno_sum")
FUNCTIONS = ("min", "max", "mean", "sum", *OF_RANKS)
COEFFICIENTS = ("learned", "gated")
# As many as a formula ranks; more are sorted by torch, which forgets the places that a gate asks for.
MOST_GATED = 32


class CombPool2d(RankedPool2d):
    """A sum of several functions of a window, each times a coefficient: Σₖ cₖ·Aₖ(x).

    With x₍₁₎ ≥ … ≥ x₍ₙ₎ and the measure mᵣ = (r/n)² of r of n values, the functions are `"min"`, `"max"`, `"mean"`,
    `"median"` (of an even number the mean of the two in the middle), `"sum"`, `"sugeno"`, which is Sugeno's integral
    maxᵣ min(x₍ᵣ₎, mᵣ), and `"sugeno_sum"`, its generalisation Σᵣ mᵣ·x₍ᵣ₎. Sugeno's integral is at most 1.

    With `coefficients="learned"` cₖ = wₖ², so that the result never falls where a value rises; wₖ starts at √(1/K),
    that is with the mean of the K functions. With `coefficients="gated"` each window has its own, cₖ = σ(vₖ·x); vₖ, one
    number for each position, starts at 0, that is with cₖ = ½. Positions outside the map count as 0 there; n is the
    number of values that a window has.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        functions: names from the list above, each at most once.
        coefficients: `"learned"` or `"gated"`. Gated ones of functions of ranks (the last three) need a window of at
            most 32 values.
        per: `"channel"` as in the source, or `"layer"`.
        channels: number of channels, needed for `per="channel"`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: Rodriguez-Martinez, Lafuente, Santiago, Dimuro, Herrera and Bustince, Replacing pooling functions in
    Convolutional Neural Networks by linear combinations of increasing functions, Neural Networks 152 (2022), of which
    the abstract was read, and the authors' code, which has the functions and both kinds of coefficients. Deviations: w
    and v are drawn from [0, 1) there; of an even number of values the median is the lower one there.

    >>> x = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]])
    >>> pool = CombPool2d(2, functions=("max", "sugeno_sum"), per="layer")
    >>> round(pool(x).item(), 4)  # half of 4, half of 4/16 + 2·4/16 + 1·9/16
    2.6562
    """

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
        functions: Sequence[str] = ("mean", "max"),
        coefficients: str = "learned",
        per: str = "channel",
        channels: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        many = isinstance(functions, Sequence) and not isinstance(functions, str) and len(functions) > 0
        if not many or not all(name in FUNCTIONS for name in functions) or len(set(functions)) < len(functions):
            raise ValueError(f"`functions` must be a list of {', '.join(FUNCTIONS)}, each once, got {shown(functions)}")
        if coefficients not in COEFFICIENTS:
            raise ValueError(f"`coefficients` must be 'learned' or 'gated', got {coefficients!r}")
        self.functions, self.coefficients, self.per = tuple(functions), coefficients, per
        self.has_ranks = any(name in OF_RANKS for name in functions)
        if coefficients == "gated" and self.ranks > MOST_GATED:
            raise ValueError(
                f"`coefficients` must be 'learned' in windows of more than {MOST_GATED} values, here"
                f" {self.window_size}, for functions of ranks ({', '.join(OF_RANKS)}), got 'gated'"
            )
        count, width = len(self.functions), check_per(per, channels)
        if coefficients == "gated":
            self.weight = nn.Parameter(torch.zeros(count * self.window_size, width))
        else:
            self.weight = nn.Parameter(torch.full((count, width), math.sqrt(1 / count)))
        self.trace()

    @property
    def ranks(self) -> int:
        """How many of the largest values the formula asks for."""
        return self.window_size if self.has_ranks else 0

    @property
    def is_sorted(self) -> bool:
        """Whether torch sorts the values, since the window is large."""
        return self.coefficients == "learned" and is_large(self.window_size, self.ranks)

    def params(self) -> Tensor:
        """Return w of each function, or v, function by function and place by place."""
        return upcast(self.weight)

    def formula(self, window: Window) -> Value:
        """Return Σ c·A(x)."""
        ranked = largest(window, self.ranks) if self.ranks else []
        found = [self.of_window(name, window, ranked) for name in self.functions]
        return propagate_nan(weighted(found, self.shares(window)), window)

    def shares(self, window: Window) -> list[Value]:
        """Return c of each function."""
        each = range(len(self.functions))
        if self.coefficients == "learned":
            return [window.param(at) * window.param(at) for at in each]
        values, size = window.masked_fill(0.0), window.size
        gates = [weighted(values, [window.param(at * size + place) for place in range(size)]) for at in each]
        return [sigmoid(gate) for gate in gates]

    def of_window(self, name: str, window: Window, ranked: Sequence[Value]) -> Value:
        """Return one function of a window's values; `ranked` are they in falling order."""
        match name:
            case "min":
                return window_min(window)
            case "max":
                return window_max(window)
            case "mean":
                return mean(window)
            case "sum":
                return sum_of(window.masked_fill(0.0))
            case "median":
                return median(window, ranked)
        count = window.graph.const(float(window.size)) if window.valid is None else window.count
        parts = [(rank + 1.0) / count for rank in range(window.size)]
        measures = [part * part for part in parts]
        if name == "sugeno":  # ranks that a window does not have are −∞
            return reduce(maximum, [minimum(value, m) for value, m in zip(ranked, measures, strict=True)])
        return weighted(existing(ranked, window), measures)

    def of_ranked(self, ranked: Ranked, params_PC: Tensor | None, uniform_BCHW: Tensor | None) -> Tensor:
        """Return Σ c·A(x)."""
        assert params_PC is not None
        shares = params_PC.to(ranked.values.dtype).square()[:, :, None, None]
        found = [self.of_sorted(name, ranked) for name in self.functions]
        return ranked.marked(sum(share * each for share, each in zip(shares, found, strict=True)))

    def of_sorted(self, name: str, ranked: Ranked) -> Tensor:
        """Return one function of all windows' values."""
        values, count = ranked.values, ranked.count
        match name:
            case "min":
                return values.masked_fill(~ranked.is_there, math.inf).min(-1).values  # the first of equal ones
            case "max":
                return values[..., 0]
            case "mean":
                return values.sum(-1) / count.squeeze(-1)
            case "sum":
                return values.sum(-1)
            case "median":
                return (ranked.at((count - 1) // 2) + ranked.at(count // 2)) * 0.5
        measures = (torch.arange(1, values.shape[-1] + 1, device=values.device, dtype=values.dtype) / count).square()
        if name == "sugeno":
            capped = torch.where(values > measures, measures, values)
            return capped.masked_fill(~ranked.is_there, -math.inf).max(-1).values
        return (values * measures).sum(-1)

    def extra_repr(self) -> str:
        """Show the geometry, the functions and their coefficients."""
        return f"{super().extra_repr()}, functions={list(self.functions)}, {self.coefficients}, per={self.per!r}"


class CombPool1d(WindowPool1d, CombPool2d):
    """`CombPool2d` for sequences.

    >>> pool = CombPool1d(2, functions=["sugeno"], per="layer")
    >>> pool(torch.tensor([[[0.5, 0.75]]])).tolist()  # the larger of min(0.75, 1/4) and min(0.5, 1)
    [[[0.5]]]
    """
