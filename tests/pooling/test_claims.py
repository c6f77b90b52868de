"""What the class attributes of window operators claim, tried both ways.

What is claimed holds for every YAML of the class, and of what is not claimed one of them gives an example.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pooling.cases import CASES, CHANNELS, Case, each, geometries_of, maximum, tied
from torch import Tensor

CLASSES = sorted({case.kind for case in CASES.values()}, key=lambda kind: kind.__name__)

each_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def operators(case: Case) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the operator in each geometry, in evaluation, and in training if that is another thing."""
    for geometry in geometries_of(case.kind):
        yield case.operator(**geometry).double(), geometry
        if case.kind.is_random:
            yield case.operator(**geometry).double().train(), geometry


def keeps_constants(case: Case) -> bool:
    """Whether maps of equal values, that the formula is for, get no other values."""
    values = {"real": (1.5, 0.0, -2.0), "nonnegative": (1.5, 0.0, 40.0), "positive": (1.5, 0.01, 40.0)}
    for operator, _ in operators(case):
        for value in values[case.kind.domain]:
            pooled = operator(torch.full((2, CHANNELS, 9, 8), value, dtype=torch.float64))
            if not torch.allclose(pooled, torch.full_like(pooled, value)):
                return False
    return True


def keeps_range(case: Case) -> bool:
    """Whether no result is above the largest value of its window, or below the smallest."""
    for operator, geometry in operators(case):
        for x in case.kinds_of_images(4, CHANNELS, 9, 8, dtype=torch.float64).values():
            pooled = operator(x)
            above, below = pooled - maximum(x, **geometry), -maximum(-x, **geometry) - pooled
            if max(above.max().item(), below.max().item()) > 1e-6:
                return False
    return True


def is_equivariant(case: Case) -> bool:
    """Whether two views of a scene, apart by the stride, have results that are apart by one, away from the border."""
    for geometry in geometries_of(case.kind):
        operator = case.operator(**geometry).double()
        down, across = operator.stride
        for scene in scenes(case):
            first = operator(scene[..., :40, :38])
            second = operator(scene[..., down : down + 40, across : across + 38])
            # Four results at each side reach further than any filter of the library.
            if not torch.allclose(first[..., 5:-4, 5:-4], second[..., 4:-5, 4:-5]):
                return False
    return True


def scenes(case: Case) -> Iterator[Tensor]:
    yield case.images(2, CHANNELS, 46, 44, dtype=torch.float64)
    # Something bright comes into the second view at its end: who looks at the whole map sees it.
    scene = tied(2, CHANNELS, 46, 44)
    scene[..., 40:, :] *= 30
    yield scene


CLAIMS: dict[str, Callable[[Case], bool]] = {
    "keeps_constants": keeps_constants,
    "keeps_range": keeps_range,
    "is_equivariant": is_equivariant,
}
each_claim = pytest.mark.parametrize("claim", CLAIMS)


@pytest.mark.quick(25)
@each_claim
@each()
def test_what_is_claimed_holds(case: Case, claim: str) -> None:
    assert CLAIMS[claim](case) or not getattr(case.kind, claim)


@pytest.mark.quick(28)
@each_claim
@each_class
def test_what_is_not_claimed_has_an_example(kind: Any, claim: str) -> None:
    alike = [case for case in CASES.values() if case.kind is kind and case.implementation == "torch"]
    assert getattr(kind, claim) or not all(CLAIMS[claim](case) for case in alike)


@pytest.mark.quick(19)
@each()
def test_is_random_says_what_draws(case: Case) -> None:
    operator, x = case.operator().train(), case.images(2, CHANNELS, 9, 8)
    first = operator(x)
    assert any(not torch.equal(operator(x), first) for _ in range(4)) == case.kind.is_random
    assert hasattr(operator, "draws") == case.kind.is_random
