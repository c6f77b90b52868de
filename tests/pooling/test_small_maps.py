"""What takes longer on small maps than calls do says so: `benchmarks/small_maps.py` has a limit for all others."""

import pytest
from torch import nn

from poolbench.cli.bench import operator_specs
from poolbench.measure.operators import Shape
from poolbench.pooling import HeadPool2d
from poolbench.spec import build

SHAPE = Shape("small", (8, 64, 8, 8), 2, 2, 0)
SPECS = operator_specs([])
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


OPERATORS = {label: build(spec, SHAPE.context, where=label) for label, spec in SPECS.items()}


def has_layers(operator: nn.Module) -> bool:
    layers = any(isinstance(part, LAYERS) for part in operator.modules())
    return layers or any(parameter.ndim > 2 for parameter in operator.parameters())


def widens(operator: nn.Module) -> bool:
    """Whether its time goes into more channels than its map has, a limit of its own in the benchmark."""
    return isinstance(operator, HeadPool2d) and operator.features_of(64) != 64


WIDENING = [label for label, operator in OPERATORS.items() if widens(operator)]
WITH_LAYERS = [label for label, operator in OPERATORS.items() if has_layers(operator) and label not in WIDENING]


@pytest.mark.parametrize("label", WITH_LAYERS)
def test_what_has_layers_says_what_its_time_goes_into(label: str) -> None:
    assert OPERATORS[label].small_maps


@pytest.mark.parametrize("label", WIDENING)
def test_a_head_of_another_number_of_features_needs_no_reason(label: str) -> None:
    assert not OPERATORS[label].small_maps


def test_there_are_some_of_both() -> None:
    assert len(WITH_LAYERS) > 5
    assert len(WIDENING) > 0
