"""What the polyphase poolings promise beyond the conformance suite."""

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pooling.references.polyphase import REFERENCES
from torch import Tensor, nn

from poolbench.pooling.windows.adaptive_polyphase import AdaptivePolyphasePool1d, AdaptivePolyphasePool2d
from poolbench.pooling.windows.learned_polyphase import LearnedPolyphasePool1d, LearnedPolyphasePool2d

GEOMETRIES = [
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 2, "ceil_mode": True},
    {"kernel_size": 3, "stride": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1, "maximum": False},
]
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)


def images(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def learned(**arguments: Any) -> LearnedPolyphasePool2d:
    torch.manual_seed(5)
    return LearnedPolyphasePool2d(**({"kernel_size": 2, "channels": 3} | arguments))


def poolings(**geometry: Any) -> list[Any]:
    return [AdaptivePolyphasePool2d(**geometry), learned(**geometry).double().eval()]


def is_a_circular_shift(found: Tensor, expected: Tensor) -> bool:
    """Whether one image's result is another's, moved."""
    moves = itertools.product(range(found.shape[-2]), range(found.shape[-1]))
    return any(torch.equal(found, expected.roll(move, (-2, -1))) for move in moves)


# ---- shifts ----


@each_geometry
def test_a_circular_shift_shifts_the_result_exactly(geometry: dict[str, Any]) -> None:
    x = images(4, 3, 12, 12)
    for operator in poolings(**geometry):
        before = operator(x)
        for shift in itertools.product((0, 1, -1), (0, 1, 5)):
            after = operator(x.roll(shift, (2, 3)))
            assert all(is_a_circular_shift(a, b) for a, b in zip(after, before, strict=True))


def test_max_pooling_does_not() -> None:
    x = images(4, 3, 12, 12)
    after, before = F.max_pool2d(x.roll(1, 3), 2), F.max_pool2d(x, 2)
    assert not any(is_a_circular_shift(a, b) for a, b in zip(after, before, strict=True))


def test_without_circular_padding_the_border_tells() -> None:
    x = images(4, 3, 12, 12)
    operator = AdaptivePolyphasePool2d(3, 2, 1, padding_mode="replicate")
    after, before = operator(x.roll(1, 3)), operator(x)
    assert not all(is_a_circular_shift(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("learn", [False, True])
def test_features_of_a_circular_network_do_not_change(learn: bool) -> None:
    torch.manual_seed(0)
    stages: list[nn.Module] = []
    for channels in (3, 8):
        stages += [nn.Conv2d(channels, 8, 3, padding=1, padding_mode="circular"), nn.ReLU()]
        stages += [LearnedPolyphasePool2d(2, channels=8) if learn else AdaptivePolyphasePool2d(2)]
    network = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1)).double().eval()
    x = images(4, 3, 16, 16)
    expected = network(x)
    for shift in ((1, 0), (0, 1), (3, 5), (-2, 7)):
        torch.testing.assert_close(network(x.roll(shift, (2, 3))), expected)


# ---- the choice ----


@pytest.mark.quick(3)
@pytest.mark.parametrize("padding_mode", ["circular", "replicate"])
@pytest.mark.parametrize("maximum", [True, False])
@pytest.mark.parametrize("own", [{"norm": 1}, {"norm": 3.5}, {"norm": float("inf")}, {"hidden": 2}], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_equals_its_formula(padding_mode: str, maximum: bool, own: dict[str, Any], layout: torch.memory_format) -> None:
    kind = learned if "hidden" in own else AdaptivePolyphasePool2d
    for geometry, size in (((3, 2, 1), (6, 5)), ((2, 3, 0, True), (7, 4)), ((4, 4, 2), (3, 5))):
        names = dict(zip(("kernel_size", "stride", "padding", "ceil_mode"), geometry, strict=False))
        operator = kind(**names, **own, maximum=maximum, padding_mode=padding_mode).double().eval()
        x = images(2, 3, *size).contiguous(memory_format=layout).requires_grad_()
        pooled = operator(x)
        with torch.no_grad():
            assert torch.equal(pooled, REFERENCES[type(operator)](operator, x))
        assert pooled.is_contiguous(memory_format=layout)
        for mode in (False, True):
            (gradient,) = torch.autograd.grad(operator.train(mode)(x).square().sum(), x)
            assert gradient.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("largest", [1e-30, 1.0, 1e30])
def test_the_choice_is_that_of_the_scaled_map(largest: float) -> None:
    x = images(4, 3, 8, 8).float()
    for norm in (1.0, 2.0, 20.0, float("inf")):
        operator = AdaptivePolyphasePool2d(2, norm=norm)
        torch.testing.assert_close(operator(x * largest), operator(x) * largest)
    network = learned(draw="softmax").eval()
    nn.init.zeros_(network.first.bias)  # type: ignore[arg-type]
    torch.testing.assert_close(network(x * largest), network(x) * largest)


def test_without_a_number_there_is_no_choice() -> None:
    x = images(2, 3, 8, 8).float()
    x[1, 2, 3, 4] = torch.nan
    for operator in (AdaptivePolyphasePool2d(2), learned(), learned().eval()):
        pooled = operator(x)
        assert pooled[0].isfinite().all()
        assert pooled[1].isnan().all()
    infinite = torch.zeros(1, 1, 4, 4)
    infinite[0, 0, 1, 0] = torch.inf
    assert AdaptivePolyphasePool2d(2, maximum=False)(infinite).tolist() == [[[[torch.inf, 0.0], [0.0, 0.0]]]]


@pytest.mark.parametrize(("norm", "expected"), [(1.0, [4.0, 4.0]), (2.0, [6.0, 0.0]), (float("inf"), [6.0, 0.0])])
def test_the_norm_decides(norm: float, expected: list[float]) -> None:
    x = torch.tensor([[[4.0, 6.0, 4.0, 0.0]]])
    operator = AdaptivePolyphasePool1d(2, maximum=False, norm=norm)
    assert operator(x).tolist() == [[expected]]
    assert operator(-x).tolist() == [[[-value for value in expected]]]


def test_one_component_for_all_channels_and_one_for_each_image() -> None:
    # In the first channel the first component is larger, in the second one the other; that is larger still.
    image = torch.tensor([[3.0, 0.0, 3.0, 0.0], [0.0, 4.0, 0.0, 4.0]])
    other = torch.tensor([[9.0, 0.0, 9.0, 0.0], [0.0, 4.0, 0.0, 4.0]])
    pooled = AdaptivePolyphasePool1d(2, maximum=False)(torch.stack([image, other]))
    assert pooled.tolist() == [[[0.0, 0.0], [4.0, 4.0]], [[9.0, 9.0], [0.0, 0.0]]]


def test_of_equal_components_the_first_is_taken() -> None:
    x = torch.tensor([[[1.0, 2.0, 2.0, 1.0]]])
    assert AdaptivePolyphasePool1d(2, maximum=False)(x).tolist() == [[[1.0, 2.0]]]
    # Whatever the order in which they are summed.
    many = images(1, 3, 1, 64)
    both = torch.stack([many, many.flip(3)], dim=4).flatten(3)
    assert torch.equal(AdaptivePolyphasePool2d((1, 2), maximum=False)(both), many)
    assert torch.equal(AdaptivePolyphasePool2d((1, 2), maximum=False)(both.float()), many.float())


@pytest.mark.parametrize("padding_mode", ["circular", "replicate"])
def test_maxima_come_first(padding_mode: str) -> None:
    x = images(2, 3, 8, 8)
    operator = AdaptivePolyphasePool2d(3, 2, 1, padding_mode=padding_mode)
    dense = F.max_pool2d(F.pad(x, (1, 1, 1, 1), mode=padding_mode), 3, 1)
    components = [dense[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    for image, pooled in enumerate(operator(x)):
        norms = [component[image].norm() for component in components]
        assert torch.equal(pooled, components[norms.index(max(norms))][image])


def test_an_odd_map_goes_on_at_the_other_side() -> None:
    x = torch.tensor([[[1.0, 2.0, 9.0]]])
    # Components 1, 9 and 2, 1; or 2 and its like, the last value.
    assert AdaptivePolyphasePool1d(2, maximum=False, ceil_mode=True)(x).tolist() == [[[1.0, 9.0]]]
    x = torch.tensor([[[1.0, 9.0, 2.0]]])
    assert AdaptivePolyphasePool1d(2, maximum=False, ceil_mode=True)(x).tolist() == [[[9.0, 1.0]]]
    edge = AdaptivePolyphasePool1d(2, maximum=False, ceil_mode=True, padding_mode="replicate")
    assert edge(x).tolist() == [[[9.0, 2.0]]]


def test_the_gradient_goes_to_the_component() -> None:
    x = images(2, 3, 6, 6).requires_grad_()
    AdaptivePolyphasePool2d(2, maximum=False)(x).sum().backward()
    assert x.grad is not None
    for image in x.grad:
        parts = [image[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        assert sorted(int(part.sum()) for part in parts) == [0, 0, 0, 27]


# ---- the learned score ----


def smallest_component(x: Tensor) -> Tensor:
    parts = torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
    return parts.mean((2, 3, 4)).argmin(1)


@pytest.mark.slow
@pytest.mark.parametrize("draw", ["gumbel", "softmax"])
def test_learns_which_component_to_take(draw: str) -> None:
    """The one with the smallest mean: the largest norm, and any fixed choice, are something else."""
    generator = torch.Generator().manual_seed(3)
    parts = torch.randn(96, 1, 3, 2, 3, 2, generator=generator) * 0.3 + torch.randn(
        96, 1, 1, 2, 1, 2, generator=generator
    )
    x = parts.flatten(4, 5).flatten(2, 3)
    best = smallest_component(x)
    target = torch.stack([x[i, :, b // 2 :: 2, b % 2 :: 2] for i, b in enumerate(best.tolist())])
    operator = learned(channels=1, hidden=4, draw=draw, maximum=False)
    start = [parameter.detach().clone() for parameter in operator.parameters()]
    optimizer = torch.optim.Adam(operator.parameters(), lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        F.mse_loss(operator(x), target).backward()
        optimizer.step()
    assert all((now - then).abs().max() > 0.05 for now, then in zip(operator.parameters(), start, strict=True))
    error = F.mse_loss(operator.eval()(x), target).item()
    fixed = [AdaptivePolyphasePool2d(2, maximum=False)(x), x[..., ::2, ::2], F.avg_pool2d(x, 2), F.max_pool2d(x, 2)]
    assert error < min(F.mse_loss(pooled, target).item() for pooled in fixed) / 10


def test_evaluation_takes_a_component_training_a_mixture() -> None:
    x = images(2, 3, 8, 8).float()
    operator = learned(draw="softmax")
    mixed = operator(x)
    assert torch.equal(mixed, operator(x))
    score = operator.scores(operator.components(x)).softmax(1)
    parts = operator.components(x).permute(0, 3, 5, 1, 2, 4).flatten(1, 2)
    torch.testing.assert_close(mixed, (score.view(2, 4, 1, 1, 1) * parts).sum(1))
    assert all(any(torch.equal(image, part) for part in p) for image, p in zip(operator.eval()(x), parts, strict=True))


class Scored(LearnedPolyphasePool2d):
    """Knows its scores."""

    def scores(self, parts_BCHIWJ: Tensor) -> Tensor:
        return torch.tensor([0.1, 0.2, 0.3, 0.4]).log().expand(len(parts_BCHIWJ), -1)


def test_gumbels_noise_draws_by_softmax_of_the_scores() -> None:
    torch.manual_seed(5)
    operator = Scored(2, channels=1, maximum=False, temperature=1e-4)
    x = torch.arange(4.0).view(1, 1, 2, 2).expand(5000, 1, 2, 2)
    found = Counter(operator(x).flatten().round().int().tolist())
    for component, share in enumerate((0.1, 0.2, 0.3, 0.4)):
        assert abs(found[component] / 5000 - share) < 5 * (share * (1 - share) / 5000) ** 0.5


def test_the_noise_is_drawn_anew_and_repeats_by_seed() -> None:
    x = images(2, 3, 8, 8).float()
    first, second = learned(), learned()
    draws = [first(x), first(x)]
    assert not torch.equal(*draws)
    assert all(torch.equal(second(x), drawn) for drawn in draws)
    first.draws.reseed(7)
    again = first(x)
    first.draws.reseed(7)
    assert torch.equal(first(x), again)
    assert not torch.equal(LearnedPolyphasePool2d(2, channels=3)(x), draws[0])


def test_sequences_have_flat_filters() -> None:
    operator = LearnedPolyphasePool1d(2, channels=3, hidden=5)
    assert operator.first.weight.shape == (5, 3, 1, 3)
    assert operator.second.weight.shape == (5, 5, 1, 3)
    assert sum(p.numel() for p in learned().parameters()) == 2 * 81 + 3


# ---- arguments ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maximum": 1}, "`maximum` must be true or false, got 1"),
        ({"padding_mode": "zeros"}, "`padding_mode` must be 'circular' or 'replicate', got 'zeros'"),
        ({"norm": 0}, "`norm` must be a number above 0 or infinity, got 0"),
        ({"norm": float("nan")}, "`norm` must be a number above 0 or infinity, got nan"),
    ],
    ids=str,
)
def test_arguments_have_rules(arguments: dict[str, object], message: str) -> None:
    for kind in (AdaptivePolyphasePool2d, AdaptivePolyphasePool1d):
        with pytest.raises(ValueError, match=message):
            kind(2, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "`channels` must be a whole number of at least 1, got 0"),
        ({"hidden": 0}, "`hidden` must be a whole number of at least 1, got 0"),
        ({"draw": "argmax"}, "`draw` must be 'gumbel' or 'softmax', got 'argmax'"),
        ({"temperature": 0}, "`temperature` must be a number above 0, got 0"),
    ],
    ids=str,
)
def test_learned_arguments_have_rules(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learned(**arguments)


def test_shows_its_choice() -> None:
    assert "maximum=True, padding_mode='circular', norm=2.0" in repr(AdaptivePolyphasePool2d(2))
    assert "draw='gumbel', temperature=1.0" in repr(learned())
