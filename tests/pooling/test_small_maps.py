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


@pytest.mark.parametrize("label", SPECS)
def test_what_has_layers_says_what_its_time_goes_into(label: str) -> None:
    operator = build(SPECS[label], SHAPE.context, where=label)
    layers = any(isinstance(part, LAYERS) for part in operator.modules())
    if isinstance(operator, HeadPool2d) and operator.features_of(64) != 64:
        assert not operator.small_maps
    elif layers or any(parameter.ndim > 2 for parameter in operator.parameters()):
        assert operator.small_maps
