"""CombPool: its functions one by one, its coefficients, and what it refuses."""

import itertools

import pytest
import torch

from poolbench.pooling import AvgPool2d, CombPool2d, MaxPool2d, MedianPool2d, MinPool2d


@pytest.mark.parametrize(
    ("name", "other"), [("min", MinPool2d), ("max", MaxPool2d), ("mean", AvgPool2d), ("median", MedianPool2d)]
)
@pytest.mark.parametrize("padding", [0, 1])
def test_one_function_alone_is_that_pooling(name: str, other: type, padding: int) -> None:
    x = torch.randn(2, 3, 7, 8)
    pool = CombPool2d(3, 2, padding, functions=[name], per="layer")
    torch.testing.assert_close(pool(x), other(3, 2, padding)(x))


def test_sugeno_is_the_integral_by_its_definition() -> None:
    """The largest, over all subsets, of min(least value of the subset, measure of the subset)."""
    x = torch.rand(20, 1, 2, 2, dtype=torch.float64)
    subsets = [at for r in range(1, 5) for at in itertools.combinations(range(4), r)]
    flat = x.flatten(1)
    of_subsets = [flat[:, list(at)].amin(1).clamp(max=(len(at) / 4) ** 2) for at in subsets]
    found = CombPool2d(2, functions=["sugeno"], per="layer").double()(x)
    torch.testing.assert_close(found.flatten(), torch.stack(of_subsets).amax(0))


def test_learned_coefficients_are_squares_and_start_at_the_mean() -> None:
    x = torch.randn(2, 3, 4, 4)
    pool = CombPool2d(2, functions=["min", "max"], channels=3)
    torch.testing.assert_close(pool(x), (MinPool2d(2)(x) + MaxPool2d(2)(x)) / 2)
    with torch.no_grad():
        pool.weight.copy_(torch.tensor([[1.0, -2.0, 0.0], [-3.0, 0.0, 1.0]]))
    squares = torch.tensor([[1.0, 4.0, 0.0], [9.0, 0.0, 1.0]])[:, :, None, None]
    torch.testing.assert_close(pool(x), squares[0] * MinPool2d(2)(x) + squares[1] * MaxPool2d(2)(x))


def test_gated_coefficients_start_at_a_half() -> None:
    x = torch.randn(2, 3, 4, 4)
    pool = CombPool2d(2, functions=["mean", "max"], coefficients="gated", channels=3)
    torch.testing.assert_close(pool(x), (AvgPool2d(2)(x) + MaxPool2d(2)(x)) / 2)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"functions": []}, "`functions`"),
        ({"functions": "max"}, "`functions`"),
        ({"functions": ["max", "max"]}, "each once"),
        ({"functions": ["maximum"]}, "`functions`"),
        ({"functions": [["max"]]}, "`functions`"),
        ({"coefficients": "free"}, "`coefficients`"),
        ({"per": "channel"}, "`channels`"),
        ({"kernel_size": 6, "functions": ["median"], "coefficients": "gated"}, "36"),
    ],
)
def test_refused(arguments: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        CombPool2d(**{"kernel_size": 2, "per": "layer", **arguments})
