"""Every head's formula once more, slowly: image by image and number by number, with none of the heads' own code."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.pooling.heads.adaptive import AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten
from poolbench.pooling.heads.attention import AttentionPool2d
from poolbench.pooling.heads.bilinear import BilinearPool2d
from poolbench.pooling.heads.class_maps import ClassMaps
from poolbench.pooling.heads.compact_bilinear import CompactBilinearPool2d
from poolbench.pooling.heads.gamp import GAMPPool2d
from poolbench.pooling.heads.global_auto import GlobalAutoPool2d
from poolbench.pooling.heads.global_gem import GlobalGeMPool2d
from poolbench.pooling.heads.global_log_sum_exp import GlobalLogSumExp2d
from poolbench.pooling.heads.second_order import SecondOrderPool2d
from poolbench.pooling.heads.simpool import SimPool2d
from poolbench.pooling.heads.spatial_pyramid import SpatialPyramidPool2d
from poolbench.pooling.heads.statistics import StatisticsPool2d
from poolbench.pooling.heads.whole_map import AvgMaxConcat2d, GlobalAvgPool2d, GlobalMaxPool2d

Reference = Callable[[Any, Tensor], Tensor]
CHANNELS = 4  # of the maps that tests give to heads


def by_channel(number: Callable[[Any, Tensor, int], Tensor]) -> Reference:
    """Make one feature of each channel: `number` gets the head, the channel's values (N,) and its place."""

    def reference(head: Any, x: Tensor) -> Tensor:
        rows = [torch.stack([number(head, values, c) for c, values in enumerate(image.flatten(1))]) for image in x]
        return torch.stack(rows)

    return reference


def by_image(features: Callable[[Any, Tensor], Tensor]) -> Reference:
    """Make the features of each image: `features` gets the head and the values (C, N), place by place."""
    return lambda head, x: torch.stack([features(head, image.flatten(1)) for image in x])


def over_cells(number: Callable[[Tensor], Tensor]) -> Reference:
    """Cells from floor(i·n/m) to ceil((i+1)·n/m), so that they overlap where the size does not divide."""
    return lambda head, x: cells(number, x, head.output_size)


def cells(number: Callable[[Tensor], Tensor], x: Tensor, grid: tuple[int, int]) -> Tensor:
    def bounds(size: int, count: int) -> list[slice]:
        return [slice(i * size // count, math.ceil((i + 1) * size / count)) for i in range(count)]

    rows, columns = (bounds(n, m) for n, m in zip(x.shape[-2:], grid, strict=True))
    return torch.stack([number(x[..., r, c].flatten(2)) for r in rows for c in columns], dim=-1).flatten(1)


def mean_of_cell(cell: Tensor) -> Tensor:
    return cell.sum(-1) / cell.shape[-1]


def largest_of_cell(cell: Tensor) -> Tensor:
    return cell.max(-1).values


def spatial_pyramid(head: SpatialPyramidPool2d, x: Tensor) -> Tensor:
    number = largest_of_cell if head.mode == "max" else mean_of_cell
    return torch.cat([cells(number, x, (n, n)) for n in head.levels], dim=1)


def class_maps(head: ClassMaps, x: Tensor) -> Tensor:
    assert head.conv.bias is not None
    maps = torch.einsum("bchw,nc->bnhw", x, head.conv.weight[:, :, 0, 0]) + head.conv.bias.view(1, -1, 1, 1)
    return REFERENCES[type(head.pool)](head.pool, maps)


def gamp(head: GAMPPool2d, values: Tensor, channel: int) -> Tensor:
    k = head.k if isinstance(head.k, int) else max(1, int(head.k * len(values) + 0.5))
    return values.sort(descending=True).values[:k].sum() / k


def gem(head: GlobalGeMPool2d, values: Tensor, channel: int) -> Tensor:
    p = head.p.tolist()[{"layer": 0, "channel": channel, "group": channel * len(head.p) // CHANNELS}[head.per]]
    return ((values.clamp(min=head.eps) ** p).sum() / len(values)) ** (1 / p)


def log_sum_exp(head: GlobalLogSumExp2d, values: Tensor, channel: int) -> Tensor:
    beta = head.beta
    if head.log_beta is not None:
        beta = math.exp(head.log_beta.tolist()[channel if head.per == "channel" else 0])
    return torch.log(torch.exp(beta * values).sum() / len(values)) / beta


def softmax(scores: Tensor) -> Tensor:
    powers = torch.exp(scores)
    return powers / powers.sum()


def autopool(head: GlobalAutoPool2d, values: Tensor, channel: int) -> Tensor:
    alpha = head.alpha.tolist()[channel if head.per == "channel" else 0]
    return (values * softmax(alpha * values)).sum()


def statistics(head: StatisticsPool2d, places: Tensor) -> Tensor:
    weights = torch.full((places.shape[1],), 1 / places.shape[1], dtype=places.dtype)
    if head.attentive:
        hidden = [(head.hidden.weight @ place + head.hidden.bias).clamp(min=0) for place in places.T]
        weights = softmax(torch.stack([head.score @ values for values in hidden]))
    means = (weights * places).sum(1)
    return torch.cat([means, (weights * (places - means.unsqueeze(1)) ** 2).sum(1).sqrt()])


def attention(head: AttentionPool2d, places: Tensor) -> Tensor:
    channels, width = len(places), len(places) // head.heads
    features = []
    for group, query in enumerate(head.query):
        weights = softmax(torch.stack([query @ place for place in places.T]) / math.sqrt(channels))
        for channel in range(group * width, (group + 1) * width):
            features.append((weights * places[channel]).sum())
    return torch.stack(features)


def simpool(head: SimPool2d, places: Tensor) -> Tensor:
    channels, width = len(places), len(places) // head.heads
    normal = []
    for place in places.T:
        mean = place.sum() / channels
        spread = ((place - mean) ** 2).sum() / channels
        normal.append(head.norm.weight * (place - mean) / torch.sqrt(spread + 1e-6) + head.norm.bias)
    query = head.query.weight @ (places.sum(1) / places.shape[1])
    least = torch.stack(normal).min()
    features = []
    for group in range(head.heads):
        part = slice(group * width, (group + 1) * width)
        keys = [(head.key.weight @ place)[part] for place in normal]
        weights = softmax(torch.stack([query[part] @ key for key in keys]) / math.sqrt(width))
        for channel in range(group * width, (group + 1) * width):
            values = torch.stack([place[channel] for place in normal])
            if head.gamma is None:
                features.append((weights * values).sum())
            else:
                features.append((weights * (values - least + 1e-6) ** head.gamma).sum() ** (1 / head.gamma))
    return torch.stack(features)


def finished(head: BilinearPool2d, z: Tensor) -> Tensor:
    """Take roots as defined at 0 by `signed_root`, then the division by the length."""
    if head.signed_sqrt:
        z = z / torch.sqrt(z.abs() + 1e-7)
    return z / torch.sqrt((z * z).sum()).clamp(min=1e-12) if head.l2 else z


def bilinear(head: BilinearPool2d, places: Tensor) -> Tensor:
    total = torch.zeros(len(places), len(places), dtype=places.dtype)
    for place in places.T:
        total += torch.outer(place, place)
    return finished(head, total.flatten() / places.shape[1])


def compact_bilinear(head: CompactBilinearPool2d, places: Tensor) -> Tensor:
    """Sketch each place twice and convolve the sketches by Fourier transforms, as the source does."""
    total = torch.zeros(head.features, dtype=places.dtype)
    for place in places.T:
        sketches = torch.zeros(2, head.features, dtype=places.dtype)
        for which in range(2):
            for channel, value in enumerate(place):
                sketches[which, head.hashes[which, channel]] += head.signs[which, channel] * value
        total += torch.fft.ifft(torch.fft.fft(sketches[0]) * torch.fft.fft(sketches[1])).real
    return finished(head, total / places.shape[1])


def second_order(head: SecondOrderPool2d, places: Tensor) -> Tensor:
    """Step each eigenvalue by itself: the steps never mix eigenvectors."""
    covariance = torch.cov(places, correction=0)
    values, vectors = torch.linalg.eigh(covariance)
    y, z = values / covariance.trace(), torch.ones_like(values)
    for _ in range(head.iterations):
        y, z = y * (3 - z * y) / 2, (3 - z * y) / 2 * z
    matrix = vectors @ torch.diag(y * torch.sqrt(covariance.trace())) @ vectors.T
    matrix = matrix if head.iterations else covariance
    return torch.cat([matrix[row, row:] for row in range(len(matrix))])


REFERENCES: dict[type[nn.Module], Reference] = {
    AdaptiveAvgPool2dFlatten: over_cells(mean_of_cell),
    AdaptiveMaxPool2dFlatten: over_cells(largest_of_cell),
    AttentionPool2d: by_image(attention),
    AvgMaxConcat2d: by_image(lambda head, places: torch.cat([places.sum(1) / places.shape[1], places.max(1).values])),
    BilinearPool2d: by_image(bilinear),
    ClassMaps: class_maps,
    CompactBilinearPool2d: by_image(compact_bilinear),
    GAMPPool2d: by_channel(gamp),
    GlobalAutoPool2d: by_channel(autopool),
    GlobalAvgPool2d: by_channel(lambda head, values, channel: values.sum() / len(values)),
    GlobalGeMPool2d: by_channel(gem),
    GlobalLogSumExp2d: by_channel(log_sum_exp),
    GlobalMaxPool2d: by_channel(lambda head, values, channel: values.max()),
    SecondOrderPool2d: by_image(second_order),
    SimPool2d: by_image(simpool),
    SpatialPyramidPool2d: spatial_pyramid,
    StatisticsPool2d: by_image(statistics),
    nn.Flatten: lambda head, x: x.reshape(len(x), -1),
}
