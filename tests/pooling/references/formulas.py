"""Slow references of the operators that are a formula of one window: its values, one window at a time."""

import functools
import math
from collections.abc import Callable

import torch
from pooling.references.windows import Reference, by_window
from torch import Tensor, nn

from poolbench.pooling import (
    AdaPool2d,
    AutoPool2d,
    AvgPool2d,
    AvgTopKPool2d,
    CombPool2d,
    DetailPreservingPool2d,
    FuzzyPool2d,
    GatedPool2d,
    LehmerPool2d,
    LogSumExpPool2d,
    LpPool2d,
    MAMPool2d,
    MaxPool2d,
    MedianPool2d,
    MinPool2d,
    MixedPool2d,
    OrdinalPool2d,
    PowerMeanPool2d,
    RandomMixedPool2d,
    RankStochasticPool2d,
    RankWeightedPool2d,
    SoftPool2d,
    StochasticPool2d,
    TMaxAvgPool2d,
    TreePool2d,
)


def simple(formula: Callable[[Tensor], Tensor]) -> Reference:
    """Turn a formula that needs nothing but the values into one of the map."""
    return by_window(lambda operator, values, places: formula(values))


def falling(values: Tensor) -> Tensor:
    """Sort, equal values in the order of reading."""
    return values.sort(dim=-1, descending=True, stable=True).values


def top(values: Tensor, k: int) -> Tensor:
    # `topk` leaves open which of equal values it takes, and so which gets the gradient; it counts as less work.
    return falling(values)[..., :k] if values.requires_grad else values.topk(min(k, values.shape[-1]), -1).values


def maximum(values: Tensor) -> Tensor:
    """Return the largest value, the first of equal ones: `amax` would share the gradient."""
    return values.max(-1).values


def minimum(values: Tensor) -> Tensor:
    return values.min(-1).values


def t_max_avg(operator: TMaxAvgPool2d, values: Tensor, places: list[int]) -> Tensor:
    largest = top(values, operator.k)
    deciding = largest[..., 0 if operator.rule == "max" else -1]
    return torch.where(deciding >= operator.threshold, largest[..., 0], largest.mean(-1))


def mixture(operator: MixedPool2d, values: Tensor, places: list[int]) -> Tensor:
    share = 1 / (1 + torch.exp(-operator.logit))
    return share * maximum(values) + (1 - share) * values.mean(-1)


def gated(operator: GatedPool2d, values: Tensor, places: list[int]) -> Tensor:
    gate = torch.sigmoid((values * operator.weight[places].transpose(0, 1)).sum(-1))
    return gate * maximum(values) + (1 - gate) * values.mean(-1)


def tree(operator: TreePool2d, values: Tensor, places: list[int]) -> Tensor:
    def filtered(weight: Tensor) -> Tensor:
        return (values * weight[places].transpose(0, 1)).sum(-1)

    def node(first: int, leaves: list[Tensor]) -> tuple[Tensor, int]:
        """Return the value of the tree over these leaves, its gates numbered from `first` level by level."""
        gates = operator.gate
        while len(leaves) > 1:
            above = []
            for left, right in zip(leaves[::2], leaves[1::2], strict=True):
                share = torch.sigmoid(filtered(gates[first]))
                above.append(share * left + (1 - share) * right)
                first += 1
            leaves = above
        return leaves[0], first

    return node(0, [filtered(weight) for weight in operator.leaf])[0]


def mam(values: Tensor) -> Tensor:
    largest, mean = maximum(values), values.mean(-1)
    reach = largest - minimum(values)
    return torch.where(reach > mean, reach, (largest + mean) / 2)


def geometric(alpha: float, values: Tensor) -> Tensor:
    return alpha * (1 - alpha) ** torch.arange(values.shape[-1], dtype=values.dtype)


def rank_weighted(operator: RankWeightedPool2d, values: Tensor, places: list[int]) -> Tensor:
    weights = geometric(operator.alpha, values)
    total = (falling(values) * weights).sum(-1)
    return total / weights.sum() if operator.normalize else total


def rank_stochastic(operator: RankStochasticPool2d, values: Tensor, places: list[int]) -> Tensor:
    weights = geometric(operator.alpha, values)
    return (falling(values) * weights).sum(-1) / weights.sum()


def ordinal(operator: OrdinalPool2d, values: Tensor, places: list[int]) -> Tensor:
    weights = operator.logit.softmax(0)[: values.shape[-1]].transpose(0, 1)
    total = (falling(values) * weights).sum(-1)
    return total if len(places) == operator.window_size else total / weights.sum(-1)


def median(values: Tensor) -> Tensor:
    ordered, n = falling(values), values.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2


def comb(operator: CombPool2d, values: Tensor, places: list[int]) -> Tensor:
    ordered, n = falling(values), values.shape[-1]
    measures = (torch.arange(1, n + 1, dtype=values.dtype) / n) ** 2
    functions = {
        "min": lambda: minimum(values),
        "max": lambda: maximum(values),
        "mean": lambda: values.mean(-1),
        "median": lambda: median(values),
        "sum": lambda: values.sum(-1),
        "sugeno": lambda: maximum(torch.where(ordered > measures, measures, ordered)),
        "sugeno_sum": lambda: (ordered * measures).sum(-1),
    }
    size, parts = operator.window_size, []
    for at, name in enumerate(operator.functions):
        if operator.coefficients == "learned":
            share = operator.weight[at] ** 2
        else:
            weights = operator.weight[at * size : (at + 1) * size][places]
            share = torch.sigmoid((values * weights.transpose(0, 1)).sum(-1))
        parts.append(share * functions[name]())
    return functools.reduce(torch.add, parts)


def stochastic(values: Tensor) -> Tensor:
    """The expectation, for values of at least 0; a window of zeros gives 0."""
    chances = values / values.sum(-1, keepdim=True)
    return torch.where(values.sum(-1) > 0, (chances * values).sum(-1), 0.0)


def softmax_mean(values: Tensor, steepness: float = 1.0) -> Tensor:
    return (values * (steepness * values).softmax(-1)).sum(-1)


def ada(operator: AdaPool2d, values: Tensor, places: list[int]) -> Tensor:
    mean = values.mean(-1, keepdim=True)
    squares, products = values**2 + mean**2, values * mean
    # Of 0, the derivative that positive numbers have; that of `abs` is 0.
    sizes = torch.where(products < 0, -products, products)
    dice = torch.where(squares > 0, 2 * sizes / squares, 1.0)
    blend = torch.sigmoid(operator.logit)
    return blend * (values * dice.softmax(-1)).sum(-1) + (1 - blend) * softmax_mean(values)


def autopool(operator: AutoPool2d, values: Tensor, places: list[int]) -> Tensor:
    return (values * (operator.alpha.unsqueeze(-1) * values).softmax(-1)).sum(-1)


def detail_preserving(operator: DetailPreservingPool2d, values: Tensor, places: list[int]) -> Tensor:
    apart = values - values.mean(-1, keepdim=True)
    squares = (apart if operator.form == "symmetric" else apart.clamp(min=0)) ** 2 + 1e-3
    alpha, power = operator.log_alpha.exp().unsqueeze(-1), operator.log_power.exp().unsqueeze(-1)
    weights = alpha + (squares / squares.mean(-1, keepdim=True)) ** (power / 2)
    return (weights * values).sum(-1) / weights.sum(-1)


def fuzzy(operator: FuzzyPool2d, values: Tensor, places: list[int]) -> Tensor:
    r, far = operator.r_max, (values - operator.r_max / 2).abs()
    small = ((r / 2 - values) / (r / 3)).clamp(0, 1)
    medium = (1 - far / (r / 4)).clamp(min=0)
    large = ((values - r / 2) / (r / 4)).clamp(0, 1)
    sets = torch.stack([small, medium, large])
    scores = sets.sum(-1) if operator.aggregation == "sum" else 1 - (1 - sets).prod(-1)
    weights = sets.gather(0, scores.max(0).indices[None, ..., None].expand(1, *values.shape))[0]
    return (weights * values).sum(-1) / weights.sum(-1)


def power_mean(operator: PowerMeanPool2d, values: Tensor, places: list[int]) -> Tensor:
    p = operator.p.unsqueeze(-1)
    return (values.clamp(min=operator.eps) ** p).mean(-1) ** (1 / operator.p)


def lehmer(operator: LehmerPool2d, values: Tensor, places: list[int]) -> Tensor:
    x, p = values.clamp(min=1e-6), operator.exponent.unsqueeze(-1)
    return (x ** (p + 1)).sum(-1) / (x**p).sum(-1)


REFERENCES: dict[type[nn.Module], Reference] = {
    MaxPool2d: simple(maximum),
    MinPool2d: simple(minimum),
    AvgPool2d: simple(lambda values: values.sum(-1) / values.shape[-1]),
    AvgTopKPool2d: by_window(lambda operator, values, places: top(values, operator.k).mean(-1)),
    TMaxAvgPool2d: by_window(t_max_avg),
    MixedPool2d: by_window(mixture),
    RandomMixedPool2d: simple(lambda values: (maximum(values) + values.mean(-1)) / 2),
    GatedPool2d: by_window(gated),
    TreePool2d: by_window(tree),
    MAMPool2d: simple(mam),
    RankWeightedPool2d: by_window(rank_weighted),
    RankStochasticPool2d: by_window(rank_stochastic),
    OrdinalPool2d: by_window(ordinal),
    MedianPool2d: simple(median),
    StochasticPool2d: simple(stochastic),
    LpPool2d: by_window(lambda operator, values, places: values.abs().pow(operator.p).mean(-1) ** (1 / operator.p)),
    LogSumExpPool2d: by_window(
        lambda operator, values, places: (
            ((operator.beta * values).logsumexp(-1) - math.log(values.shape[-1])) / operator.beta
        )
    ),
    SoftPool2d: by_window(lambda operator, values, places: softmax_mean(values, operator.beta)),
    AdaPool2d: by_window(ada),
    PowerMeanPool2d: by_window(power_mean),
    LehmerPool2d: by_window(lehmer),
    AutoPool2d: by_window(autopool),
    CombPool2d: by_window(comb),
    DetailPreservingPool2d: by_window(detail_preserving),
    FuzzyPool2d: by_window(fuzzy),
}
